/**
 * One checkpoint of a guard, with everything that follows from it: what a power cut could still take, who is in the
 * way, the lines of log, the latency window.
 *
 * Runs asked for by interval and at the end have a line each; runs by size only when they are slow, blocked or fail.
 * The caller runs one `withTurn`: two checkpoints of a guard never overlap.
 */
import { Clock, Duration, Deferred, Effect, Metric, Option, Ref, Semaphore } from "effect"
import { holderNames } from "../processes/ProcessName.ts"
import { DatabaseControl } from "../sqlite/DatabaseControl.ts"
import type { AutocheckpointLease } from "./AutocheckpointLease.ts"
import * as BlockedWatch from "./BlockedWatch.ts"
import {
  Checkpoint,
  CheckpointError,
  type CheckpointMode,
  type CheckpointOutcome,
  type WalFrames,
} from "./Checkpoint.ts"
import { whole } from "./CheckpointRun.ts"
import * as Checkpointer from "./Checkpointer.ts"
import * as GuardAlarms from "./GuardAlarms.ts"
import * as LatencyWindow from "./LatencyWindow.ts"
import { type FinishedCheckpoint, mostFinished, type GuardStatus, slowMillis, type Why } from "./GuardStatus.ts"

/** How long a look at the WAL may wait for its turn on the connection. */
export const lookBound = Duration.millis(100)

export const exposureSeconds = Metric.gauge("seawall_exposure_seconds", {
  description: "Age of the oldest commit that a power cut could still take, in seconds; 0 when there is none",
})

export const fields = (checkpoint: Checkpoint) => ({
  mode: checkpoint.mode,
  busy: checkpoint.busy,
  log_frames: checkpoint.walFrames,
  checkpointed_frames: checkpoint.checkpointedFrames,
  elapsed_ms: checkpoint.elapsedMillis,
})

const log = Effect.fnUntraced(
  function* (checkpoint: Checkpoint, why: Why) {
    if (why !== "size") yield* Effect.logInfo("wal_checkpoint")
    if (checkpoint.elapsedMillis > slowMillis) yield* Effect.logWarning("wal_checkpoint slow")
  },
  (self, checkpoint) => Effect.annotateLogs(self, fields(checkpoint)),
)

/** An open dashboard is normal: a reader or another writer that keeps the WAL from being emptied is no failure. */
export const warnIfIncomplete = (checkpoint: Checkpoint): Effect.Effect<void> =>
  checkpoint.outcome === "Complete"
    ? Effect.void
    : Effect.annotateLogs(Effect.logWarning("wal_checkpoint truncate incomplete"), {
        outcome: checkpoint.outcome,
        blockers: holderNames(checkpoint.blockers),
        ...fields(checkpoint),
      })

/**
 * The answer of a PASSIVE that has nothing to copy, which does nothing: the look right before it tells as much, at a tenth of
 * what a question to the thread costs. Hundreds of idle databases are asked at each interval.
 */
const nothingToCopy = ({ checkpointed, log: length }: WalFrames) =>
  whole(
    Effect.succeed(
      new Checkpoint({
        mode: "PASSIVE",
        outcome: "Complete",
        busy: 0,
        walFrames: length,
        checkpointedFrames: checkpointed,
        elapsedMillis: 0,
      }),
    ),
    "PASSIVE",
    Effect.succeedNone,
  )

/** What a guard has seen of the WAL, and the checkpoints that it remembers. */
const memory = Effect.fnUntraced(function* (frames: Checkpointer.Checkpointer["Service"]["frames"]) {
  const last = yield* Ref.make(Option.none<Checkpoint>())
  const seen = yield* Ref.make(Option.none<WalFrames>())
  /** What the last look saw; none after a run, and after a look that saw nothing. */
  const looked = yield* Ref.make(Option.none<WalFrames>())
  const finished = yield* Ref.make<ReadonlyArray<FinishedCheckpoint>>([])

  const remember = Effect.fnUntraced(function* (
    mode: CheckpointMode,
    why: Why,
    outcome: CheckpointOutcome | "Failed",
    elapsedMillis: number,
  ) {
    const at = yield* Clock.currentTimeMillis
    yield* Ref.update(finished, (all) => [
      ...all.slice(1 - mostFinished),
      { number: (all.at(-1)?.number ?? 0) + 1, at, mode, why, outcome, elapsedMillis },
    ])
  })
  return {
    last: Ref.get(last),
    seen: Ref.get(seen),
    finished: Ref.get(finished),
    /** What the WAL holds; none when that is unknown, or the connection is not free within the bound. */
    look: Effect.timeoutOption(frames, lookBound).pipe(
      Effect.map(Option.flatten),
      Effect.tap((now) => Ref.set(looked, now)),
      Effect.tap((now) => (Option.isSome(now) ? Ref.set(seen, now) : Effect.void)),
    ),
    takeLook: Ref.getAndSet(looked, Option.none()),
    failed: (mode: CheckpointMode, why: Why, elapsedMillis: number) => remember(mode, why, "Failed", elapsedMillis),
    done: Effect.fnUntraced(function* (done: Checkpoint, why: Why) {
      yield* remember(done.mode, why, done.outcome, done.elapsedMillis)
      yield* Ref.set(last, Option.some(done))
      if (done.walFrames >= 0) {
        yield* Ref.set(seen, Option.some({ log: done.walFrames, checkpointed: done.checkpointedFrames }))
      }
    }),
  }
})

/** @param exposure Seconds since the oldest commit that a power cut could take; none when that cannot be known. */
export const make = Effect.fnUntraced(function* (
  autocheckpoint: AutocheckpointLease,
  exposure: Effect.Effect<Option.Option<number>>,
) {
  const control = yield* DatabaseControl
  const checkpointer = yield* Checkpointer.Checkpointer
  const window = yield* LatencyWindow.LatencyWindow
  const watch = yield* BlockedWatch.make(exposure)
  const alarms = yield* GuardAlarms.make
  const turn = yield* Semaphore.make(1)
  const known = yield* memory(checkpointer.frames)

  const lookForOthers = Effect.gen(function* () {
    const both = Option.all([yield* known.look, yield* known.last])
    if (Option.isSome(both)) yield* alarms.lookForOthers(...both.value)
  })

  /** Runs one checkpoint and what follows from it. Fails as the checkpointer does. */
  const run = Effect.fnUntraced(function* (mode: CheckpointMode, why: Why) {
    const replaced = yield* control.lookForReplacement
    if (Option.isSome(replaced)) {
      return yield* new CheckpointError({ mode, reason: "Replaced", cause: replaced.value })
    }
    const covered = yield* control.exposure.syncing
    const before = yield* known.takeLook
    const start = yield* Clock.monotonicTimeNanos
    const isIdle = why === "interval" && !control.exposure.isExposed()
    const nothing = Option.filter(before, ({ checkpointed, log: length }) => isIdle && length === checkpointed)
    const done = yield* Effect.tapCause(
      Option.match(nothing, { onNone: () => checkpointer.run(mode), onSome: nothingToCopy }),
      () => Effect.flatMap(Clock.monotonicTimeNanos, (end) => known.failed(mode, why, Number(end - start) / 1e6)),
    )
    yield* known.done(done, why)
    if (why !== "end") yield* autocheckpoint.standIn(done.outcome === "CheckpointerBusy")
    // The WAL is synced when, and only when, there is something to copy. Frames that were copied before this run, by any connection, are
    // no sync of what was committed since; where that was not seen right before it, only a whole copy counts.
    if (done.outcome === "Complete" || Option.exists(before, (it) => done.checkpointedFrames > it.checkpointed)) {
      yield* covered
    }
    const exposed = yield* exposure
    if (Option.isSome(exposed)) yield* Metric.update(exposureSeconds, exposed.value)
    yield* log(done, why)
    if (why === "interval") yield* Ref.update(window, LatencyWindow.append(done.elapsedMillis))
    if (why === "end") return done
    yield* done.outcome === "Complete" ? watch.finished : watch.blocked(done)
    yield* alarms.recovered
    return done
  })

  return {
    /** One after another: of this guard, and of all databases that share a checkpoint thread. */
    withTurn: <A, E, R>(self: Effect.Effect<A, E, R>) => turn.withPermit(checkpointer.withTurn(self)),
    /** Waits until no checkpoint of this guard is under way. */
    ended: turn.withPermit(Effect.void),
    run,
    failed: alarms.failed,
    heldUp: alarms.heldUp,
    notHeldUp: alarms.notHeldUp,
    /** One with writers held back. None when the connection does not come free. Ends with it, even if it outlasts the gate. */
    runGated: Effect.fnUntraced(function* (mode: CheckpointMode, why: Why, hold?: Duration.Duration) {
      const ended = yield* Deferred.make<Checkpoint, CheckpointError>()
      const end = yield* control.gate(Deferred.into(run(mode, why), ended), hold)
      return end._tag === "NotClosed" ? Option.none() : Option.some(yield* Deferred.await(ended))
    }),
    look: known.look,
    lookForOthers,
    last: known.last,
    /** All but the interval, which belongs to the caller. Asked once a second for each database. */
    status: Effect.all({
      frames: known.seen,
      finished: known.finished,
      failures: alarms.failures,
      incident: watch.incident,
      exposureSeconds: exposure,
    }) satisfies Effect.Effect<Omit<GuardStatus, "interval" | "maxFrames" | "writers">>,
  }
})

export type GuardedCheckpoint = Effect.Success<ReturnType<typeof make>>
