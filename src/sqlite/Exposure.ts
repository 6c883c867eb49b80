/**
 * Which commits a power cut could still take: the age of the oldest one that no sync has covered.
 *
 * At `synchronous=FULL` each commit syncs the log itself and nothing is ever exposed. At `NORMAL` only a checkpoint
 * syncs it, at its start: a commit made while the checkpoint runs is not covered by it.
 * https://www.sqlite.org/pragma.html#pragma_synchronous
 */
import { Clock, Effect } from "effect"
import { constVoid } from "effect/Function"

export interface Exposure {
  /** A statement that may have committed has returned. Called by the connection for each one, hence not an effect. */
  readonly committed: (clock: Clock.Clock) => void
  /** How often `committed` was called. */
  readonly commits: () => number
  /** Waits, without a timer, until there was a commit after this many. For one waiter at a time. */
  readonly commitAfter: (commits: number) => Effect.Effect<void>
  /** Call before a sync starts; run the result once that sync has succeeded. */
  readonly syncing: Effect.Effect<Effect.Effect<void>>
  /** Seconds since the oldest commit that is not on disk; 0 when there is none. */
  readonly seconds: Effect.Effect<number>
}

export const make = (everyCommitSyncs: boolean): Exposure => {
  let commits = 0
  let wake = constVoid
  let oldest: bigint | undefined
  let oldestSinceSync: bigint | undefined
  return {
    committed: (clock) => {
      commits++
      wake()
      if (everyCommitSyncs || (oldest !== undefined && oldestSinceSync !== undefined)) return
      const now = clock.monotonicTimeNanosUnsafe()
      oldest ??= now
      oldestSinceSync ??= now
    },
    commits: () => commits,
    commitAfter: (seen) =>
      Effect.callback<void>((resume) => {
        if (commits > seen) return resume(Effect.void)
        wake = () => {
          wake = constVoid
          resume(Effect.void)
        }
        return Effect.sync(() => {
          wake = constVoid
        })
      }),
    syncing: Effect.sync(() => {
      oldestSinceSync = undefined
      return Effect.sync(() => {
        oldest = oldestSinceSync
      })
    }),
    seconds: Effect.map(Clock.monotonicTimeNanos, (now) => (oldest === undefined ? 0 : Number(now - oldest) / 1e9)),
  }
}
