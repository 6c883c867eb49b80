/**
 * The latencies of the last 512 checkpoints by interval, and their percentiles. Those of all runs are in `GuardStatus.finished`.
 *
 * A `Ref` in a layer, so that the guard, which fills it, and its readers share one. Nothing is kept on disk.
 * Percentiles are the inclusive method, linear interpolation between closest ranks, as in Python's
 * `statistics.quantiles(xs, n=100, method="inclusive")`.
 */
import { Context, Layer, Order, Ref } from "effect"

/** 512 samples: about 8.5 hours at the default interval of 60 s, and a few kilobytes. */
export const windowSize = 512

/** Latencies in milliseconds, oldest first, at most `windowSize` of them. */
export class LatencyWindow extends Context.Service<LatencyWindow, Ref.Ref<ReadonlyArray<number>>>()(
  "seawall/wal/LatencyWindow",
) {}

/** A function, because Effect builds one layer value only once, and each guard needs a window of its own. */
export const layer = () => Layer.effect(LatencyWindow, Ref.make<ReadonlyArray<number>>([]))

/** @internal */
export const append =
  (millis: number) =>
  (window: ReadonlyArray<number>): ReadonlyArray<number> =>
    [...window, millis].slice(-windowSize)

/** `n` samples and, when there are any, their percentiles in milliseconds. One sample is its own p50, p95 and max. */
export type LatencySummary =
  | { readonly n: 0 }
  | { readonly n: number; readonly p50_ms: number; readonly p95_ms: number; readonly max_ms: number }

/** What the aggregate line says of a window, in whatever order its samples are. */
export const summary = (window: ReadonlyArray<number>): LatencySummary => {
  if (window.length === 0) return { n: 0 }
  const sorted = window.toSorted(Order.Number)
  const at = (index: number) => sorted[Math.min(index, sorted.length - 1)] ?? 0
  const percentile = (percent: number) => {
    const rank = (percent * (sorted.length - 1)) / 100
    const below = Math.floor(rank)
    return at(below) + (rank - below) * (at(below + 1) - at(below))
  }
  return { n: sorted.length, p50_ms: percentile(50), p95_ms: percentile(95), max_ms: at(sorted.length - 1) }
}
