/**
 * What it would cost to flush the rest of a WAL while writers wait, learned from what passes and syncs cost just now, and how
 * long the flush may take. A disk that somebody else uses makes each sync slow, however little there is to sync: the longer
 * the WAL, the longer writers may have to wait, so that on a quiet disk they hardly ever do, and on a busy one rarely.
 */

/** A sync of the WAL and one of the database under the gate, and the sync of the next WAL's header by the commit that follows. */
const syncs = 3

/** What a pass cost before anything was measured, per frame: a page that is written to the page cache of the system. */
const firstFrameMillis = 0.02

/** What is learned from one pass, in parts of what was known. */
const weight = 0.3

/** Passes of fewer frames say more about the sync in them than about frames. */
const leastFrames = 100

/** What writers may wait for at the length at which the WAL is to start anew: less than a commit with a sync of its own may take. */
const shortestMillis = 4

/** What they may wait for at its hard length: as long as SQLite's own checkpoint of a thousand frames may take on a busy disk. */
const longestMillis = 100

/** The hard length, in lengths at which the WAL is to start anew: 82 MB of the default 4000 frames of 4 KiB. */
export const hardLength = 5

/** Beyond the hard length the wait grows on, up to this. */
const mostMillis = 1000

/** How long writers may wait, in milliseconds, for a WAL of so many frames that is to start anew at `maxFrames`. */
export const budgetMillis = (frames: number, maxFrames: number): number => {
  const excess = Math.max(0, frames - maxFrames) / (maxFrames * (hardLength - 1))
  return Math.min(mostMillis, shortestMillis * (longestMillis / shortestMillis) ** excess)
}

/** Above the hard length by this part of it, writers are slowed down most. */
const brakedOver = 0.2

/** How much writers are to be slowed down by a WAL of so many frames: 0 up to its hard length, 1 where it is a fifth longer. */
export const brake = (frames: number, maxFrames: number): number =>
  Math.min(1, Math.max(0, (frames / (maxFrames * hardLength) - 1) / brakedOver))

export interface FlushCost {
  /** A pass has copied so many frames in so many milliseconds, its sync of the WAL included. */
  readonly passed: (frames: number, millis: number) => void
  /** A sync of the database took so many milliseconds. The last one counts: what is left to sync before a flush is little. */
  readonly synced: (millis: number) => void
  /** What writers would wait for if so many frames were flushed now, in milliseconds. */
  readonly predict: (frames: number) => number
}

export const make = (): FlushCost => {
  let syncMillis = 0
  let frameMillis = firstFrameMillis
  return {
    passed: (frames, millis) => {
      if (frames < leastFrames) return
      frameMillis += weight * (Math.max(0, millis - syncMillis) / frames - frameMillis)
    },
    synced: (millis) => {
      syncMillis = millis
    },
    predict: (frames) => syncs * syncMillis + frames * frameMillis,
  }
}
