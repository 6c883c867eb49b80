/**
 * The driver's connection, for the life of a scope: opened with every failure typed, closed and verified.
 *
 * `close()` is a native call and not bounded: SQLite checkpoints, and removes `-wal` and `-shm`, when it is the last to close.
 * A connection whose files were replaced is left open until the process ends.
 */
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Effect, Exit, FileSystem, Option, Scope } from "effect"
import type { SqlConnection, SqlError } from "effect/sql"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import * as OpenFiles from "../processes/OpenFiles.ts"
import * as Processes from "../processes/Processes.ts"
import { namesOf } from "../processes/ProcessName.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import { DatabaseOpenError, fromNative, type OpenReason, systemReason } from "./DatabaseOpenError.ts"
import type { DatabaseOptions } from "./DatabaseOptions.ts"
import type { DurabilityError } from "../sql/Durability.ts"

/** What it can beside the statements of every connection of Effect. */
export interface DriverConnection extends SqlConnection.Connection {
  readonly backup: (destination: string) => Effect.Effect<SqliteClient.BackupMetadata, SqlError.SqlError>
  readonly loadExtension: (path: string) => Effect.Effect<void, SqlError.SqlError>
}

interface OpenOptions {
  readonly options: DatabaseOptions
  /** The file itself, whatever name was given. */
  readonly path: string
  /** Called when the connection is left open for good. */
  readonly keep: () => void
  readonly lookForReplacement: Effect.Effect<Option.Option<DurabilityError>>
}

/** Connections that must not be closed: a close checkpoints into, and removes, what has the names of their files now. */
const neverClosed: Array<Scope.Closeable> = []

/** The scope of a connection, which is closed, and verified, when the scope around it is. */
const closing = Effect.fnUntraced(function* ({ keep, lookForReplacement, options, path }: OpenOptions) {
  const connection = yield* Scope.make()
  const sidecars = yield* Effect.context<FileSystem.FileSystem>()
  const close = Effect.gen(function* () {
    const changed = yield* lookForReplacement
    if (Option.isSome(changed)) {
      neverClosed.push(connection)
      keep()
      const reason = changed.value.message
      return yield* Effect.annotateLogs(Effect.logError("database left open"), { file: path, reason })
    }
    const end = yield* Shutdown.step("close database", Scope.close(connection, Exit.void))
    if (options.readonly === true) return
    const target = DatabaseFile.resolve(path)
    const left = [target.wal, target.shm].filter((at) => DatabaseFile.look(at) !== undefined)
    if (left.length === 0) return
    const others = Option.getOrElse(yield* Processes.using(target), () => []).filter(Processes.isUsing)
    const { leftBehind } = yield* Shutdown.Shutdown
    // The registration of this layer ends after its connection.
    const here = (yield* OpenFiles.timesOpen(path)) > 1 ? [`this process (pid ${process.pid})`] : []
    const ownHolders = [...(yield* leftBehind), ...here]
    // The sidecars of a process that goes on to use the database are rightly there.
    if (end === "done" && ownHolders.length === 0 && others.some(({ has }) => has === "this")) return
    const holders = [...ownHolders, ...others.map((it) => namesOf([it]))]
    const stillOpen = holders.length > 0 ? `still open in ${holders.join(", ")}` : "unknown"
    const reason = end === "done" ? stillOpen : "the connection did not close"
    yield* Effect.annotateLogs(Effect.logWarning("database sidecars left"), { files: left.join(" "), reason })
  })
  yield* Effect.addFinalizer(() => close.pipe(Effect.provideContext(sidecars), Shutdown.contained("close database")))
  return connection
})

/** Whatever the driver fails with, or throws, as the typed error. */
export const typed =
  (file: string) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, DatabaseOpenError, R> =>
    self.pipe(
      Effect.catchDefect((defect) => Effect.fail(fromNative(file, defect))),
      Effect.mapError((error) => (error instanceof DatabaseOpenError ? error : fromNative(file, error))),
    )

/** Opens it, in whatever journal mode the file is. */
export const open = Effect.fnUntraced(function* (it: OpenOptions) {
  const { filename } = it.options
  const fs = yield* FileSystem.FileSystem
  /** SQLite has one word, CANTOPEN, for all that the system may say: whether descriptors are left can be tried. */
  const ofSystem = (error: DatabaseOpenError) =>
    Effect.scoped(fs.open("/dev/null")).pipe(
      Effect.mapError((cause) => (systemReason(cause) === "NoDescriptor" ? fromNative(filename, cause) : error)),
      Effect.andThen(Effect.fail(error)),
    )
  const scope = yield* closing(it)
  const { prepareCacheSize, prepareCacheTTL, readonly } = it.options
  return yield* SqliteClient.make({ filename, readonly, prepareCacheSize, prepareCacheTTL, disableWAL: true }).pipe(
    Effect.flatMap((client) => client.reserve),
    Scope.provide(scope),
    typed(filename),
    Effect.map((connection) => connection as DriverConnection),
    Effect.catchIf(({ reason }) => reason === "NoPermission", ofSystem),
  )
})

/** Runs a PRAGMA, or a question of one value, outside of any permit. */
export const ask = (driver: SqlConnection.Connection, statement: string) =>
  Effect.suspend(() => driver.executeValuesUnprepared(statement, [])).pipe(Effect.map((rows) => rows[0]?.[0]))

/** Sets a pragma, and fails when reading it back gives anything else. */
export const settle = (file: string, driver: SqlConnection.Connection) =>
  Effect.fnUntraced(function* (
    name: string,
    value: string | number,
    expected: string | number,
    reason: OpenReason = "PragmaRefused",
  ) {
    yield* ask(driver, `PRAGMA ${name} = ${value}`)
    const actual = yield* ask(driver, `PRAGMA ${name}`)
    if (actual === expected) return
    const detail = `expected ${name} to be ${expected}, got ${String(actual)}`
    return yield* new DatabaseOpenError({ file, reason, detail })
  }, typed(file))
