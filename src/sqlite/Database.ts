/**
 * One SQLite file, opened safely: WAL mode, every pragma read back, one connection behind one permit.
 *
 * Owns the connection from `Layer` build to scope close. Lets go in this order: the writer ends what it has taken ->
 * the descriptor that syncs the log -> the connection (SQLite itself then checkpoints and removes `-wal` and `-shm`,
 * without a bound) -> a look whether they are gone, with a WARNING if not.
 * Leaves `wal_autocheckpoint` at SQLite's 1000 pages; whoever checkpoints instead sets it to 0 and restores it.
 * Does not checkpoint, does not retry, and does not open what is not a local file: https://www.sqlite.org/wal.html
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Config, Context, Duration, Effect, Exit, FileSystem, Layer, Option, Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient, type SqlError } from "effect/sql"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import type { LockHolder } from "../processes/LockTable.ts"
import * as OpenFiles from "../processes/OpenFiles.ts"
import * as Processes from "../processes/Processes.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import * as Autocheckpoint from "./Autocheckpoint.ts"
import { about, DatabaseName } from "./DatabaseName.ts"
import { DatabaseOpenError, fromNative, type OpenReason, systemReason } from "./DatabaseOpenError.ts"
import { locate } from "./DatabasePath.ts"
import { type Durability, DurabilityError, syncsOf } from "./Durability.ts"
import * as Exposure from "./Exposure.ts"
import * as FileSync from "./FileSync.ts"
import * as LogSync from "./LogSync.ts"
import * as SafeClient from "./SafeClient.ts"
import * as Writer from "./Writer.ts"

/** How a database is opened; `file` alone has no default. */
export interface DatabaseOptions {
  /** Path of the database file, or of a link to it. `:memory:` and URIs are refused (`WalRefused`). */
  readonly file: string
  /** What an acknowledged write survives; default `durable`: a power cut, and what the `Writer` syncs blocks nobody. */
  readonly durability?: Durability
  /**
   * What follows a sync of the log that failed. `refuse` (default): nothing is written until the program has restarted,
   * because a later sync that succeeds proves nothing. `resume`: the guard's next checkpoint by interval runs with
   * writers held back; when it copied every frame, and the database file was synced, writes are taken again.
   */
  readonly afterFailedSync?: "refuse" | "resume"
  /**
   * How long a statement waits for another process's lock, in whole milliseconds; default 1 s, 0 = not at all. The wait
   * blocks the event loop, which is why it is short. https://www.sqlite.org/pragma.html#pragma_busy_timeout
   */
  readonly busyTimeout?: Duration.Input
  /** Page cache, whole KiB above 0; default 2000, SQLite's own. https://www.sqlite.org/pragma.html#pragma_cache_size */
  readonly cacheSizeKib?: number
  /**
   * Opens an existing database without ever writing to it, in WAL mode or not; default false. SQLite may create its
   * sidecars, and leaves them. https://www.sqlite.org/wal.html#read_only_databases
   */
  readonly readOnly?: boolean
  /**
   * Opens a file on a network file system all the same, with a warning; default false, because WAL mode corrupts there.
   * A file system that is not known counts as local. https://www.sqlite.org/wal.html#overview
   */
  readonly allowNetworkFileSystem?: boolean
  /** Creates a missing file and its missing folders; default true. Never with `readOnly`. */
  readonly create?: boolean
  /** For a database of somebody else: refuses one that is not in WAL mode, instead of changing it; default false. */
  readonly requireWal?: boolean
}

/** Made by `Database.layer` and `AdoptedDatabase.layer`, and by nobody else: a guard needs more of it than stands here. */
export interface DatabaseService {
  /**
   * Of `Database.layer`: each statement and each whole transaction (`BEGIN IMMEDIATE`) has the connection to itself, and
   * streams fail. Of `AdoptedDatabase.layer`: the client that was there.
   */
  readonly sql: SqlClient.SqlClient
  /** As it was given; of an adopted client, as SQLite names it. */
  readonly file: string
  /** The version of SQLite that runs, such as "3.53.1". */
  readonly version: string
  readonly durability: Durability
  /** Everything that was committed before this starts is on disk when it succeeds, whatever statement it came from. */
  readonly durable: Effect.Effect<void, DurabilityError>
  /** Waits until the log cannot be synced, and succeeds with why; from then on nothing is written or acknowledged. */
  readonly durabilityLost: Effect.Effect<DurabilityError>
  /**
   * Waits until the file or its WAL is no longer the one that was opened, and succeeds with what changed. It is looked once a
   * second while something is written, else every five, and before each checkpoint. Nothing is written, acknowledged, checkpointed or closed from then on.
   * https://www.sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use
   */
  readonly replaced: Effect.Effect<DurabilityError>
  /** What a power cut could still take. */
  readonly exposure: Exposure.Exposure
  /** The other processes that use the file, or another one of its name (`has`); none where no process can be seen. */
  readonly others: Effect.Effect<Option.Option<ReadonlyArray<Processes.Process>>>
  /** The other processes that hold a lock of the WAL now: readers, a writer, a checkpointer. None when locks cannot be seen. */
  readonly lockHolders: Effect.Effect<Option.Option<ReadonlyArray<LockHolder>>>
  /** Looks now whether the file or its WAL was replaced. @internal */
  readonly lookForReplacement: Effect.Effect<Option.Option<DurabilityError>>
  /** Whether `replaced` has succeeded; looks at nothing. @internal */
  readonly isReplaced: () => boolean
  /** Changes when the WAL is written, by whatever process; none where that cannot be told (`LogSync`). @internal */
  readonly walStamp: () => LogSync.Stamp | undefined
  /** Which files were opened: for a second connection to them. @internal */
  readonly opened: DatabaseFile.OpenedFiles
  /** @internal */
  readonly holder: SafeClient.SafeClient["holder"]
  /** @internal */
  readonly gate: SafeClient.SafeClient["gate"]
  /** How writes are taken again after a failed sync: run it when every frame is in the synced database. None: by a restart. @internal */
  readonly resume: Effect.Effect<Option.Option<Effect.Effect<void>>>
  /** Lets the `Writer` finish what it has taken, and take nothing more; in the shutdown budget, once, never fails. @internal */
  readonly quiesce: Effect.Effect<void>
  /** Whether `exposure` is told of each commit of this connection; if not, a guard has to look for them. @internal */
  readonly seesCommits: boolean
  /** Sets https://www.sqlite.org/pragma.html#pragma_wal_autocheckpoint (pages; 0 = off) and returns what it was. @internal */
  readonly autocheckpoint: (pages: number) => Effect.Effect<number, SqlError.SqlError>
  /** How long the file of the WAL is; a WAL that starts anew leaves it as long as it was. @internal */
  readonly walBytes: Effect.Effect<number>
  /** Syncs the main file from the thread pool; what SQLite relies on, it syncs itself. @internal */
  readonly syncFile: Effect.Effect<void, FileSync.FileSyncError>
}

/** One SQLite file that is open, with its `SqlClient` and its `Writer`. */
export class Database extends Context.Service<Database, DatabaseService>()("seawall/sqlite/Database") {
  /** Opens the file for the life of the layer. What cannot be opened is a `DatabaseOpenError`; closing never fails. */
  static readonly layer = (
    options: DatabaseOptions,
  ): Layer.Layer<Database | SqlClient.SqlClient | Writer.Writer, DatabaseOpenError> =>
    // What it asks of SQLite itself are numbers, whatever the program around it wants of its own statements.
    Layer.effectContext(
      make(options).pipe(
        Effect.provideService(SqlClient.SafeIntegers, false),
        Effect.withTracerEnabled(false),
        about(options.file),
      ),
    ).pipe(Layer.provide([NodeFileSystem.layer, NodePath.layer, Reactivity.layer]))

  /** The same with options from the configuration: `layerConfig({ file: Config.String("DATABASE") })`. */
  static readonly layerConfig = (
    options: Config.Wrap<DatabaseOptions>,
  ): Layer.Layer<Database | SqlClient.SqlClient | Writer.Writer, DatabaseOpenError | Config.ConfigError> =>
    Layer.unwrap(Effect.map(Config.unwrap(options), Database.layer))
}

const make = Effect.fnUntraced(function* (options: DatabaseOptions) {
  const { file, durability = "durable", busyTimeout = "1 second", cacheSizeKib = 2000, readOnly = false } = options
  if (!Number.isSafeInteger(cacheSizeKib) || cacheSizeKib <= 0) {
    const detail = `expected cacheSizeKib to be a whole number above 0, got ${cacheSizeKib}`
    return yield* new DatabaseOpenError({ file, reason: "PragmaRefused", detail })
  }
  const syncs = syncsOf[durability]
  const before = yield* locate({ ...options, oneName: options.requireWal === true })
  const typed = <A, E, R>(self: Effect.Effect<A, E, R>) =>
    self.pipe(
      Effect.catchDefect((defect) => Effect.fail(fromNative(file, defect))),
      Effect.mapError((error) => (error instanceof DatabaseOpenError ? error : fromNative(file, error))),
    )

  const fs = yield* FileSystem.FileSystem
  /** SQLite has one word, CANTOPEN, for all that the system may say: whether descriptors are left can be tried. */
  const ofSystem = (error: DatabaseOpenError) =>
    Effect.scoped(fs.open("/dev/null")).pipe(
      Effect.mapError((cause) => (systemReason(cause) === "NoDescriptor" ? fromNative(file, cause) : error)),
      Effect.andThen(Effect.fail(error)),
    )
  const stored = before.path
  const registration = yield* OpenFiles.register(stored, FileSync.release)
  let logSync = LogSync.none
  const connection = yield* openConnection(
    stored,
    readOnly,
    registration.keep,
    Effect.suspend(() => logSync.lookForReplacement),
  )
  const driver = yield* typed(
    SqliteClient.make({ filename: file, readonly: readOnly, disableWAL: true }).pipe(
      Effect.flatMap((client) => client.reserve),
      Scope.provide(connection),
    ),
  ).pipe(Effect.catchIf(({ reason }) => reason === "NoPermission", ofSystem))
  const pragma = (text: string) =>
    Effect.suspend(() => driver.executeValuesUnprepared(`PRAGMA ${text}`, [])).pipe(Effect.map((rows) => rows[0]?.[0]))
  /** Sets a pragma and fails when reading it back gives anything else. */
  const settle = Effect.fnUntraced(function* (
    name: string,
    value: string | number,
    expected: string | number,
    reason: OpenReason = "PragmaRefused",
  ) {
    yield* pragma(`${name} = ${value}`)
    const actual = yield* pragma(name)
    if (actual === expected) return
    const detail = `expected ${name} to be ${expected}, got ${String(actual)}`
    return yield* new DatabaseOpenError({ file, reason, detail })
  }, typed)

  const busyMillis = Math.ceil(Duration.toMillis(Duration.fromInputUnsafe(busyTimeout)))
  yield* settle("busy_timeout", busyMillis, busyMillis)
  yield* settle("cache_size", -cacheSizeKib, -cacheSizeKib)
  const mode = yield* typed(pragma("journal_mode"))
  if (options.requireWal === true && mode !== "wal") {
    return yield* new DatabaseOpenError({ file, reason: "NotWal", detail: `its journal mode is ${String(mode)}` })
  }
  if (!readOnly) {
    yield* settle("journal_mode", "WAL", "wal", "WalRefused")
    yield* settle("synchronous", syncs.synchronous.name, syncs.synchronous.value)
  }
  const target = DatabaseFile.resolve(file)
  const identity = target.found?.identity ?? "gone"
  // A name that led elsewhere while it was opened says nothing about what SQLite has.
  if (target.path !== stored || (before.found !== undefined && before.found.identity !== identity)) {
    return yield* new DatabaseOpenError({ file, reason: "Replaced", detail: "" })
  }
  registration.identify(identity)
  // Reads the schema, so that a file whose first page is damaged is refused here and not by the first statement.
  yield* typed(Effect.suspend(() => driver.executeValuesUnprepared("SELECT 1 FROM sqlite_schema LIMIT 1", [])))

  const exposure = Exposure.make()
  if (!readOnly) logSync = yield* typed(LogSync.make(target, identity, exposure))
  /** Whether a guard has turned autocheckpoint off, and checkpoints instead. */
  let isGuarded = false
  const client = yield* SafeClient.make(driver, {
    everyCommitSyncs: syncs.byConnection,
    isGuarded: () => isGuarded,
    committed: exposure.committed,
    refusal: logSync.refusal,
  })
  const { gate, holder, sql } = client
  const { quiesce, writer } = yield* Writer.make({ client, file, logSync, unsynced: syncs.byWriter })
  const quiesceOnce = about(file)(Effect.asVoid(yield* Effect.cached(Shutdown.step("drain writes", quiesce))))
  yield* Effect.addFinalizer(() => quiesceOnce)
  const version = yield* typed(Effect.suspend(() => driver.executeValuesUnprepared("SELECT sqlite_version()", [])))
  const withFiles = Effect.provideService(FileSystem.FileSystem, fs)
  const database = Database.of({
    sql,
    holder,
    gate,
    file,
    durability,
    durable: logSync.durable,
    durabilityLost: logSync.failed,
    replaced: logSync.replaced,
    lookForReplacement: about(file)(logSync.lookForReplacement),
    isReplaced: () => logSync.refusal()?.reason === "Replaced",
    walStamp: logSync.stamp,
    opened: { path: stored, identity, ...logSync.opened },
    resume: Effect.sync(() => {
      const cause = logSync.refusal()?.cause
      // A log that was replaced is nobody's to go on with.
      const isSyncFailure = cause instanceof DurabilityError && cause.reason === "SyncFailed"
      return options.afterFailedSync === "resume" && isSyncFailure
        ? Option.some(Effect.sync(logSync.resume))
        : Option.none()
    }),
    quiesce: quiesceOnce,
    syncFile: FileSync.sync(stored),
    lockHolders: withFiles(Processes.lockHolders(target)),
    others: withFiles(Processes.using(target)),
    walBytes: Effect.sync(() => DatabaseFile.look(target.wal)?.bytes ?? 0),
    version: String(version[0]?.[0]),
    exposure,
    seesCommits: true,
    autocheckpoint: (pages) =>
      Effect.tap(Autocheckpoint.set(sql)(pages), () =>
        Effect.sync(() => {
          isGuarded = pages === 0
        }),
      ),
  })
  return Context.make(Database, database).pipe(
    Context.add(SqlClient.SqlClient, sql),
    Context.add(Writer.Writer, writer),
    Context.add(DatabaseName, file),
  )
})

/** Connections that must not be closed: a close checkpoints into, and removes, what has the names of their files now. */
const neverClosed: Array<Scope.Closeable> = []

/**
 * The scope of the driver's connection, closed and verified with the layer's own. `close()` is a native call: it is not bounded.
 * A connection whose files were replaced is left open until the process ends.
 */
const openConnection = Effect.fnUntraced(function* (
  file: string,
  readOnly: boolean,
  keep: () => void,
  lookForReplacement: Effect.Effect<Option.Option<DurabilityError>>,
) {
  const connection = yield* Scope.make()
  const sidecars = yield* Effect.context<FileSystem.FileSystem>()
  const close = Effect.gen(function* () {
    const changed = yield* lookForReplacement
    if (Option.isSome(changed)) {
      neverClosed.push(connection)
      keep()
      return yield* Effect.annotateLogs(Effect.logError("database left open"), { file, reason: changed.value.message })
    }
    const end = yield* Shutdown.step("close database", Scope.close(connection, Exit.void))
    if (readOnly) return
    const target = DatabaseFile.resolve(file)
    const left = [target.wal, target.shm].filter((at) => DatabaseFile.look(at) !== undefined)
    if (left.length === 0) return
    const others = Option.getOrElse(yield* Processes.using(target), () => []).filter(Processes.isUsing)
    const { leftBehind } = yield* Shutdown.Shutdown
    // The registration of this layer ends after its connection.
    const here = (yield* OpenFiles.timesOpen(file)) > 1 ? [`this process (pid ${process.pid})`] : []
    const ownHolders = [...(yield* leftBehind), ...here]
    // The sidecars of a process that goes on to use the database are rightly there.
    if (end === "done" && ownHolders.length === 0 && others.some(({ has }) => has === "this")) return
    const holders = [...ownHolders, ...others.map((it) => Processes.namesOf([it]))]
    const stillOpen = holders.length > 0 ? `still open in ${holders.join(", ")}` : "unknown"
    const reason = end === "done" ? stillOpen : "the connection did not close"
    yield* Effect.annotateLogs(Effect.logWarning("database sidecars left"), { files: left.join(" "), reason })
  })
  yield* Effect.addFinalizer(() => close.pipe(Effect.provideContext(sidecars), Shutdown.contained("close database")))
  return connection
})
