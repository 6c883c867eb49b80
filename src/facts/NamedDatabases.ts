/**
 * The databases that were named: files as they are, and of a folder the SQLite databases directly in it, by name. Each database
 * once, whatever names it has.
 *
 * In a folder, a database is a regular file that begins as SQLite's files do, one that cannot be read (which of the two it
 * is, is then for its reader to say), and one that lost its header or is missing while its WAL or a backup is beside it. Not what
 * SQLite or Seawall keeps beside a database, and not the copies that Seawall made. Reads bytes: only for a process without a
 * connection to any of them (see `FileBytes`).
 */
import { Effect, FileSystem, Option, Order, Path, Schema } from "effect"
import { suffix as leaseSuffix } from "../lease/LeaseFile.ts"
import * as SystemError from "../files/SystemError.ts"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import * as BackupFiles from "../sqlite/copies/BackupFiles.ts"
import * as DatabaseHeader from "../sqlite/outside/DatabaseHeader.ts"

/** A folder that was named has no database to answer for. */
class NoDatabaseError extends Schema.TaggedError<NoDatabaseError>()("NoDatabaseError", {
  file: Schema.String,
  /** What the system said, of a folder that cannot be read. */
  cause: Schema.optionalKey(Schema.Defect()),
}) {
  override get message() {
    return this.cause === undefined
      ? `${this.file} is a folder without a SQLite database in it; name a database, or the folder that holds it`
      : `${this.file} is a folder that could not be read; check that this user may read it: ${SystemError.wordsOf(this.cause)}`
  }
}

/** Files that are opened at the same time, to read how they begin. */
const concurrency = 8

const isBeside = (name: string) =>
  [...DatabaseFile.suffixes, leaseSuffix].some((suffix) => suffix !== "" && name.endsWith(suffix))

const inFolder = Effect.fnUntraced(function* (folder: string, isKnown: (file: string) => boolean) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const names = yield* Effect.mapError(
    fs.readDirectory(folder),
    (cause) => new NoDatabaseError({ file: folder, cause }),
  )
  const there = new Set(names)
  const wals = names.flatMap((name) => (name.endsWith("-wal") ? [name.slice(0, -"-wal".length)] : []))
  const lasting = new Set([...wals, ...names.flatMap((name) => Option.toArray(BackupFiles.databaseOf(name)))])
  const isDatabase = Effect.fnUntraced(function* (name: string) {
    const file = path.join(folder, name)
    if (!there.has(name)) return (DatabaseFile.look(`${file}-wal`)?.bytes ?? 0) > DatabaseFile.walHeaderBytes
    if (Option.isSome(yield* Effect.option(fs.readLink(file)))) return false
    if (DatabaseFile.look(file)?.kind !== "file" || isKnown(file)) return false
    return lasting.has(name) || (yield* DatabaseHeader.mayBegin(file))
  })
  const candidates = [...new Set([...names, ...wals])].filter((name) => !isBeside(name) && !BackupFiles.isCopy(name))
  const databases = yield* Effect.filter(candidates.toSorted(Order.String), isDatabase, { concurrency })
  if (databases.length === 0) return yield* new NoDatabaseError({ file: folder })
  return databases.map((name) => path.join(folder, name))
})

/**
 * In the order in which they were named; what a folder without a database is told stands apart. What is known of a folder is left
 * out, and not opened.
 */
export const find = Effect.fn("NamedDatabases.find")(function* (
  names: ReadonlyArray<string>,
  isKnown: (file: string) => boolean = () => false,
) {
  const [found, failures] = yield* Effect.partition(names, (name) =>
    DatabaseFile.look(name)?.kind === "folder" ? inFolder(name, isKnown) : Effect.succeed([name]),
  )
  return { files: DatabaseFile.distinct(found.flat()).files, failures }
})
