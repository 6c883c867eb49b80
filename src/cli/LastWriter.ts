/**
 * What `guard` and `checkpoint` say of the SQLite that wrote a database last, because they are one connection more.
 *
 * Reads the header as bytes: only before this process has a connection to the file, because closing a file drops its locks.
 */
import { Effect, Option } from "effect"
import * as DatabaseHeader from "../sqlite/outside/DatabaseHeader.ts"
import * as SqliteVersion from "../sqlite/SqliteVersion.ts"

/** Fails when the file is no database, or cannot be read. A database that is not in WAL mode cannot meet the bug. */
export const judge = Effect.fnUntraced(function* (file: string) {
  const header = yield* DatabaseHeader.read(file)
  const inWal = Option.filter(header, ({ journalMode }) => journalMode === "wal")
  const writtenBy = Option.flatMap(inWal, (it) => it.writtenBy)
  if (Option.isSome(writtenBy)) yield* SqliteVersion.say(writtenBy.value, file)
})
