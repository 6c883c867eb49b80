/**
 * What the types of the public API promise: what a layer provides, needs and fails with, and which options it takes. Checked by the
 * compiler, here against the source and where the package was installed against its declarations; it does nothing when it runs.
 */
import { Config, Context, type Duration, Effect, Layer, type Option, type Ref, type Scope, Stream } from "effect"
import type { ByteSize } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import {
  Backup,
  Checkpointer,
  Database,
  DatabaseControl,
  type DatabaseOpenError,
  DatabaseStatus,
  Doctor,
  type Durability,
  GuardedDatabase,
  Integrity,
  LatencyWindow,
  type OptionError,
  Restore,
  Shutdown,
  SqliteClient,
  type UnsafeSqliteError,
  WalGuard,
  Writer,
  type WriterError,
} from "../../src/index.ts"
import { Dashboard, LiveLog } from "../../src/dashboard/index.ts"
import {
  type Engine,
  EngineProgram,
  type Halt,
  Lease,
  Session,
  type StateError,
  StateManager,
} from "../../src/engine/index.ts"
import { LogCapture, ScriptedCheckpointer, TemporaryDatabase } from "../../src/testing/index.ts"

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
type Of<L> = L extends Layer.Layer<infer ROut, infer E, infer RIn> ? [provides: ROut, fails: E, needs: RIn] : never
type Is<A, E = never, R = never> = [provides: A, fails: E, needs: R]
/** Does not compile when the two are not the same type. */
const same = <A, B>(...wrong: Equal<A, B> extends true ? [] : [expected: A, got: B]) => wrong.length

type Client = SqlClient.SqlClient | SqliteClient.SqliteClient
type Opened = Database.Database | DatabaseControl.DatabaseControl
type Guarded =
  | Opened
  | Client
  | Writer.Writer
  | Checkpointer.Checkpointer
  | LatencyWindow.LatencyWindow
  | WalGuard.WalGuard
type Wrong = OptionError.OptionError
type OpenError = DatabaseOpenError.DatabaseOpenError
type Unsafe = UnsafeSqliteError.UnsafeSqliteError

// What is one word away from the driver.
const options: SqliteClient.SqliteClientConfig = { filename: "app.db" }
const [database, guarded] = [Database.layer(options), GuardedDatabase.layer(options)]
same<Of<typeof database>, Is<Opened | Client | Writer.Writer, OpenError>>()
same<Of<typeof guarded>, Is<Guarded, OpenError | Wrong | Unsafe | SqlError.SqlError>>()
const configured = GuardedDatabase.layerConfig({ filename: Config.String("DATABASE") })
same<Of<typeof configured>, Is<Guarded, OpenError | Wrong | Unsafe | SqlError.SqlError | Config.ConfigError>>()
type Options = GuardedDatabase.GuardedDatabaseOptions
same<Options["filename"], string>()
same<Options["readonly"], boolean | undefined>()
same<Options["prepareCacheTTL"], Duration.Input | undefined>()
same<Options["busyTimeout"], Duration.Input | undefined>()
same<Options["interval"], Duration.Input | undefined>()
same<Options["cacheSize"], ByteSize.Input | undefined>()
same<Options["durability"], Durability.Durability | undefined>()
same<Options["checkpoints"], "thread" | "inline" | undefined>()
export const written: Options = { filename: "app.db", cacheSize: "8 MiB", interval: "30 seconds", busyTimeout: 500 }
// @ts-expect-error: the file has no default
Database.layer({})
// @ts-expect-error: the driver's name
Database.layer({ file: "app.db" })
// @ts-expect-error: no such choice
GuardedDatabase.layer({ filename: "app.db", checkpoints: "process" })

// The parts.
const [client, thread, inline] = [Database.layerClient(), Checkpointer.layerThread(), Checkpointer.layerInline()]
same<Of<typeof client>, Is<Opened, OpenError, SqlClient.SqlClient>>()
same<Of<typeof thread>, Is<Checkpointer.Checkpointer, Unsafe, Opened>>()
same<Of<typeof inline>, Is<Checkpointer.Checkpointer, never, SqlClient.SqlClient>>()
const [guard, guardWith] = [WalGuard.layer(), WalGuard.layerWith()]
type Base = Opened | Checkpointer.Checkpointer
same<Of<typeof guard>, Is<WalGuard.WalGuard | LatencyWindow.LatencyWindow, SqlError.SqlError | Wrong, Base>>()
same<Of<typeof guardWith>, Is<WalGuard.WalGuard, SqlError.SqlError | Wrong, Base | LatencyWindow.LatencyWindow>>()
same<Context.Service.Shape<typeof LatencyWindow.LatencyWindow>, Ref.Ref<ReadonlyArray<number>>>()
const budget = Shutdown.layer({ budget: "5 seconds" })
same<Of<typeof budget>, Is<never, Wrong>>()
const shutdown = Shutdown.layer()
same<Of<typeof shutdown>, Is<never>>()
const backup = Backup.layer({ file: "app.db" })
same<Of<typeof backup>, Is<Backup.Backup, Wrong>>()

const [made, guarding] = [Database.make(options), WalGuard.make({ interval: "1 second" })]
same<Effect.Success<typeof made>, Context.Context<Opened | Client | Writer.Writer>>()
same<Effect.Error<typeof made>, OpenError>()
same<Effect.Success<typeof guarding>, WalGuard.WalGuard["Service"]>()
same<Effect.Services<typeof guarding>, Base | LatencyWindow.LatencyWindow | Scope.Scope>()

// What fails, says so; what cannot, does not.
const write = Effect.flatMap(Writer.Writer, (writer) => writer.execute("INSERT INTO t VALUES (1)"))
same<Effect.Error<typeof write>, WriterError.WriteFailure>()
const stream = SqlClient.SqlClient.use((sql) => Stream.runDrain(sql`SELECT 1`.stream))
same<Effect.Error<typeof stream>, SqlError.SqlError>()
const [status, report] = [DatabaseStatus.read("app.db"), Doctor.examine("app.db")]
same<Effect.Success<typeof status>, DatabaseStatus.Status>()
same<Effect.Error<typeof status>, DatabaseStatus.DatabaseStatusError>()
same<Effect.Services<typeof status>, never>()
same<Effect.Success<typeof report>, Doctor.Report>()
same<Effect.Services<typeof report>, never>()
const restored = Restore.restore({ backup: "app.db.bak", file: "app.db" })
same<Effect.Error<typeof restored>, Restore.RestoreError | Integrity.IntegrityError>()
same<Effect.Services<typeof restored>, never>()

// A double of either service is what stands in its interface, and nothing that is hidden.
export const doubled = (real: Database.DatabaseService, control: DatabaseControl.DatabaseControlService) => {
  const {
    durability,
    durabilityLost,
    durable,
    exposure,
    filename,
    lockHolders,
    others,
    readonly,
    replaced,
    sql,
    version,
  } = real
  const quiet = {
    durability,
    durabilityLost,
    durable,
    exposure,
    filename,
    lockHolders,
    others,
    readonly,
    replaced,
    sql,
    version,
  }
  same<keyof typeof quiet, keyof Database.DatabaseService>()
  return Context.make(Database.Database, quiet).pipe(
    Context.add(DatabaseControl.DatabaseControl, { ...control, walBytes: Effect.succeed(0) }),
  )
}

// The engine, the dashboard, the tests.
const program = Layer.succeed(EngineProgram.EngineProgram, { tick: () => Effect.succeed(EngineProgram.noHalt) })
const state = StateManager.layer()
same<Of<typeof state>, Is<StateManager.StateManager, StateError.StateError, SqlClient.SqlClient | Writer.Writer>>()
const lease = Lease.layerFile({ file: "app.db" })
same<Of<typeof lease>, Is<Lease.Lease, Lease.LeaseError>>()
export type SessionNeeds =
  Parameters<typeof Session.layer>[0]["parentSessionId"] extends Option.Option<number> ? 1 : never
export type EngineProvides = Of<ReturnType<typeof Session.layer>>[0] extends infer A
  ? Engine.Engine | Halt.Halt extends A
    ? 1
    : never
  : never
export const sessionNeeds: SessionNeeds = 1
export const programLayer: Layer.Layer<EngineProgram.EngineProgram> = program
const page = Dashboard.layer()
same<Of<typeof page>, Is<Dashboard.Dashboard, Wrong, LiveLog.LiveLog | WalGuard.WalGuard | Opened>>()
const lines = LiveLog.layer
same<Of<typeof lines>, Is<LiveLog.LiveLog>>()
const [temporary, scripted, captured] = [TemporaryDatabase.layer(), ScriptedCheckpointer.layer(), LogCapture.layer]
same<Of<typeof scripted>, Is<Checkpointer.Checkpointer | ScriptedCheckpointer.Recording>>()
same<Of<typeof captured>, Is<LogCapture.LogCapture>>()
same<Of<typeof temporary>[0], Opened | Client | Writer.Writer>()
