/**
 * The readers and writers of a copy: only its maker until it is whole (0600), then the users of the database that it is a copy of, or takes the
 * place of.
 */
import { Effect, FileSystem, Option, Path } from "effect"
import { type Found, look } from "../../files/DatabaseFile.ts"

/** The mode of a file while it is written. */
export const whileWritten = 0o600

/** The owner, the group and the mode of a file. */
export type OwnerAndMode = Pick<Found, "owner" | "group" | "mode">

/** A file that has no predecessor is of the owner of its folder, and as open as that. */
export const ofFolder = Effect.fnUntraced(function* (file: string) {
  const path = yield* Path.Path
  const folder = look(path.dirname(file))
  return { owner: folder?.owner ?? 0, group: folder?.group ?? 0, mode: (folder?.mode ?? whileWritten) & 0o666 }
})

/** Where the group cannot be given, its members are as good as strangers. */
const withoutGroup = (mode: number) => (mode & 0o707) | ((mode & 0o007) << 3)

/** Gives them to a file, as far as this process may; what it may not give is returned in words. */
export const give = Effect.fnUntraced(function* (file: string, { group, mode, owner }: OwnerAndMode) {
  const fs = yield* FileSystem.FileSystem
  const own = look(file)
  if (own?.owner !== owner || own.group !== group) {
    yield* Effect.ignore(
      fs.chown(file, owner, group).pipe(Effect.catch(() => fs.chown(file, own?.owner ?? owner, group))),
    )
  }
  const now = look(file)
  yield* fs.chmod(file, now?.group === group ? mode & 0o777 : withoutGroup(mode & 0o777))
  const missing = [
    ...(now?.owner === owner ? [] : [`user ${owner}`]),
    ...(now?.group === group ? [] : [`group ${group}`]),
  ]
  return missing.length === 0 ? Option.none<string>() : Option.some(missing.join(" and "))
})
