/**
 * A database that no process has open, read without leaving a trace.
 *
 * A plain read-only open of a database in WAL mode creates `-wal` and `-shm` and leaves them, so this opens the file as
 * `immutable`: SQLite then takes no lock, reads no log and creates nothing. That is right only while nobody writes and
 * no log is left to be read, which is looked at first. https://www.sqlite.org/uri.html#uriimmutable
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Context, Effect, FileSystem, Layer, Path, Schema } from "effect"
import { Reactivity } from "effect/unstable/reactivity"
import { SqlClient } from "effect/unstable/sql"
import { DatabaseOpenError, fromNative } from "../DatabaseOpenError.ts"
import { locate } from "../DatabasePath.ts"
import * as Sidecars from "../Sidecars.ts"

/** A database that somebody has open, or that was not closed. */
export class NotAtRestError extends Schema.TaggedError<NotAtRestError>()("NotAtRestError", {
  file: Schema.String,
  reason: Schema.Literals(["Open", "LogLeft"]),
  /** The processes that have it open, or the log. */
  what: Schema.Array(Schema.String),
}) {
  override get message() {
    const what = this.what.join(", ")
    return this.reason === "Open"
      ? `${this.file} is open in ${what}; end it first (nothing was changed)`
      : `${what} holds what is not in ${this.file} yet, because its last user did not close it; what opens the database for writing next takes it over (nothing was changed)`
  }
}

/** As it was started; the kernel's name of it is often that of a thread. */
const commandLine = Effect.fnUntraced(function* ({ command, pid }: Sidecars.Process) {
  const fs = yield* FileSystem.FileSystem
  const words = yield* Effect.orElseSucceed(fs.readFileString(`/proc/${pid}/cmdline`), () => "")
  const line = words.replaceAll(/[\s\p{Cc}]+/gu, " ").trim()
  return `${line === "" ? command : line.slice(0, 200)} (pid ${pid})`
})

/** Fails while another process has the file open, as far as that can be seen (`Sidecars.openedBy`). */
export const ensureNotOpen = Effect.fnUntraced(function* (file: string) {
  const others = yield* Sidecars.openedBy(file)
  if (others.length === 0) return
  return yield* new NotAtRestError({ file, reason: "Open", what: yield* Effect.forEach(others, commandLine) })
}, Effect.provide(NodeFileSystem.layer))

const make = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const refuse = (cause: unknown) => (cause instanceof DatabaseOpenError ? cause : fromNative(file, cause))
  yield* locate({ file, readOnly: true })
  yield* ensureNotOpen(file)

  const target = yield* Effect.mapError(fs.realPath(file), refuse)
  const logs = yield* Effect.filter([`${target}-wal`, `${target}-journal`], (log) =>
    fs.stat(log).pipe(
      Effect.map(({ size }) => size > 0n),
      Effect.orElseSucceed(() => false),
    ),
  )
  if (logs.length > 0) return yield* new NotAtRestError({ file, reason: "LogLeft", what: logs })

  const url = yield* Effect.mapError(path.toFileUrl(target), refuse)
  url.searchParams.set("immutable", "1")
  const open = SqliteClient.make({ filename: url.href, readonly: true, disableWAL: true })
  const sql = yield* Effect.mapError(Effect.catchDefect(open, Effect.fail), refuse)
  // SQLite looks at the file only when it reads something.
  yield* Effect.mapError(sql.unsafe("SELECT 1 FROM sqlite_schema LIMIT 1"), refuse)
  return Context.make(SqlClient.SqlClient, sql)
})

/** A client that reads the file for the life of the layer. */
export const layer = (file: string): Layer.Layer<SqlClient.SqlClient, DatabaseOpenError | NotAtRestError> =>
  Layer.effectContext(make(file)).pipe(Layer.provide([NodeFileSystem.layer, NodePath.layer, Reactivity.layer]))
