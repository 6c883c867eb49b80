/**
 * A client that reads a database which this process has not open, and leaves no trace: no file is written and, as a rule,
 * none is created (`Open` says when one is).
 *
 * The caller has looked who has it open, and says in which situation the database is (`Address`); what that situation rests
 * on is looked at again, right before SQLite opens the file. Nothing may read the files as bytes until it is closed.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Context, Effect, Layer } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient } from "effect/sql"
import { DatabaseOpenError, fromNative } from "../DatabaseOpenError.ts"
import { locate } from "../DatabasePath.ts"
import * as DatabaseFile from "../../files/DatabaseFile.ts"
import { type Situation, urlOf } from "./Address.ts"
import { ensureNotOpen, NotAtRestError } from "./AtRest.ts"

/** How long a statement waits for another connection, in milliseconds. */
const busyTimeout: Readonly<Record<Situation, number>> = {
  // A writer in a database that is not in WAL mode has it for itself while it commits.
  Open: 1000,
  // The driver's default; here a promise, so it does not rest on that.
  OpenBriefly: 0,
  // There is no lock to wait for.
  AtRest: 0,
  // A process that recovers the WAL meanwhile locks it until that is done.
  WalLeft: 1000,
}

/** Without a lock SQLite would not see a writer, and without the WAL not what was committed last. */
const ensureAtRest = Effect.fnUntraced(function* ({ given: file, journal, wal }: DatabaseFile.DatabaseFile) {
  yield* ensureNotOpen(file)
  const logs = [wal, journal].filter((log) => (DatabaseFile.look(log)?.bytes ?? 0) > 0)
  if (logs.length > 0) return yield* new NotAtRestError({ file, reason: "WalLeft", what: logs })
})

/** Without its sidecars, a read-only connection would create a `-wal`. */
const ensureSidecars = Effect.fnUntraced(function* ({ given: file, shm, wal }: DatabaseFile.DatabaseFile) {
  if ([wal, shm].every((name) => DatabaseFile.look(name) !== undefined)) return
  return yield* new DatabaseOpenError({
    file,
    reason: "Unknown",
    detail: "its WAL has no index to share: no process uses it yet, or one program has locked the database",
  })
})

const ensure = (target: DatabaseFile.DatabaseFile, situation: Situation) => {
  switch (situation) {
    case "Open":
      return Effect.void // whatever is beside it, read it like any other connection
    case "AtRest":
      return ensureAtRest(target)
    case "OpenBriefly":
    case "WalLeft":
      return ensureSidecars(target)
  }
}

const make = Effect.fnUntraced(function* (file: string, situation: Situation) {
  const refuse = (cause: unknown) => fromNative(file, cause)
  // By the name that was given, which is the one that errors say.
  const target = yield* locate({ file, readOnly: true })
  yield* ensure(target, situation)
  const open = SqliteClient.make({ filename: urlOf(target.path, situation).href, readonly: true, disableWAL: true })
  const sql = yield* Effect.mapError(Effect.catchDefect(open, Effect.fail), refuse)
  yield* Effect.mapError(sql.unsafe(`PRAGMA busy_timeout = ${busyTimeout[situation]}`), refuse)
  // SQLite looks at the file only when it reads something.
  yield* Effect.mapError(sql.unsafe("SELECT 1 FROM sqlite_schema LIMIT 1"), refuse)
  return Context.make(SqlClient.SqlClient, sql)
})

/** A client that reads the file for the life of the layer. Only `AtRest` can fail with `NotAtRestError`. */
export const layer = (
  file: string,
  situation: Situation,
): Layer.Layer<SqlClient.SqlClient, DatabaseOpenError | NotAtRestError> =>
  Layer.effectContext(make(file, situation)).pipe(
    Layer.provide([NodeFileSystem.layer, NodePath.layer, Reactivity.layer]),
  )
