/**
 * A file is written aside, under another name, and gets its own when it is whole: durably, and never in the place of
 * another.
 */
import { Effect, FileSystem, Path } from "effect"
import { isTaken } from "../../files/DatabaseFile.ts"
import { ofSeawall } from "../DatabaseName.ts"

/** Makes the names in a folder durable. What has its name keeps it in any case, so a failure is a WARNING. */
const syncFolder = Effect.fnUntraced(function* (folder: string) {
  const fs = yield* FileSystem.FileSystem
  yield* Effect.scoped(Effect.flatMap(fs.open(folder), (opened) => opened.sync)).pipe(
    Effect.ignore({ log: "Warn", message: "folder sync failed" }),
    Effect.annotateLogs({ folder }),
    ofSeawall,
  )
})

/** Never replaces what has that name: a link fails where a rename would replace. Without links: a rename, after a look. */
export const giveName = Effect.fnUntraced(function* (aside: string, name: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  yield* fs.link(aside, name).pipe(
    Effect.andThen(Effect.ignore(fs.remove(aside))),
    Effect.catch((error) => (isTaken(name) ? Effect.fail(error) : fs.rename(aside, name))),
  )
  yield* syncFolder(path.dirname(path.resolve(name)))
})
