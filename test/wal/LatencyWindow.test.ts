import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import * as LatencyWindow from "../../src/wal/LatencyWindow.ts"
import { slice } from "../support/slice.ts"

const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1)

/** The definition, word by word: the p-th percentile splits the samples, as ranks 0 to n-1, at p percent of the way. */
const bruteForce = (samples: ReadonlyArray<number>, percent: number) => {
  const sorted = samples.toSorted((a, b) => a - b)
  const ranks = sorted.map((value, rank) => ({
    value,
    position: sorted.length === 1 ? 0 : (rank * 100) / (sorted.length - 1),
  }))
  const below = ranks.findLast(({ position }) => position <= percent)!
  const above = ranks.find(({ position }) => position >= percent) ?? below
  if (above.position === below.position) return below.value
  const part = (percent - below.position) / (above.position - below.position)
  return below.value + part * (above.value - below.value)
}

const figures = (summary: LatencyWindow.LatencySummary) => {
  if (summary.n === 0 || !("max_ms" in summary)) throw new Error("expected figures")
  return summary
}

describe("the latency window", () => {
  it("has the percentiles of Python's inclusive method", () => {
    expect(LatencyWindow.summary(upTo(20))).toEqual({ n: 20, p50_ms: 10.5, p95_ms: 19.05, max_ms: 20 })
  })

  it("takes a single sample for its own p50, p95 and max", () => {
    expect(LatencyWindow.summary([7])).toEqual({ n: 1, p50_ms: 7, p95_ms: 7, max_ms: 7 })
  })

  it("has no figures without samples", () => {
    expect(LatencyWindow.summary([])).toEqual({ n: 0 })
  })

  it("keeps the last 512 samples and drops the oldest", () => {
    const window = upTo(600).reduce<ReadonlyArray<number>>((all, sample) => LatencyWindow.append(sample)(all), [])
    expect(window).toHaveLength(LatencyWindow.windowSize)
    expect(window[0]).toBe(600 - 512 + 1)
    expect(window.at(-1)).toBe(600)
  })

  const Latency = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1e6 }))
  it.prop(
    "agrees with the brute-force definition for any samples",
    [Schema.NonEmptyArray(Latency)],
    ([samples]) => {
      const summary = figures(LatencyWindow.summary(samples))
      expect(summary.p50_ms).toBeCloseTo(bruteForce(samples, 50), 6)
      expect(summary.p95_ms).toBeCloseTo(bruteForce(samples, 95), 6)
      expect(summary.max_ms + 0).toBe(Math.max(...samples) + 0) // there is a negative zero
      expect(summary.p50_ms).toBeLessThanOrEqual(summary.p95_ms)
      expect(summary.p95_ms).toBeLessThanOrEqual(summary.max_ms)
    },
    { arbitrary: { runs: slice(500) } },
  )
})
