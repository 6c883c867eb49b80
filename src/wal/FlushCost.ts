/**
 * What it would cost to flush the rest of a WAL while writers wait, learned from what passes and syncs cost just now, and how
 * long the flush may take. A disk that another program uses makes each sync slow, however little there is to sync: the longer
 * the WAL, the longer writers may have to wait, so that on a quiet disk they hardly ever do, and on a busy one rarely.
 */

/** A sync of the WAL and one of the database under the gate, and the sync of the next WAL's header by the commit that follows. */
const syncs = 3

/** What a page costs before anything was measured, in milliseconds: to copy it, and to sync it. */
const firstPageMillis = 0.015

/** As many of the last passes and syncs are remembered: some rounds of copying, a fraction of a second of a busy guard. */
const remembered = 8

/** What writers may wait for at the length at which the WAL is to restart: less than a commit with a sync of its own may take. */
export const shortestMillis = 5

/** What they may wait for at its hard length: as long as SQLite's own checkpoint of a thousand frames may take on a busy disk. */
const longestMillis = 100

/** The hard length, in lengths at which the WAL is to restart: 57 MB of the default 4000 frames of 4 KiB. */
const hardLength = 3.5

/** Beyond the hard length the wait grows on, up to this. */
const mostMillis = 1000

/** How long writers may wait, in milliseconds, for a WAL of so many frames that is to restart at `maxFrames`. */
export const budgetMillis = (frames: number, maxFrames: number): number => {
  const excess = Math.max(0, frames - maxFrames) / (maxFrames * (hardLength - 1))
  return Math.min(mostMillis, shortestMillis * (longestMillis / shortestMillis) ** excess)
}

/** Above the hard length by this part of it, writers are slowed down most. */
const brakedOver = 0.2

/** How much writers are to be slowed down by a WAL of so many frames: 0 up to its hard length, 1 where it is a fifth longer. */
export const brake = (frames: number, maxFrames: number): number =>
  Math.min(1, Math.max(0, (frames / (maxFrames * hardLength) - 1) / brakedOver))

/** Flushes cost half of what passes and syncs among writers tell, measured on quiet and busy machines; then their own cost tells. */
const firstCorrection = 0.5
const leastCorrection = 0.25
const mostCorrection = 2

/** What something costs by itself, and for each page; in milliseconds. */
interface Line {
  readonly fixed: number
  readonly perPage: number
}

interface Sample {
  readonly pages: number
  readonly millis: number
}

/**
 * The line through samples by least squares, neither part below 0, and the fixed part not above any sample. For samples that are
 * all alike the fixed part is the rest.
 */
const lineThrough = (samples: ReadonlyArray<Sample>): Line => {
  if (samples.length === 0) return { fixed: 0, perPage: firstPageMillis }
  const mean = (of: (sample: Sample) => number) => samples.reduce((sum, it) => sum + of(it), 0) / samples.length
  const [pages, millis] = [mean((it) => it.pages), mean((it) => it.millis)]
  const variance = mean((it) => (it.pages - pages) ** 2)
  const covariance = mean((it) => (it.pages - pages) * (it.millis - millis))
  const isFlat = variance <= (pages / 4) ** 2
  const perPage = isFlat ? Math.min(firstPageMillis, millis / Math.max(1, pages)) : Math.max(0, covariance / variance)
  const least = Math.min(...samples.map((it) => it.millis))
  return { fixed: Math.min(least, Math.max(0, millis - perPage * pages)), perPage }
}

export interface FlushCost {
  /** A pass has copied so many pages in so many milliseconds, its sync of the WAL included. */
  readonly passed: (pages: number, millis: number) => void
  /** The sync of the database after it took so many milliseconds. */
  readonly synced: (pages: number, millis: number) => void
  /** A flush that was predicted at so many milliseconds took so many. */
  readonly flushed: (predicted: number, millis: number) => void
  /** What writers would wait for if so many pages were flushed now, in milliseconds. */
  readonly predict: (pages: number) => number
}

export const make = (): FlushCost => {
  let passes: ReadonlyArray<Sample> = []
  let ofSyncs: ReadonlyArray<Sample> = []
  let correction = firstCorrection
  const remember = (samples: ReadonlyArray<Sample>, sample: Sample) => [...samples.slice(1 - remembered), sample]
  return {
    passed: (pages, millis) => {
      passes = remember(passes, { pages, millis })
    },
    synced: (pages, millis) => {
      ofSyncs = remember(ofSyncs, { pages, millis })
    },
    flushed: (predicted, millis) => {
      if (predicted <= 0) return
      const right = (correction * millis) / predicted
      correction = (correction + Math.min(mostCorrection, Math.max(leastCorrection, right))) / 2
    },
    predict: (pages) => {
      const [pass, sync] = [lineThrough(passes), lineThrough(ofSyncs)]
      return correction * (syncs * sync.fixed + pages * (pass.perPage + sync.perPage))
    },
  }
}
