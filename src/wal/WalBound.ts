/**
 * Holds the length of the log, however fast it is written.
 *
 * Wakes on commits, never by the clock alone: an idle database costs nothing. It observes with NOOP; copies with PASSIVE,
 * on a thread, while writers go on; and when the log is too long and only a small residue is left, it closes the write
 * gate for the flush of that residue, because the log starts anew only when a write finds it wholly copied. Fibers wait
 * for these few milliseconds, the event loop does not. FULL and RESTART, which block writers inside SQLite, are never used.
 * While a reader pins the log nothing can bound it: it tries again ever more rarely, and says so (`BlockedWatch`).
 */
import { Cause, Duration, Effect, Fiber, Option, Ref } from "effect"
import type { Database } from "../sqlite/Database.ts"
import type { WalFrames } from "./Checkpoint.ts"
import type { Checkpointer } from "./Checkpointer.ts"
import { type GuardedCheckpoint, lookBound } from "./GuardedCheckpoint.ts"

/** 4000 frames: 16 MB at the default page size; recovery after a kill stays far below a second. */
export const defaultMaxFrames = 4000

/** From a commit to the look at the log: a look costs about 15 microseconds, so this is 0.3 % of one core at most. */
const lookPause = Duration.millis(5)

/**
 * What may be left for the flush under the gate: a millisecond of work, most of it the sync of these pages. A pass that
 * did not halve what was left has met a writer as fast as the disk, which from then on waits for twice as much.
 */
const residueFrames = 24
const residueGrowth = 2

/** In one go; then the next look at the log decides. Eight passes that do not halve it make the residue a whole log. */
const mostPasses = 12

/** How long cutting the file may wait for its turn on the connection, as long as the gate waits for its own. */
const cutBound = Duration.seconds(1)

/** How long the sync of the database may keep others from their checkpoints, as long as a checkpoint may. */
const syncBound = Duration.seconds(30)

/** Between two attempts while a reader pins the log: doubles from the first to the last. */
const firstBackoff = Duration.millis(50)
const lastBackoff = Duration.seconds(1)

const backlogOf = ({ checkpointed, log }: WalFrames) => log - checkpointed

export interface WalBoundOptions {
  readonly database: Database["Service"]
  readonly checkpointer: Checkpointer["Service"]
  readonly checkpoint: GuardedCheckpoint
  readonly maxFrames: number
}

/** The loop; it ends only by interruption, between two checkpoints: each of them is carried to its end, and none starts after it. */
export const loop = Effect.fnUntraced(function* ({ database, checkpoint, checkpointer, maxFrames }: WalBoundOptions) {
  const backoff = yield* Ref.make(Option.none<Duration.Duration>())
  let seen = 0
  let syncing: Fiber.Fiber<void> | undefined

  const blocked = Ref.update(backoff, (before) =>
    Option.some(
      Option.match(before, {
        onNone: () => firstBackoff,
        onSome: (it) => Duration.min(Duration.times(it, 2), lastBackoff),
      }),
    ),
  )

  const heldUp = (bound: Duration.Duration) => Effect.andThen(checkpoint.heldUp(bound), blocked)

  /**
   * Spreads the sync of the database over the passes, so that the flush under the gate need not pay for all of them. One that
   * hangs goes on by itself: other databases wait for their turn.
   */
  const syncDatabase = Effect.gen(function* () {
    if (syncing === undefined || syncing.pollUnsafe() !== undefined) {
      syncing = yield* Effect.catch(database.syncFile, (error) =>
        Effect.logWarning("database sync failed", Cause.fail(error)),
      ).pipe(Effect.forkDetach({ startImmediately: true }))
    }
    yield* Effect.timeoutOption(Fiber.await(syncing), syncBound)
  })

  const pass = Effect.uninterruptible(checkpoint.run("PASSIVE", "size"))

  /** The flush of a residue, with writers held back. A flush that outlasts the gate needs it no more, and is waited for. */
  const flush = Effect.gen(function* () {
    const cut = yield* Effect.interruptible(Effect.timeoutOption(database.cutGently, cutBound))
    const done = Option.isNone(cut) ? Option.none() : yield* checkpoint.runGated("size")
    if (Option.isNone(done)) return yield* heldUp(cutBound)
    yield* checkpoint.notHeldUp
    yield* done.value.outcome === "Complete" ? Ref.set(backoff, Option.none()) : blocked
  }).pipe(Effect.uninterruptible)

  const shorten = Effect.gen(function* () {
    const concurrent = yield* checkpointer.concurrent
    yield* checkpoint.lookForOthers
    let residue = residueFrames
    let previous = Infinity
    for (let passes = 0; passes < mostPasses; passes++) {
      const looked = yield* checkpoint.look
      if (Option.isNone(looked)) return yield* heldUp(lookBound)
      const frames = looked.value
      if (backlogOf(frames) === 0) return
      if (backlogOf(frames) > previous / 2) residue *= residueGrowth
      previous = backlogOf(frames)
      const isLong = concurrent && frames.log >= maxFrames
      if (isLong && backlogOf(frames) <= residue) return yield* flush
      const done = yield* pass
      // A writer in the middle of a commit keeps its own last frames; a reader keeps them all.
      if (done.outcome !== "Complete" && done.checkpointedFrames <= frames.checkpointed) return yield* blocked
      yield* Ref.set(backoff, Option.none())
      if (!concurrent) return
      yield* syncDatabase
      if (!isLong) return
    }
  })

  /** On a thread a pass at half of the length spreads the work; inline each pass stops the program, so there are fewer. */
  const tooLong = (frames: WalFrames) =>
    Effect.map(checkpointer.concurrent, (concurrent) =>
      concurrent
        ? backlogOf(frames) >= maxFrames / 2 || (frames.log >= maxFrames && backlogOf(frames) > 0)
        : backlogOf(frames) >= maxFrames,
    )

  const turn = Effect.gen(function* () {
    yield* database.exposure.commitAfter(seen)
    yield* Effect.sleep(Option.getOrElse(yield* Ref.get(backoff), () => lookPause))
    seen = database.exposure.commits()
    const frames = yield* checkpoint.look
    if (Option.isNone(frames)) return yield* heldUp(lookBound)
    if (yield* tooLong(frames.value)) {
      yield* checkpoint.withTurn(shorten)
    }
  })
  return yield* turn.pipe(
    Effect.catchCause((cause) => Effect.andThen(checkpoint.failed(cause), blocked)),
    Effect.forever,
  )
})
