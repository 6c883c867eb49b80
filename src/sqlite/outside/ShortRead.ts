/**
 * A database that another process has open, read for a moment: a connection that waits for nobody and changes nothing.
 *
 * It maps `-shm` read-only (`readonly_shm`), so it holds one read slot and nothing else of the log: no mark is set, no log
 * recovered that its owner left meanwhile, no `-shm` created. A header that it meets while it is written is the exception:
 * SQLite then probes the writer's lock, for microseconds, and may say SQLITE_READONLY; ask again. Close it at once: a reader
 * keeps the log, and whoever closes the database beside it leaves the sidecars. For WAL mode only.
 * https://www.sqlite.org/walformat.html#wal_locks
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Context, Effect, FileSystem, Layer, Path } from "effect"
import { Reactivity } from "effect/unstable/reactivity"
import { SqlClient } from "effect/unstable/sql"
import { DatabaseOpenError, fromNative } from "../DatabaseOpenError.ts"
import { locate } from "../DatabasePath.ts"
import * as Sidecars from "../Sidecars.ts"

const make = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const refuse = (cause: unknown) => (cause instanceof DatabaseOpenError ? cause : fromNative(file, cause))
  yield* locate({ file, readOnly: true })
  const target = yield* Effect.mapError(fs.realPath(file), refuse)
  const url = yield* Effect.mapError(path.toFileUrl(target), refuse)
  url.searchParams.set("readonly_shm", "1")
  // The last look before it: without its sidecars, a read-only connection would create a `-wal`.
  const sidecars = yield* Sidecars.present(target)
  if (sidecars.length < 2) {
    return yield* new DatabaseOpenError({
      file,
      reason: "Unknown",
      detail: "its log has no index to share: nobody uses it yet, or one program has the database for itself",
    })
  }
  const open = SqliteClient.make({ filename: url.href, readonly: true, disableWAL: true })
  const sql = yield* Effect.mapError(Effect.catchDefect(open, Effect.fail), refuse)
  // The driver's default; here the promise of this module, so it does not rest on that.
  yield* Effect.mapError(sql.unsafe("PRAGMA busy_timeout = 0"), refuse)
  return Context.make(SqlClient.SqlClient, sql)
})

/** A client that reads the file for the life of the layer. */
export const layer = (file: string): Layer.Layer<SqlClient.SqlClient, DatabaseOpenError> =>
  Layer.effectContext(make(file)).pipe(Layer.provide([NodeFileSystem.layer, NodePath.layer, Reactivity.layer]))
