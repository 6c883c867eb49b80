/**
 * Which commits a power cut could still take: the age of the oldest one that no sync has covered.
 *
 * A commit at `synchronous=FULL` syncs the WAL itself and is never exposed. One at `NORMAL` is, until the WAL is synced:
 * by a checkpoint, at its start, or by `Database.durable`. A sync covers what was committed before it started.
 * https://www.sqlite.org/pragma.html#pragma_synchronous
 */
import { Clock, Effect } from "effect"
import { constVoid } from "effect/Function"

/** What a power cut could still take. */
export interface Exposure {
  /** Seconds since the oldest commit that is not on disk; 0 when there is none. */
  readonly seconds: Effect.Effect<number>
}

/** The same, as it is kept: what tells it of commits and of syncs. */
export interface ExposureTracker extends Exposure {
  /** A statement that may have committed has returned. Called by the connection for each one, hence not an effect. */
  readonly committed: (clock: Clock.Clock, synced: boolean) => void
  /** How often `committed` was called. */
  readonly commits: () => number
  /** Waits, without a timer, until there was a commit after this many. For one waiter at a time. */
  readonly commitAfter: (commits: number) => Effect.Effect<void>
  /** Whether there is a commit that no sync has covered. */
  readonly isExposed: () => boolean
  /** Call before a sync starts; run the result once that sync has succeeded. Syncs may overlap. */
  readonly syncing: Effect.Effect<Effect.Effect<void>>
}

/** The first exposed commit after the start of a sync, or of all. */
interface Mark {
  readonly commit: number
  readonly at: bigint
}

/** Syncs that fail leave their marks; beyond these, the last one stands for all that come, with its age. */
const mostMarks = 64

export const make = (): ExposureTracker => {
  let commits = 0
  let wake = constVoid
  let marks: ReadonlyArray<Mark> = []
  /** How many commits there were when the last sync started. */
  let lastSync = 0
  return {
    committed: (clock, synced) => {
      commits++
      wake()
      const last = marks.at(-1)
      if (synced || (last !== undefined && last.commit > lastSync)) return
      marks =
        last !== undefined && marks.length === mostMarks
          ? [...marks.slice(0, -1), { commit: commits, at: last.at }]
          : [...marks, { commit: commits, at: clock.monotonicTimeNanosUnsafe() }]
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
    isExposed: () => marks.length > 0,
    syncing: Effect.sync(() => {
      const covered = commits
      lastSync = covered
      return Effect.sync(() => {
        marks = marks.filter(({ commit }) => commit > covered)
      })
    }),
    seconds: Effect.map(Clock.monotonicTimeNanos, (now) => {
      const oldest = marks[0]
      return oldest === undefined ? 0 : Number(now - oldest.at) / 1e9
    }),
  }
}
