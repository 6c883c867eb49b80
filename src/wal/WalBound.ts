/**
 * Holds the length of the WAL, however fast it is written.
 *
 * Wakes on commits, never by the clock alone: an idle database costs nothing. It observes with NOOP; copies with PASSIVE,
 * on a thread, while writers go on; and when the WAL is too long and what is left can be flushed within a budget of time
 * (`FlushCost`), it closes the write gate for that flush, because the WAL restarts only when a write finds it wholly
 * copied. Fibers wait for these few milliseconds, the event loop does not. The longer the WAL, the larger the budget; beyond
 * a hard length writers are slowed down. FULL and RESTART, which block writers inside SQLite, are never used.
 * While a reader pins the WAL nothing can bound it: it tries again ever more rarely, and says so (`BlockedWatch`).
 */
import { Cause, Clock, Duration, Effect, Fiber, Option, Ref } from "effect"
import type { DatabaseService } from "../sqlite/Database.ts"
import type { DatabaseControlService } from "../sqlite/DatabaseControl.ts"
import type { WalFrames } from "./Checkpoint.ts"
import type * as Checkpointer from "./Checkpointer.ts"
import * as FlushCost from "./FlushCost.ts"
import { type GuardedCheckpoint, lookBound } from "./GuardedCheckpoint.ts"
import * as WalRoom from "./WalRoom.ts"

/** 4000 frames: 16 MB at the default page size; recovery after a kill stays far below a second. */
export const defaultMaxFrames = 4000

/** From a commit to the look at the WAL: a look costs about 15 microseconds, so this is 0.3 % of one core at most. */
const lookPause = Duration.millis(5)

/** In one go; then the next look at the WAL decides. */
const mostPasses = 12

/** How long the gate waits for its turn on the connection. */
const gateWait = Duration.seconds(1)

/**
 * How much longer than its budget a flush may hold writers back, and at least: it depends on a thread and a disk. Beyond the hard
 * length its budget is enough: a flush that is given up there would let the WAL grow without a bound.
 */
const gatePatience = 3
const shortestHold = Duration.millis(10)
const longestHold = Duration.millis(100)

/** Until a disk is tried again on which the syncs alone cost more than writers may wait for, after so many passes. */
const busyDiskPause = Duration.millis(100)
const passesToKnow = 3

/** Beyond the hard length writers wait for up to so long, and go on for so long. */
const brakeMillis = 5

/** How long the sync of the database may keep others from their checkpoints, as long as a checkpoint may. */
const syncBound = Duration.seconds(30)

/** Between two attempts while a reader pins the WAL: doubles from the first to the last. */
const firstBackoff = Duration.millis(50)
const lastBackoff = Duration.seconds(1)

const backlogOf = ({ checkpointed, log }: WalFrames) => log - checkpointed

interface WalBoundOptions {
  readonly database: DatabaseService
  readonly control: DatabaseControlService
  readonly checkpointer: Checkpointer.Checkpointer["Service"]
  readonly checkpoint: GuardedCheckpoint
  readonly maxFrames: number
}

/** How long the next attempt waits while nothing can be copied. */
const pauses = Effect.gen(function* () {
  const backoff = yield* Ref.make(Option.none<Duration.Duration>())
  const double = Option.match({
    onNone: () => firstBackoff,
    onSome: (before: Duration.Duration) => Duration.min(Duration.times(before, 2), lastBackoff),
  })
  return {
    blocked: Ref.update(backoff, (before) => Option.some(double(before))),
    /** It went on. */
    over: Ref.set(backoff, Option.none()),
    busyDisk: Ref.set(backoff, Option.some(busyDiskPause)),
    /** Until the next look, after a commit. */
    pause: Effect.flatMap(Ref.get(backoff), (it) => Effect.sleep(Option.getOrElse(it, () => lookPause))),
  }
})

/** Copies while writers go on. */
const copying = ({ checkpoint, checkpointer, control }: WalBoundOptions, cost: FlushCost.FlushCost) => {
  let syncing: Fiber.Fiber<void> | undefined

  /**
   * Spreads the sync of the database over the passes, so that the flush under the gate need not pay for all of them. One that
   * hangs goes on by itself: other databases wait for their turn.
   */
  const syncDatabase = Effect.fnUntraced(function* (pages: number) {
    const start = yield* Clock.monotonicTimeNanos
    if (syncing === undefined || syncing.pollUnsafe() !== undefined) {
      syncing = yield* Effect.catch(control.syncFile, (error) =>
        Effect.logWarning("database sync failed", Cause.fail(error)),
      ).pipe(Effect.forkDetach({ startImmediately: true }))
    }
    yield* Effect.timeoutOption(Fiber.await(syncing), syncBound)
    cost.synced(pages, Number((yield* Clock.monotonicTimeNanos) - start) / 1e6)
  })

  const pass = Effect.fnUntraced(function* (checkpointed: number) {
    const done = yield* checkpoint.run("PASSIVE", "size")
    const pages = Math.max(0, done.checkpointedFrames - checkpointed)
    if (pages > 0) cost.passed(pages, done.elapsedMillis)
    return { pages, isComplete: done.outcome === "Complete" }
  }, Effect.uninterruptible)

  /** One pass, and the sync of what it copied. Whether it came any further. */
  const advance = Effect.fnUntraced(function* ({ checkpointed }: WalFrames) {
    const { isComplete, pages } = yield* pass(checkpointed)
    if (pages > 0 && (yield* checkpointer.concurrent)) yield* syncDatabase(pages)
    return isComplete || pages > 0
  })

  return advance
}

/** Beyond the hard length the disk cannot keep up with the writers: the longer the WAL, the slower they go on. */
const braking = <A, E>({ control, maxFrames }: WalBoundOptions, frames: WalFrames, self: Effect.Effect<A, E>) => {
  const wait = Duration.millis(brakeMillis * FlushCost.brake(frames.log, maxFrames))
  if (Duration.isZero(wait)) return self
  const slowing = control.gate(Effect.sleep(wait), wait).pipe(Effect.andThen(Effect.sleep(brakeMillis)), Effect.forever)
  return Effect.raceFirst(self, slowing)
}

/** The loop; it ends only by interruption, between two checkpoints: each of them is carried to its end, and none starts after it. */
export const loop = Effect.fnUntraced(function* (options: WalBoundOptions) {
  const { checkpoint, checkpointer, control, database, maxFrames } = options
  const { blocked, busyDisk, over, pause } = yield* pauses
  const cost = FlushCost.make()
  const advance = copying(options, cost)
  const room = WalRoom.make({ database, control, checkpointer, maxFrames })
  let seen = 0

  const heldUp = (bound: Duration.Duration) => Effect.andThen(checkpoint.heldUp(bound), blocked)

  /** The flush of the rest, with writers held back. A flush that outlasts the gate needs it no more, and is waited for. */
  const flush = Effect.fnUntraced(function* (predicted: number, budget: number) {
    const longest = Duration.max(longestHold, Duration.millis(budget))
    const hold = Duration.clamp(Duration.millis(gatePatience * budget), { minimum: shortestHold, maximum: longest })
    const done = yield* checkpoint.runGated("PASSIVE", "size", hold)
    if (Option.isNone(done)) return yield* heldUp(gateWait)
    yield* checkpoint.notHeldUp
    if (done.value.outcome !== "Complete") return yield* blocked
    cost.flushed(predicted, done.value.elapsedMillis)
    yield* over
  }, Effect.uninterruptible)

  const shorten = Effect.gen(function* () {
    const concurrent = yield* checkpointer.concurrent
    yield* checkpoint.lookForOthers
    let previous = Infinity
    for (let passes = 0; passes < mostPasses; passes++) {
      const looked = yield* checkpoint.look
      if (Option.isNone(looked)) return yield* heldUp(lookBound)
      const frames = looked.value
      if (backlogOf(frames) === 0) return
      const isLong = concurrent && frames.log >= maxFrames
      const budget = FlushCost.budgetMillis(frames.log, maxFrames)
      // What another pass would still halve is not worth a longer wait.
      const isSettled = backlogOf(frames) > previous / 2
      const affordable = isSettled ? budget : FlushCost.shortestMillis
      const predicted = cost.predict(backlogOf(frames))
      if (isLong && predicted <= affordable) return yield* flush(predicted, budget)
      previous = backlogOf(frames)
      const isFurther = yield* isLong ? braking(options, frames, advance(frames)) : advance(frames)
      // A writer in the middle of a commit keeps its own last frames; a reader keeps them all.
      if (!isFurther) return yield* blocked
      yield* over
      if (!isLong) return
      const isBraked = FlushCost.brake(frames.log, maxFrames) > 0
      if (passes >= passesToKnow - 1 && !isBraked && cost.predict(0) > budget) return yield* busyDisk
    }
  })

  /**
   * On a thread little is copied at once: a commit that is synced waits behind the sync of what was copied, and a program with a
   * part of a processor behind the copying. Inline each pass stops the program, so there are fewer.
   */
  const mostBacklog = maxFrames / 16
  const tooLong = (frames: WalFrames) =>
    Effect.map(checkpointer.concurrent, (concurrent) =>
      concurrent
        ? backlogOf(frames) >= mostBacklog || (frames.log >= maxFrames && backlogOf(frames) > 0)
        : backlogOf(frames) >= maxFrames,
    )

  const turn = Effect.gen(function* () {
    yield* control.exposure.commitAfter(seen)
    yield* pause
    seen = control.exposure.commits()
    const frames = yield* checkpoint.look
    if (Option.isNone(frames)) return yield* heldUp(lookBound)
    if (room.isNeeded(frames.value.log) && (yield* checkpointer.concurrent))
      yield* checkpoint.withTurn(Effect.uninterruptible(room.make(frames.value.log)))
    if (yield* tooLong(frames.value)) {
      yield* checkpoint.withTurn(shorten)
    }
  })
  return yield* turn.pipe(
    Effect.catchCause((cause) => Effect.andThen(checkpoint.failed(cause), blocked)),
    Effect.forever,
  )
})
