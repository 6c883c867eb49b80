/**
 * Where a database can be read with SQLite so that nothing beside it changes: the file itself, or, when it has a WAL that
 * no process has open and that has no index, a copy in a temporary folder, because SQLite would create an index.
 */
import { Effect, FileSystem, Option, Path, type Scope } from "effect"
import { tmpdir } from "node:os"
import type { Situation } from "../sqlite/outside/Address.ts"
import { NotExamined } from "./NotExamined.ts"
import { type Facts, isAtRest, isOpen, walSize } from "../facts/Facts.ts"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import * as Room from "../files/Room.ts"
import { namesOf } from "../processes/ProcessName.ts"
import { command } from "../sqlite/ShellCommand.ts"
import { size } from "../facts/Format.ts"

export interface ReadableCopy {
  readonly file: string
  readonly situation: Situation
}

export type Reading = Effect.Effect<ReadableCopy, Error, FileSystem.FileSystem | Path.Path | Scope.Scope>

const copy = Effect.fnUntraced(function* (facts: Facts) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const failed = (message: string) => new NotExamined({ message, remedy: command("seawall checkpoint", facts.file) })
  const bytes = facts.bytes + walSize(facts)
  const { free } = yield* Effect.mapError(Room.at(tmpdir()), (cause) => failed(cause.message))
  // The copy must not be what fills the disk.
  if (free < 2 * bytes) {
    return yield* failed(`the WAL has no index, and for a copy to read (${size(bytes)}) ${tmpdir()} is too small`)
  }
  const file = path.join(yield* fs.makeTempDirectoryScoped({ prefix: "seawall-doctor-" }), "copy.db")
  yield* fs.copyFile(facts.target.path, file)
  yield* fs.copyFile(facts.target.wal, DatabaseFile.resolve(file).wal)
  return { file, situation: "Open" } satisfies ReadableCopy
})

/** Until the scope closes. */
export const make = Effect.fnUntraced(function* (facts: Facts) {
  const readable = (situation: Situation): ReadableCopy => ({ file: facts.target.path, situation })
  const strangers = Option.getOrElse(facts.strangers, () => [])
  if (strangers.length > 0) {
    return yield* new NotExamined({
      message: `${namesOf(strangers)} has another file of this name open, and to read this one would mix the two`,
      remedy: `stop ${strangers.map(({ pid }) => `process ${pid}`).join(", ")}, then: ${command("seawall doctor", facts.file)}`,
    })
  }
  if (facts.links > 1) {
    return yield* new NotExamined({
      message: `it has ${facts.links} names, and which of their WALs is its own cannot be known`,
      remedy: command("find / -xdev -samefile", facts.target.path),
    })
  }
  if (isOpen(facts)) return readable("Open")
  if (facts.hasHotJournal) {
    return yield* new NotExamined({
      message: "its rollback journal must be played back first, which changes the database",
      remedy: `${command("sqlite3", facts.file)} 'SELECT count(*) FROM sqlite_schema'`,
    })
  }
  if (walSize(facts) === 0) return readable("AtRest")
  if (!isAtRest(facts)) return readable("Open")
  return Option.isSome(facts.indexBytes) ? readable("WalLeft") : yield* copy(facts)
})
