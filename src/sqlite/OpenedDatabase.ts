/**
 * Opens one SQLite file: WAL mode, every pragma read back, one connection behind one permit, and all that is made of it.
 *
 * Closes in this order: the writer ends what it has taken -> the descriptor that syncs the WAL -> the connection.
 */
import { Effect, FileSystem, Option } from "effect"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import * as OpenFiles from "../processes/OpenFiles.ts"
import * as Processes from "../processes/Processes.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import * as Autocheckpoint from "./Autocheckpoint.ts"
import type { DatabaseControlService } from "./DatabaseControl.ts"
import { about } from "./DatabaseName.ts"
import { DatabaseOpenError } from "./DatabaseOpenError.ts"
import * as DatabaseOptions from "./DatabaseOptions.ts"
import { locate } from "./DatabasePath.ts"
import * as DriverClient from "./DriverClient.ts"
import * as DriverConnection from "./DriverConnection.ts"
import { DurabilityError } from "../sql/Durability.ts"
import { syncsOf } from "./Syncs.ts"
import * as Exposure from "./Exposure.ts"
import * as FileSync from "./FileSync.ts"
import { saysWho } from "./LockedBy.ts"
import * as WalSync from "./WalSync.ts"
import * as SafeClient from "./SafeClient.ts"
import * as SqliteWriter from "./SqliteWriter.ts"

/** Sets what SQLite is to be, in the order in which it can be refused. */
const settleAll = Effect.fnUntraced(function* (
  driver: DriverConnection.DriverConnection,
  options: DatabaseOptions.DatabaseOptions,
  { busyMillis, cacheKib }: DatabaseOptions.Numbers,
) {
  const { durability = "durable", filename: file } = options
  const settle = DriverConnection.settle(file, driver)
  yield* settle("busy_timeout", busyMillis, busyMillis)
  yield* settle("cache_size", -cacheKib, -cacheKib)
  const mode = yield* DriverConnection.typed(file)(DriverConnection.ask(driver, "PRAGMA journal_mode"))
  if (options.requireWal === true && mode !== "wal") {
    return yield* new DatabaseOpenError({ file, reason: "NotWal", detail: `its journal mode is ${String(mode)}` })
  }
  if (options.readonly === true) return
  const { synchronous } = syncsOf[durability]
  yield* settle("journal_mode", "WAL", "wal", "WalRefused")
  yield* settle("synchronous", synchronous.name, synchronous.value)
})

/** A lock of another process is named with that process. */
const lockedBy = (error: DatabaseOpenError) =>
  Effect.flatMap(saysWho(error.detail, error.file), (detail) =>
    Effect.fail(new DatabaseOpenError({ ...error, detail })),
  )

/** For the life of the scope around it. Fails before it creates or changes anything, where that can be known. */
export const make = (options: DatabaseOptions.DatabaseOptions) =>
  Effect.catchIf(
    open(options),
    (error) => error instanceof DatabaseOpenError && error.reason === "Locked",
    (error) => lockedBy(error as DatabaseOpenError),
  )

/** SQLite with the file open, and which file that is. */
const openFile = Effect.fnUntraced(function* (
  options: DatabaseOptions.DatabaseOptions,
  lookForReplacement: Effect.Effect<Option.Option<DurabilityError>>,
) {
  const { filename: file, readonly = false, requireWal = false } = options
  const numbers = yield* DatabaseOptions.check(options)
  const before = yield* locate({ ...options, file, readOnly: readonly, oneName: requireWal })
  const { path } = before
  const registration = yield* OpenFiles.register(path, FileSync.release)
  const driver = yield* DriverConnection.open({ options, path, keep: registration.keep, lookForReplacement })
  yield* settleAll(driver, options, numbers)
  const target = DatabaseFile.resolve(file)
  const identity = target.found?.identity ?? "gone"
  // A name that led elsewhere while it was opened says nothing about what SQLite has.
  if (target.path !== path || (before.found !== undefined && before.found.identity !== identity)) {
    return yield* new DatabaseOpenError({ file, reason: "Replaced", detail: "" })
  }
  registration.identify(identity)
  // Reads the schema, so that a file whose first page is damaged is refused here and not by the first statement.
  yield* DriverConnection.typed(file)(DriverConnection.ask(driver, "SELECT 1 FROM sqlite_schema LIMIT 1"))
  return { driver, target, identity, path }
})

const open = Effect.fnUntraced(function* (options: DatabaseOptions.DatabaseOptions) {
  const { durability = "durable", filename: file, readonly = false } = options
  const syncs = syncsOf[durability]
  const typed = DriverConnection.typed(file)
  let walSync = WalSync.none
  const lookForReplacement = Effect.suspend(() => walSync.lookForReplacement)
  const { driver, identity, path, target } = yield* openFile(options, lookForReplacement)
  const exposure = Exposure.make()
  if (!readonly) walSync = yield* typed(WalSync.make(target, identity, exposure))
  const refusal = walSync.refusal
  /** Whether a guard has turned autocheckpoint off, and checkpoints instead. */
  let isGuarded = false
  const commits = {
    everyCommitSyncs: syncs.byConnection,
    isGuarded: () => isGuarded,
    committed: exposure.committed,
    refusal,
  }
  const client = yield* SafeClient.make(driver, commits, options)
  const { gate, holder } = client
  const sql = DriverClient.make({ client, driver, options, path, refusal })
  const { quiesce, writer } = yield* SqliteWriter.make({
    client,
    file,
    walSync,
    unsynced: syncs.byWriter,
    spanAttributes: options.spanAttributes,
  })
  const quiesceOnce = about(file)(Effect.asVoid(yield* Effect.cached(Shutdown.step("drain writes", quiesce))))
  yield* Effect.addFinalizer(() => quiesceOnce)
  const fs = yield* FileSystem.FileSystem
  const withFiles = Effect.provideService(FileSystem.FileSystem, fs)
  const database = {
    sql,
    filename: file,
    readonly,
    version: String(yield* typed(DriverConnection.ask(driver, "SELECT sqlite_version()"))),
    durability,
    durable: walSync.durable,
    durabilityLost: walSync.failed,
    replaced: walSync.replaced,
    exposure,
    others: withFiles(Processes.using(target)),
    lockHolders: withFiles(Processes.lockHolders(target)),
  }
  const control: DatabaseControlService = {
    opened: { path, identity, ...walSync.opened },
    exposure,
    seesCommits: true,
    walStamp: walSync.stamp,
    walBytes: Effect.sync(() => DatabaseFile.look(target.wal)?.bytes ?? 0),
    lookForReplacement: about(file)(walSync.lookForReplacement),
    isReplaced: () => refusal()?.reason === "Replaced",
    holder,
    gate,
    autocheckpoint: (pages) =>
      Effect.tap(Autocheckpoint.set(sql)(pages), () =>
        Effect.sync(() => {
          isGuarded = pages === 0
        }),
      ),
    syncFile: FileSync.sync(path),
    resume: Effect.sync(() => {
      const cause = refusal()?.cause
      // A WAL that was replaced cannot be gone on with.
      const isSyncFailure = cause instanceof DurabilityError && cause.reason === "SyncFailed"
      return options.afterFailedSync === "resume" && isSyncFailure
        ? Option.some(Effect.sync(walSync.resume))
        : Option.none()
    }),
    quiesce: quiesceOnce,
  }
  return { database, control, sql, writer }
})
