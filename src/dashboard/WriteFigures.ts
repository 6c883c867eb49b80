/** How the writes of each database went in the last minute, from the metrics that they are counted in anyway. */
import { Effect, Metric } from "effect"
import type { WriteFigures } from "./Snapshot.ts"

/** Ticks that are remembered: a minute. */
const mostTicks = 60

interface Counted {
  readonly at: number
  readonly buckets: ReadonlyArray<readonly [bound: number, count: number]>
}

const commits = "seawall_write_commit_duration_seconds"
const syncs = "seawall_log_sync_duration_seconds"
const queue = "seawall_write_queue_depth"

/** The counts between the first and the last look, by bucket; the counts of buckets include those below. */
const between = (looks: ReadonlyArray<Counted>) => {
  const [first] = looks
  const last = looks.at(-1)
  return (last?.buckets ?? []).map(
    ([bound, count], index) => [bound, count - (first?.buckets[index]?.[1] ?? 0)] as const,
  )
}

/** The bound of the bucket in which it lies, in milliseconds; null when nothing was counted, or it is beyond all of them. */
const quantile = (looks: ReadonlyArray<Counted>, part: number): number | null => {
  const counted = between(looks)
  const all = counted.at(-1)?.[1] ?? 0
  const bound = counted.find(([, count]) => all > 0 && count >= all * part)?.[0]
  return bound === undefined || !Number.isFinite(bound) ? null : bound * 1000
}

const perSecond = (looks: ReadonlyArray<Counted>) => {
  const [first] = looks
  const last = looks.at(-1)
  if (first === undefined || last === undefined || last.at === first.at) return 0
  return (between(looks).at(-1)?.[1] ?? 0) / (last.at - first.at)
}

export interface Figures {
  /** Looks at the metrics once; to be run every second. */
  readonly look: (atSeconds: number) => Effect.Effect<void>
  /** Null of a database that nothing was written to through its `Writer`. */
  readonly of: (database: string) => WriteFigures | null
}

export const make = (): Figures => {
  const histograms = new Map<string, Array<Counted>>()
  const depths = new Map<string, number>()
  const look = Effect.fnUntraced(function* (at: number) {
    for (const metric of yield* Metric.snapshot) {
      const database = metric.attributes?.["database"]
      if (database === undefined) continue
      if (metric.id === queue && metric.type === "Gauge") depths.set(database, Number(metric.state.value))
      if ((metric.id !== commits && metric.id !== syncs) || metric.type !== "Histogram") continue
      const key = `${metric.id} ${database}`
      const looks = histograms.get(key) ?? []
      histograms.set(key, looks)
      looks.push({ at, buckets: metric.state.buckets })
      if (looks.length > mostTicks) looks.shift()
    }
  })
  return {
    look,
    of: (database) => {
      const committed = histograms.get(`${commits} ${database}`)
      if (committed === undefined) return null
      const synced = histograms.get(`${syncs} ${database}`) ?? []
      return {
        batches_per_second: perSecond(committed),
        commit_p50_ms: quantile(committed, 0.5),
        commit_p99_ms: quantile(committed, 0.99),
        sync_p99_ms: quantile(synced, 0.99),
        queue_depth: depths.get(database) ?? 0,
      }
    },
  }
}
