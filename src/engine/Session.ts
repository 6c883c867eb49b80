/**
 * The life cycle of an engine, as one chain of layers: start-up reads from the bottom up, shutdown from the top down.
 *
 * This is the specification of both orders, and the only place where they are written. Each layer closes before the one
 * below it; members that were merged instead of chained would close in parallel.
 *
 * `Ending` stands in it twice, because the end of the guard closes the `Writer`: what fails above the guard is stored before
 * that, and what fails below it by the lower one.
 *
 * It does not end by itself: whoever builds it waits for `Halt.awaitRequest` and closes its scope. Nor does it listen
 * to signals (`Signals`), or set the budget of its end (`Shutdown`); both stand below it.
 */
import { ByteSize, Cause, Duration, Effect, Layer, Option } from "effect"
import * as Backup from "../sqlite/copies/Backup.ts"
import * as Database from "../sqlite/Database.ts"
import { about } from "../sqlite/DatabaseName.ts"
import * as Integrity from "../sqlite/copies/Integrity.ts"
import * as StateManager from "../state/StateManager.ts"
import * as Checkpointer from "../wal/Checkpointer.ts"
import * as WalGuard from "../wal/WalGuard.ts"
import * as Ending from "./Ending.ts"
import * as Engine from "./Engine.ts"
import type { EngineConfig } from "./EngineConfig.ts"
import type * as EngineProgram from "./EngineProgram.ts"
import * as Halt from "./Halt.ts"
import * as HaltReason from "./HaltReason.ts"
import * as Lease from "../lease/Lease.ts"
import * as Preflight from "./Preflight.ts"

/** What runs, with which configuration, and after which session. */
export interface SessionOptions<E, Config extends EngineConfig = EngineConfig> {
  /** Of the engine alone (`EngineConfig.load`), or with the sections of a program (`EngineConfig.make`). */
  readonly config: Config
  /** What must hold between its values: the `invariants` of `EngineConfig.make`. Default nothing. */
  readonly invariants?: (config: Config) => ReadonlyArray<string>
  /** The session that this one recovers, which then clears nothing; none for a fresh one. */
  readonly parentSessionId: Option.Option<number>
  /**
   * How many times as fast as its configured interval the engine ticks, for a replay: default 1; Infinity = the next tick
   * follows at once, and other fibers run between two of them.
   */
  readonly speed?: number
  /** What the engine does, on top of its memory. Its `E` fails the start. */
  readonly program: Layer.Layer<EngineProgram.EngineProgram, E, StateManager.StateManager>
}

/** A database that cannot keep its word ends the session. */
const haltWhenDurabilityIsLost = Layer.effectDiscard(
  Effect.gen(function* () {
    const { durabilityLost, filename } = yield* Database.Database
    const halt = yield* Halt.Halt
    yield* Effect.flatMap(durabilityLost, (error) =>
      Effect.andThen(
        about(filename)(Effect.logError("durability lost", Cause.fail(error))),
        halt.request({ reason: Option.some("unhandled_exception"), detail: error.message }),
      ),
    ).pipe(Effect.forkScoped)
  }),
)

/** Whether the session ended as it was meant to, by the reason that was written. */
const endedCleanly = (halt: Halt.Halt["Service"]) =>
  Effect.gen(function* () {
    return Option.exists(yield* halt.settled, HaltReason.isCleanOf(yield* halt.reasons))
  })

const backups = ({ backups: keep, database: file }: EngineConfig["engine"]) =>
  keep === 0
    ? Layer.empty
    : Layer.unwrap(Effect.map(Halt.Halt, (halt) => Backup.aroundSession({ wanted: endedCleanly(halt) }))).pipe(
        Layer.provide(Backup.layer({ file, keep })),
      )

/**
 * Starts all of it. Fails as the first part that cannot start: what is above that never starts, what is below closes in
 * its order. Provides every service of the chain but `Backup`; needs `Halt`, and takes the `Shutdown` in reach.
 */
export const layer = <E, Config extends EngineConfig>({
  config,
  config: { engine },
  parentSessionId,
  program,
  speed = 1,
  ...preflight
}: SessionOptions<E, Config>) =>
  Engine.layer({
    tickInterval: Duration.seconds(engine.tick_interval_seconds / speed),
    duration: Duration.seconds(engine.duration_seconds),
    parentSessionId,
  }).pipe(
    Layer.provideMerge(program),
    Layer.provideMerge(Ending.above()),
    Layer.provideMerge(
      WalGuard.layer({
        interval: Duration.seconds(engine.wal_checkpoint_interval_seconds),
        maxFrames: engine.wal_max_frames,
      }),
    ),
    Layer.provideMerge(haltWhenDurabilityIsLost),
    Layer.provideMerge(Preflight.layer({ ...preflight, config, parentSessionId })),
    Layer.provideMerge(StateManager.layer()),
    Layer.provideMerge(Checkpointer.layer({ checkpoints: engine.wal_checkpoint_thread ? "thread" : "inline" })),
    Layer.provideMerge(backups(engine)),
    Layer.provideMerge(Ending.below()),
    Layer.provideMerge(
      Database.layer({
        filename: engine.database,
        durability: engine.durability,
        busyTimeout: Duration.seconds(engine.busy_timeout_seconds),
        cacheSize: ByteSize.kibibytes(engine.cache_size_kib),
        allowNetworkFileSystem: engine.allow_network_file_system,
      }),
    ),
    Layer.provideMerge(Integrity.layer({ file: engine.database, check: engine.integrity_check })),
    Layer.provideMerge(Lease.layerFile({ file: engine.database })),
  )
