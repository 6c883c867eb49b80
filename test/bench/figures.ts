/** Figures of a benchmark: spreads of milliseconds, medians of rounds, and how both are printed. */

/** Milliseconds. */
export interface Spread {
  readonly p50: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

export const spread = (values: ReadonlyArray<number>): Spread => {
  const sorted = Float64Array.from(values).toSorted()
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1) }
}

export const median = (numbers: ReadonlyArray<number>) =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0

/** The median of each part by itself. */
export const medianSpread = (spreads: ReadonlyArray<Spread>): Spread => ({
  p50: median(spreads.map(({ p50 }) => p50)),
  p99: median(spreads.map(({ p99 }) => p99)),
  p999: median(spreads.map(({ p999 }) => p999)),
  max: median(spreads.map(({ max }) => max)),
})

export const ms = (value: number) => (value < 10 ? value.toFixed(2) : value.toFixed(0))
export const cells = ({ max, p50, p99, p999 }: Spread) => [p50, p99, p999, max].map(ms).join(" / ")

const row = (words: ReadonlyArray<string | number>) => `| ${words.join(" | ")} |`

/** A Markdown table. */
export const table = (columns: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string | number>>) =>
  [row(columns), row(columns.map(() => "---")), ...rows.map(row)].join("\n")

/** How late a timer of one millisecond is: what the event loop makes everything else wait. Ends with `stop`. */
export const watchLoop = () => {
  const start = performance.now()
  const lags: Array<{ readonly at: number; readonly millis: number }> = []
  let armed = start
  const lag = () => {
    const now = performance.now()
    lags.push({ at: now - start, millis: Math.max(0, now - armed - 1) })
    armed = now
    timer = setTimeout(lag, 1)
  }
  let timer = setTimeout(lag, 1)
  return { lags, stop: () => clearTimeout(timer) }
}
