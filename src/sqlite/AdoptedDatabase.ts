/**
 * The `Database` of a connection that somebody else opened: what a guard needs, over the `SqlClient` that a program has
 * already, such as that of `SqliteClient.layer`. It opens and closes nothing but one descriptor for syncing the log.
 *
 * It cannot see commits, so a guard looks for them; none of them is exposed when the connection was at FULL as it was adopted. And it has no write gate, so it suits a checkpointer on the same
 * connection (`Checkpointer.layerInline()`). What the connection itself does wrong is not mended: see `SafeClient`.
 * https://www.sqlite.org/wal.html
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Context, Effect, Exit, FileSystem, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import * as OpenFiles from "../processes/OpenFiles.ts"
import * as Processes from "../processes/Processes.ts"
import * as Autocheckpoint from "./Autocheckpoint.ts"
import { Database } from "./Database.ts"
import { about, DatabaseName } from "./DatabaseName.ts"
import { DatabaseOpenError, fromNative } from "./DatabaseOpenError.ts"
import { DurabilityError } from "./Durability.ts"
import * as Exposure from "./Exposure.ts"
import * as FileSync from "./FileSync.ts"
import * as LogSync from "./LogSync.ts"

const one = (sql: SqlClient.SqlClient, query: string) =>
  sql.unsafe(query).values.pipe(
    Effect.map((rows) => rows[0]?.[0]),
    Effect.mapError((cause) => fromNative("the database", cause)),
    Effect.withTracerEnabled(false),
  )

const make = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, file: string) {
  const fs = yield* FileSystem.FileSystem
  const mode = yield* one(sql, "PRAGMA journal_mode")
  if (mode !== "wal") {
    return yield* new DatabaseOpenError({ file, reason: "NotWal", detail: `its journal mode is ${String(mode)}` })
  }
  yield* OpenFiles.register(file)
  const target = DatabaseFile.resolve(file)
  const identity = target.found?.identity
  if (identity === undefined) return yield* new DatabaseOpenError({ file, reason: "Replaced", detail: "it is gone" })
  yield* Effect.mapError(FileSync.pin(target.path), (cause) => fromNative(file, cause)) // the client may outlive this layer
  const level = yield* one(sql, "PRAGMA synchronous")
  if (Number(level) === 0) {
    const detail = "expected synchronous to be NORMAL or FULL, got OFF, at which a power cut can damage the database"
    return yield* new DatabaseOpenError({ file, reason: "PragmaRefused", detail })
  }
  /**
   * It may have been set meanwhile. A client that does not answer, because the caller itself has its connection, is left to the
   * guard, which looks before each checkpoint.
   */
  const stillSyncs = Effect.flatMap(
    Effect.timeoutOption(Effect.exit(one(sql, "PRAGMA synchronous")), "100 millis"),
    (found) =>
      Option.isSome(found) && Exit.isSuccess(found.value) && Number(found.value.value) === 0
        ? Effect.fail(new DurabilityError({ reason: "NotSynced", file, cause: new Error("synchronous=OFF") }))
        : Effect.void,
  )
  const everyCommitSyncs = Number(level) >= 2
  const noted = Exposure.make()
  const exposure: Exposure.Exposure = {
    ...noted,
    // Whoever looks for commits sees that there was one, not its level.
    committed: (clock, synced) => noted.committed(clock, synced || everyCommitSyncs),
    isExposed: () => true, // commits are noted only when they are seen, so a sync never relies on there being none
  }
  const logSync = yield* Effect.mapError(LogSync.make(target, identity, exposure), (cause) => fromNative(file, cause))
  const withFiles = Effect.provideService(FileSystem.FileSystem, fs)
  return Database.of({
    sql,
    file,
    version: String(yield* one(sql, "SELECT sqlite_version()")),
    durability: everyCommitSyncs ? "full" : "normal",
    durable: Effect.andThen(stillSyncs, logSync.durable),
    durabilityLost: logSync.failed,
    replaced: logSync.replaced,
    lookForReplacement: about(file)(logSync.lookForReplacement),
    isReplaced: () => logSync.refusal()?.reason === "Replaced",
    walStamp: logSync.stamp,
    opened: { path: target.path, identity, ...logSync.opened },
    resume: Effect.succeedNone,
    holder: Effect.succeedNone,
    gate: () => Effect.succeed({ _tag: "NotClosed" }),
    quiesce: Effect.void,
    exposure,
    seesCommits: false,
    autocheckpoint: Autocheckpoint.set(sql),
    walBytes: Effect.sync(() => DatabaseFile.look(target.wal)?.bytes ?? 0),
    syncFile: FileSync.sync(file),
    others: withFiles(Processes.using(target)),
    lockHolders: withFiles(Processes.lockHolders(target)),
  })
})

/** The file must be known before anything is said about it. */
const named = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const file = String((yield* one(sql, "SELECT file FROM pragma_database_list WHERE name = 'main'")) ?? "")
  return Context.make(Database, yield* make(sql, file).pipe(Effect.withTracerEnabled(false), about(file))).pipe(
    Context.add(DatabaseName, file),
  )
})

/**
 * Takes the `SqlClient` in reach, whose database must be a file in WAL mode. A function, because Effect builds one layer
 * value only once, and each client needs a `Database` of its own.
 */
export const layer = (): Layer.Layer<Database, DatabaseOpenError, SqlClient.SqlClient> =>
  Layer.effectContext(named).pipe(Layer.provide(NodeFileSystem.layer))
