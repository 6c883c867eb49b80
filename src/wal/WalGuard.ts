/**
 * Keeps the log of the `Database` in reach short: a PASSIVE checkpoint every interval, a TRUNCATE at the end.
 *
 * While its loop runs, SQLite's own autocheckpoint is off, so that no commit pays for a checkpoint; it is restored when
 * the loop stops. Nothing starts without this layer, and an interval of zero or less means off: no loop, no line.
 * Lets go in this order: interrupt the loop and wait for it (at most 5 s) -> aggregate line -> TRUNCATE -> restore
 * autocheckpoint. The Database below closes after that. A checkpoint that still runs at its bound is left behind:
 * TRUNCATE is skipped then, because two checkpoints must not overlap.
 * https://www.sqlite.org/wal.html#avoiding_excessively_large_wal_files
 */
import { Context, Duration, Effect, Fiber, Layer, Metric, Option, Ref, Schedule, Semaphore } from "effect"
import type { SqlError } from "effect/unstable/sql"
import * as Shutdown from "../shutdown/Shutdown.ts"
import { Database } from "../sqlite/Database.ts"
import type { Checkpoint, CheckpointMode } from "./Checkpoint.ts"
import { Checkpointer } from "./Checkpointer.ts"
import { append, LatencyWindow, summarize } from "./LatencyWindow.ts"

/** 60 s: at 10 commits a second that is a log of a few megabytes, and a checkpoint of a few milliseconds. */
export const defaultInterval = Duration.seconds(60)

/** A checkpoint that takes longer than this (strictly) also logs `wal_checkpoint slow`: 200 ms is a visible stall. */
export const slowMillis = 200

/** How long a closing guard waits for a checkpoint in flight: half of the shutdown budget. */
export const stopBound = Duration.seconds(5)

export interface WalGuardOptions {
  /** Time from the end of one checkpoint to the start of the next; default 60 s, zero or less = off, no minimum. */
  readonly interval?: Duration.Input
}

export class WalGuard extends Context.Service<
  WalGuard,
  {
    /** Starts the loop. The layer has done so already; a second start warns and changes nothing. */
    readonly start: Effect.Effect<void, SqlError.SqlError>
    /** Changes the interval of a running guard: the next checkpoint comes one new interval from now. Zero or less stops it. */
    readonly setInterval: (interval: Duration.Input) => Effect.Effect<void, SqlError.SqlError>
    /** The last checkpoint that ended, if there was one. */
    readonly last: Effect.Effect<Option.Option<Checkpoint>>
  }
>()("seawall/wal/WalGuard") {
  /** Starts the loop with the layer. Fails only when SQLite refuses to turn its autocheckpoint off. */
  static readonly layer = (
    options: WalGuardOptions = {},
  ): Layer.Layer<WalGuard, SqlError.SqlError, Database | Checkpointer | LatencyWindow> =>
    Layer.effect(WalGuard, make(options))
}

interface Loop {
  readonly fiber: Fiber.Fiber<unknown>
  readonly autocheckpoint: number
}

/** Databases with a running loop: starting twice, through one guard or two, must not make two loops. */
const guarded = new WeakSet<object>()

const exposureSeconds = Metric.gauge("seawall_exposure_seconds", {
  description: "Age of the oldest commit that a power cut could still take; 0 when there is none",
})

/** Negative is off; so is what is not a finite time. */
const atLeastZero = (interval: Duration.Input) => Duration.max(Duration.fromInputUnsafe(interval), Duration.zero)

const fields = (checkpoint: Checkpoint) => ({
  mode: checkpoint.mode,
  busy: checkpoint.busy,
  log_frames: checkpoint.logFrames,
  checkpointed_frames: checkpoint.checkpointedFrames,
  elapsed_ms: checkpoint.elapsedMillis,
})

const log = Effect.fnUntraced(
  function* (checkpoint: Checkpoint) {
    yield* Effect.logInfo("wal_checkpoint")
    if (checkpoint.elapsedMillis > slowMillis) yield* Effect.logWarning("wal_checkpoint slow")
  },
  (self, checkpoint) => Effect.annotateLogs(self, fields(checkpoint)),
)

const make = Effect.fnUntraced(function* (options: WalGuardOptions) {
  const database = yield* Database
  const checkpointer = yield* Checkpointer
  const window = yield* LatencyWindow
  const lock = yield* Semaphore.make(1)
  const interval = yield* Ref.make(atLeastZero(options.interval ?? defaultInterval))
  const loop = yield* Ref.make(Option.none<Loop>())
  const last = yield* Ref.make(Option.none<Checkpoint>())
  const failures = yield* Ref.make(0)

  /** One checkpoint, its consequences for what a power cut could take, and its line. */
  const checkpoint = Effect.fnUntraced(function* (mode: CheckpointMode) {
    const covered = yield* database.exposure.syncing
    const before = Option.match(yield* Ref.get(last), { onNone: () => 0, onSome: (it) => it.checkpointedFrames })
    const done = yield* checkpointer.run(mode)
    yield* Ref.set(last, Option.some(done))
    // The log is synced when, and only when, there is something to copy. A reset that moved by chance to the very
    // number it had before is taken for one that copied nothing, which errs on the side of too much exposure.
    if (done.outcome === "Complete" || (done.checkpointedFrames > 0 && done.checkpointedFrames !== before)) {
      yield* covered
    }
    yield* Metric.update(exposureSeconds, yield* database.exposure.seconds)
    yield* log(done)
    return done
  })

  /** The 1st, 2nd, 4th, 8th, ... failure in a row is logged, and their end once. */
  const failed = Effect.fnUntraced(function* (error: unknown) {
    const count = yield* Ref.updateAndGet(failures, (n) => n + 1)
    if (Math.log2(count) % 1 === 0) {
      yield* Effect.annotateLogs(Effect.logError("wal_checkpoint failed", error), { failures: count })
    }
  })
  const recovered = Effect.flatMap(Ref.getAndSet(failures, 0), (count) =>
    count === 0 ? Effect.void : Effect.annotateLogs(Effect.logInfo("wal_checkpoint recovered"), { failures: count }),
  )
  const tick = checkpoint("PASSIVE").pipe(
    Effect.flatMap((done) => Ref.update(window, append(done.elapsedMillis))),
    Effect.andThen(recovered),
    Effect.catchCause(failed),
    Effect.uninterruptible, // the loop ends between two checkpoints, never with one in flight
  )

  const launch = (every: Duration.Duration, after: Effect.Effect<unknown>) =>
    after.pipe(
      Effect.andThen(Effect.schedule(tick, Schedule.spaced(every))),
      Effect.forkDetach({ startImmediately: true }),
    )

  const start = Effect.gen(function* () {
    const every = yield* Ref.get(interval)
    if (Duration.isZero(every)) return
    if (guarded.has(database)) return yield* Effect.logWarning("wal_checkpoint already started")
    guarded.add(database)
    const autocheckpoint = yield* Effect.tapError(database.autocheckpoint(0), () =>
      Effect.sync(() => guarded.delete(database)),
    )
    yield* Ref.set(loop, Option.some({ fiber: yield* launch(every, Effect.void), autocheckpoint }))
    yield* Effect.annotateLogs(Effect.logInfo("wal_checkpoint started"), {
      interval_seconds: Duration.toSeconds(every),
    })
  })

  const release = Effect.fnUntraced(function* (running: Loop) {
    guarded.delete(database)
    yield* Ref.set(loop, Option.none())
    yield* database.autocheckpoint(running.autocheckpoint)
  })

  const setInterval = Effect.fnUntraced(function* (input: Duration.Input) {
    const every = atLeastZero(input)
    yield* Ref.set(interval, every)
    const running = yield* Ref.get(loop)
    if (Option.isNone(running)) return yield* start
    const { fiber } = running.value
    const old = Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))
    if (Duration.isZero(every)) {
      yield* Effect.forkDetach(old, { startImmediately: true })
      yield* release(running.value)
      return yield* Effect.logInfo("wal_checkpoint stopped")
    }
    yield* Ref.set(loop, Option.some({ ...running.value, fiber: yield* launch(every, old) }))
    yield* Effect.annotateLogs(Effect.logInfo("wal_checkpoint interval changed"), {
      interval_seconds: Duration.toSeconds(every),
    })
  })

  const stopped = yield* Ref.make<Shutdown.StepEnd>("done")
  const whileRunning = (step: (running: Loop) => Effect.Effect<unknown>) =>
    Effect.flatMap(Ref.get(loop), Option.match({ onNone: () => Effect.void, onSome: step }))
  const finalizer = (step: (running: Loop) => Effect.Effect<unknown>) =>
    Effect.addFinalizer(() =>
      whileRunning(step).pipe(Effect.ignoreCause({ log: "Error", message: "wal_checkpoint shutdown failed" })),
    )

  yield* finalizer((running) => Shutdown.step("restore autocheckpoint", release(running)))
  yield* finalizer(() =>
    Effect.flatMap(Ref.get(stopped), (end) =>
      end === "done"
        ? Shutdown.step("wal_checkpoint truncate", Effect.flatMap(checkpoint("TRUNCATE"), warnIfIncomplete))
        : Effect.annotateLogs(Effect.logError("wal_checkpoint truncate skipped"), {
            reason: "a checkpoint still runs",
          }),
    ),
  )
  yield* finalizer(() =>
    Effect.flatMap(Ref.get(window), (latencies) =>
      Effect.annotateLogs(Effect.logInfo("wal_checkpoint aggregate"), summarize(latencies)),
    ),
  )
  yield* finalizer(({ fiber }) =>
    Shutdown.step("stop wal_checkpoint loop", Fiber.interrupt(fiber), { atMost: stopBound }).pipe(
      Effect.flatMap((end) => Ref.set(stopped, end)),
    ),
  )

  yield* start
  return {
    start: lock.withPermit(start),
    setInterval: (input: Duration.Input) => lock.withPermit(setInterval(input)),
    last: Ref.get(last),
  }
})

/** An open dashboard is normal: a reader or another writer that keeps the log from being emptied is no failure. */
const warnIfIncomplete = (checkpoint: Checkpoint): Effect.Effect<void> =>
  checkpoint.outcome === "Complete"
    ? Effect.void
    : Effect.annotateLogs(Effect.logWarning("wal_checkpoint truncate incomplete"), {
        outcome: checkpoint.outcome,
        ...fields(checkpoint),
      })
