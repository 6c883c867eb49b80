/**
 * What keeps a guard from its work, each said once until it is over: checkpoints that fail, another connection that
 * checkpoints, a transaction that keeps the connection. What blocks a checkpoint is `BlockedWatch`.
 */
import { Duration, Effect, Option, Ref } from "effect"
import { DatabaseControl } from "../sqlite/DatabaseControl.ts"
import type { Checkpoint, WalFrames } from "./Checkpoint.ts"
import * as SaidOnce from "./SaidOnce.ts"

export const make = Effect.gen(function* () {
  const control = yield* DatabaseControl
  const byOthers = SaidOnce.make()
  const isHeldUp = SaidOnce.make()
  const failures = yield* Ref.make(0)

  return {
    /** Failures in a row. */
    failures: Ref.get(failures),

    /** The 1st, 2nd, 4th, 8th, ... failure in a row is logged, and their end once. */
    failed: Effect.fnUntraced(function* (error: unknown) {
      if (Option.isSome(yield* control.lookForReplacement)) return // that was said already
      const count = yield* Ref.updateAndGet(failures, (n) => n + 1)
      if (Math.log2(count) % 1 === 0) {
        yield* Effect.annotateLogs(Effect.logError("wal_checkpoint failed", error), { failures: count })
      }
    }),
    recovered: Effect.flatMap(Ref.getAndSet(failures, 0), (count) =>
      count === 0 ? Effect.void : Effect.annotateLogs(Effect.logInfo("wal_checkpoint recovered"), { failures: count }),
    ),

    /** Frames that are copied although we have not copied them: another connection checkpoints this database. */
    lookForOthers: Effect.fnUntraced(function* (now: WalFrames, last: Checkpoint) {
      if (last.checkpointedFrames < 0) return
      const ours = now.log >= last.walFrames ? last.checkpointedFrames : 0
      if (now.checkpointed <= ours) return
      yield* byOthers.say(
        Effect.annotateLogs(Effect.logWarning("wal_checkpoint by another connection"), {
          checkpointed_frames: now.checkpointed,
          ours,
          advice: "set PRAGMA wal_autocheckpoint = 0 on every other connection, and let the guard alone checkpoint",
        }),
      )
    }),

    /**
     * Nothing can be flushed, because the connection was not free within this bound: said once, of a transaction that has held
     * it for longer than that. Where it has not, many take turns, or the event loop was busy.
     */
    heldUp: Effect.fnUntraced(function* (bound: Duration.Duration) {
      const holder = yield* control.holder
      if (Option.isNone(holder) || holder.value.seconds <= Duration.toSeconds(bound)) return
      yield* isHeldUp.say(
        Effect.annotateLogs(Effect.logWarning("wal_checkpoint held up"), {
          transaction: holder.value.span,
          seconds: holder.value.seconds,
          advice: "do not wait for anything else inside a transaction",
        }),
      )
    }),
    /** Writers could be held back again. */
    notHeldUp: isHeldUp.over(Effect.void),
  }
})
