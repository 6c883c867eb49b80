/**
 * What a guard needs, over a `SqlClient` that a program has already (`Database.layerClient`). It opens and closes nothing but one
 * descriptor for syncing the WAL.
 * https://www.sqlite.org/wal.html
 */
import type { SqliteClient } from "@effect/sql-sqlite-node"
import { Effect, Exit, FileSystem, Option } from "effect"
import type { SqlClient } from "effect/sql"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import * as OpenFiles from "../processes/OpenFiles.ts"
import * as Processes from "../processes/Processes.ts"
import * as Autocheckpoint from "./Autocheckpoint.ts"
import type { DatabaseControlService } from "./DatabaseControl.ts"
import { about } from "./DatabaseName.ts"
import { DatabaseOpenError, fromNative } from "./DatabaseOpenError.ts"
import { DurabilityError } from "../sql/Durability.ts"
import * as Exposure from "./Exposure.ts"
import * as FileSync from "./FileSync.ts"
import * as WalSync from "./WalSync.ts"

const one = (sql: SqlClient.SqlClient, query: string) =>
  sql.unsafe(query).values.pipe(
    Effect.map((rows) => rows[0]?.[0]),
    Effect.mapError((cause) => fromNative("the database", cause)),
    Effect.withTracerEnabled(false),
  )

/** As its client says, where that is the driver's. */
const isReadonly = (sql: SqlClient.SqlClient | SqliteClient.SqliteClient): boolean =>
  "config" in sql && sql.config.readonly === true

const adopt = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, file: string) {
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
  const exposure: Exposure.ExposureTracker = {
    ...noted,
    // A look for commits sees that there was one, not its level.
    committed: (clock, synced) => noted.committed(clock, synced || everyCommitSyncs),
    isExposed: () => true, // commits are noted only when they are seen, so a sync never relies on there being none
  }
  const walSync = yield* Effect.mapError(WalSync.make(target, identity, exposure), (cause) => fromNative(file, cause))
  const withFiles = Effect.provideService(FileSystem.FileSystem, fs)
  const database = {
    sql,
    filename: file,
    readonly: isReadonly(sql),
    version: String(yield* one(sql, "SELECT sqlite_version()")),
    durability: everyCommitSyncs ? ("full" as const) : ("normal" as const),
    durable: Effect.andThen(stillSyncs, walSync.durable),
    durabilityLost: walSync.failed,
    replaced: walSync.replaced,
    exposure,
    others: withFiles(Processes.using(target)),
    lockHolders: withFiles(Processes.lockHolders(target)),
  }
  const control: DatabaseControlService = {
    opened: { path: target.path, identity, ...walSync.opened },
    exposure,
    seesCommits: false,
    walStamp: walSync.stamp,
    walBytes: Effect.sync(() => DatabaseFile.look(target.wal)?.bytes ?? 0),
    lookForReplacement: about(file)(walSync.lookForReplacement),
    isReplaced: () => walSync.refusal()?.reason === "Replaced",
    holder: Effect.succeedNone,
    gate: () => Effect.succeed({ _tag: "NotClosed" }),
    autocheckpoint: Autocheckpoint.set(sql),
    syncFile: FileSync.sync(file),
    resume: Effect.succeedNone,
    quiesce: Effect.void,
  }
  return { database, control }
})

/** The file must be known before anything is said about it. */
export const make = Effect.fnUntraced(function* (sql: SqlClient.SqlClient) {
  const file = String((yield* one(sql, "SELECT file FROM pragma_database_list WHERE name = 'main'")) ?? "")
  return yield* adopt(sql, file).pipe(Effect.withTracerEnabled(false), about(file))
})
