/**
 * The life cycle of an engine on SQLite, as one chain of layers: start-up reads from the bottom up, shutdown from the top down.
 *
 * This is the specification of both orders, and the only place where they are written for this store. Each layer closes before the one
 * below it; members that were merged instead of chained would close in parallel.
 *
 * `Ending` stands in it twice, because the end of the guard closes the `Writer`: what fails above the guard is stored before
 * that, and what fails below it by the lower one.
 *
 * It does not end by itself: its caller waits for `Halt.awaitRequest` and closes its scope. Nor does it listen
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
import type { EngineConfig } from "./EngineConfig.ts"
import * as Halt from "./Halt.ts"
import * as HaltReason from "./HaltReason.ts"
import * as Lease from "../lease/Lease.ts"
import * as Preflight from "./Preflight.ts"
import { type SessionOptions, top } from "./SessionParts.ts"

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
 * its order. Provides every service of the chain but `Backup`; needs `Halt`, and takes the `Shutdown` in the context.
 */
export const layer = <E, Config extends EngineConfig>(options: SessionOptions<E, Config>) => {
  const { config, parentSessionId } = options
  const { engine } = config
  return top(options).pipe(
    Layer.provideMerge(
      WalGuard.layer({
        interval: Duration.seconds(engine.wal_checkpoint_interval_seconds),
        maxFrames: engine.wal_max_frames,
      }),
    ),
    Layer.provideMerge(haltWhenDurabilityIsLost),
    Layer.provideMerge(Preflight.layer({ ...options, config, parentSessionId })),
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
}
