/**
 * A client that reads a database in whatever state it is, and leaves no trace: no file is written, none is created.
 *
 * The caller has looked who has it open, and chooses. `Open`: through the sidecars of those who have it open. `AtRest`:
 * without a lock (see `AtRest`). `LogLeft`: with an index in memory, in place of the one that was left beside the log;
 * it must exist. https://www.sqlite.org/wal.html#read_only_databases
 */
import * as NodePath from "@effect/platform-node/NodePath"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Context, Effect, Layer, Path } from "effect"
import { Reactivity } from "effect/unstable/reactivity"
import { SqlClient } from "effect/unstable/sql"
import * as AtRest from "./AtRest.ts"
import { type DatabaseOpenError, fromNative } from "../DatabaseOpenError.ts"

export type Situation = "Open" | "AtRest" | "LogLeft"

/** How long a statement waits for a writer in a database that is not in WAL mode. */
const busyTimeout = 1000

const make = Effect.fnUntraced(function* (file: string, situation: Exclude<Situation, "AtRest">) {
  const path = yield* Path.Path
  const refuse = (cause: unknown) => fromNative(file, cause)
  const url = yield* Effect.mapError(path.toFileUrl(path.resolve(file)), refuse)
  if (situation === "LogLeft") url.searchParams.set("readonly_shm", "1")
  const open = SqliteClient.make({ filename: url.href, readonly: true, disableWAL: true })
  const sql = yield* Effect.mapError(Effect.catchDefect(open, Effect.fail), refuse)
  yield* Effect.mapError(sql.unsafe(`PRAGMA busy_timeout = ${busyTimeout}`), refuse)
  yield* Effect.mapError(sql.unsafe("SELECT 1 FROM sqlite_schema LIMIT 1"), refuse)
  return Context.make(SqlClient.SqlClient, sql)
})

export const layer = (
  file: string,
  situation: Situation,
): Layer.Layer<SqlClient.SqlClient, DatabaseOpenError | AtRest.NotAtRestError> =>
  situation === "AtRest"
    ? AtRest.layer(file)
    : Layer.effectContext(make(file, situation)).pipe(Layer.provide([NodePath.layer, Reactivity.layer]))
