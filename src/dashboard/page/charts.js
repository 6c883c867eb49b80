/** The three charts of a database: what its WAL holds, how long its checkpoints took, what a power cut could take. */
import { byId, clock } from "./dom.js"
import { axes, color, lineAt } from "./plot.js"
import Plot from "./uPlot.js"

/** @typedef {import("./dom.js").CheckpointPoint} CheckpointPoint */

/** What the program calls slow and how much it remembers, as it says itself. */
let limits = { slow_checkpoint_ms: 0, samples: 0, checkpoints: 0 }

/** @param {import("./dom.js").Snapshot["limits"]} said */
export const setLimits = (said) => {
  limits = said
}

/** The length of the WAL that is held, in frames; 0 = none. */
let bound = 0

/** @param {number} frames */
export const setBound = (frames) => {
  bound = frames
}

const height = 190

/** One minute, so that the first seconds do not fly past. */
const leastSpan = 60

const outcomes = /** @type {const} */ ([
  ["Complete", "--good"],
  ["ReaderBlocked", "--warn"],
  ["WriterBusy", "--violet"],
  ["CheckpointerBusy", "--accent"],
  ["Failed", "--bad"],
  ["other", "--dim"],
])

const named = new Set(outcomes.map(([outcome]) => String(outcome)))

/** @param {CheckpointPoint} point */
const kindOf = ({ outcome }) => (named.has(outcome) ? outcome : "other")

/** @param {number | null | undefined} value */
const shown = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"))

/** @param {ArrayLike<number | null | undefined> | undefined} column */
const lastOf = (column) => Array.from(column ?? []).findLast((it) => it !== null && it !== undefined)

/** The data of the charts; columns, oldest first. */
const data = {
  /** @type {Array<number>} */ at: [],
  /** @type {Array<number | null>} */ log: [],
  /** @type {Array<number | null>} */ backlog: [],
  /** @type {Array<number | null>} */ exposure: [],
  /** @type {Array<CheckpointPoint>} */ points: [],
}

/** @type {Array<Plot>} */
let plots = []
let span = 600
let until = 0

/** A session that is younger than what is shown fills the width from its start. @returns {[number, number]} */
const timeRange = () => [Math.max(until - span, Math.min(data.at[0] ?? until, until - leastSpan)), until]

/**
 * @param {ReadonlyArray<object>} series
 * @param {object} y
 * @param {object} hooks
 */
const options = (series, y, hooks = {}) =>
  /** @type {any} */ ({
    width: 300,
    height,
    series: [{ value: timeAt, label: "at" }, ...series],
    scales: { x: { range: timeRange }, y },
    axes: axes(),
    hooks,
    tzDate: (/** @type {number} */ at) => Plot.tzDate(new Date(at * 1000), "Etc/UTC"),
    padding: [8, 26, 0, 0],
    cursor: { sync: { key: "time" }, drag: { x: false, y: false } },
  })

/** @param {unknown} _ @param {number | null} at */
const timeAt = (_, at) => (at === null || at === undefined ? "" : clock(at * 1000))

/** @param {Plot} plot */
const slowLine = (plot) => lineAt(plot, limits.slow_checkpoint_ms, `${limits.slow_checkpoint_ms} ms`)

/** Only where the WAL comes near it. @param {Plot} plot */
const boundLine = (plot) => {
  if (bound > 0 && bound <= (plot.scales["y"]?.max ?? 0)) lineAt(plot, bound, `bound ${bound.toLocaleString("en")}`)
}

/** From a tenth of a millisecond to a second, and further where a checkpoint was. @type {(plot: Plot, low: number | null, high: number | null) => [number, number]} */
const latencyRange = (_, low, high) => [
  Math.min(0.1, 10 ** Math.floor(Math.log10(low ?? 1))),
  Math.max(1000, 10 ** Math.ceil(Math.log10(high ?? 1))),
]

/** @type {(plot: Plot, low: number | null, high: number | null) => [number, number]} */
const fromZero = (_, __, high) => [0, Math.max(1, (high ?? 0) * 1.1)]

/** Below this they would all be on the floor of a logarithmic scale. */
const leastMillis = 0.01

const latencyData = () => [
  data.points.map(({ at_ms }) => at_ms / 1000),
  ...outcomes.map(([outcome]) =>
    data.points.map((point) => (kindOf(point) === outcome ? Math.max(leastMillis, point.elapsed_ms) : null)),
  ),
]

const columns = () =>
  /** @type {Array<any>} */ ([[data.at, data.log, data.backlog], latencyData(), [data.at, data.exposure]])

const redraw = () => {
  for (const [index, plot] of plots.entries()) plot.setData(columns()[index])
  showOutcomes()
}

/** Outcomes that never were have no place in the legend. */
const showOutcomes = () => {
  const latency = plots[1]
  if (latency === undefined) return
  for (const [index, [outcome]] of outcomes.entries()) {
    const show = data.points.some((point) => kindOf(point) === outcome)
    if (latency.series[index + 1]?.show !== show) latency.setSeries(index + 1, { show })
  }
}

/** Makes them again, in the colours and the width of now. */
export const drawCharts = () => {
  for (const plot of plots) plot.destroy()
  const line = {
    width: 1.5,
    points: { show: false },
    value: (
      /** @type {Plot} */ plot,
      /** @type {number} */ v,
      /** @type {number} */ of,
      /** @type {number | null} */ at,
    ) => shown(at === null ? lastOf(plot.data[of]) : v),
  }
  const frames = options(
    [
      { ...line, label: "WAL", stroke: color("--accent") },
      { ...line, label: "backlog", stroke: color("--warn"), fill: `${color("--warn")}33` },
    ],
    { range: fromZero },
    { draw: [boundLine] },
  )
  const latency = options(
    outcomes.map(([label, name]) => ({
      ...line,
      label,
      stroke: color(name),
      paths: () => null,
      points: { show: true, size: 6, width: 1, stroke: color(name), fill: color(name) },
    })),
    { distr: 3, range: latencyRange },
    { draw: [slowLine] },
  )
  const powers = (/** @type {unknown} */ _, /** @type {ReadonlyArray<number>} */ splits) =>
    splits.map((at) => (Number.isInteger(Math.log10(at)) ? at : null))
  const [, y] = latency.axes
  y.filter = powers
  y.grid.filter = powers
  y.values = (/** @type {unknown} */ _, /** @type {ReadonlyArray<number | null>} */ splits) =>
    splits.map((at) => (at === null ? null : `${at} ms`))
  const exposure = options([{ ...line, label: "seconds", stroke: color("--violet"), fill: `${color("--violet")}33` }], {
    range: fromZero,
  })
  plots = ["frames-chart", "latency-chart", "exposure-chart"].map(
    (id, index) => new Plot([frames, latency, exposure][index], columns()[index], byId(id)),
  )
  showOutcomes()
  fit()
}

const fit = () => {
  for (const plot of plots) {
    const width = plot.root.parentElement?.clientWidth ?? 300
    if (width > 0 && width !== plot.width) plot.setSize({ width, height })
  }
}

/** For another database, or another run of the program. */
export const clearCharts = () => {
  data.at = []
  data.log = []
  data.backlog = []
  data.exposure = []
  data.points = []
  redraw()
}

/**
 * The past of the database, before what was heard since it was asked for.
 *
 * @param {{
 *   samples: import("../History.ts").Samples
 *   checkpoints: ReadonlyArray<CheckpointPoint>
 * }} past
 */
export const setPast = ({ checkpoints, samples }) => {
  const end = samples.at_seconds.at(-1) ?? 0
  const since = data.at.filter((at) => at <= end).length
  data.at = [...samples.at_seconds, ...data.at.slice(since)]
  data.log = [...samples.log_frames, ...data.log.slice(since)]
  data.backlog = [...samples.backlog_frames, ...data.backlog.slice(since)]
  data.exposure = [...samples.exposure_seconds, ...data.exposure.slice(since)]
  const last = checkpoints.at(-1)?.number ?? 0
  data.points = [...checkpoints, ...data.points.filter(({ number }) => number > last)].slice(-limits.checkpoints)
  until = Math.max(until, data.at.at(-1) ?? 0)
  redraw()
}

/**
 * @param {number} atMillis
 * @param {import("./dom.js").DatabaseStatus} status
 * @param {ReadonlyArray<CheckpointPoint>} points
 */
export const addNow = (atMillis, status, points) => {
  const at = Math.floor(atMillis / 1000)
  until = at
  if (at > (data.at.at(-1) ?? 0)) {
    data.at.push(at)
    data.log.push(status.log_frames)
    data.backlog.push(status.backlog_frames)
    data.exposure.push(status.exposure_seconds)
    if (data.at.length > limits.samples)
      for (const ring of [data.at, data.log, data.backlog, data.exposure]) ring.shift()
  }
  const last = data.points.at(-1)?.number ?? 0
  data.points = [...data.points, ...points.filter(({ number }) => number > last)].slice(-limits.checkpoints)
  redraw()
}

/** @param {number} seconds */
export const setSpan = (seconds) => {
  span = seconds
  redraw()
}

/** Keeps them as wide as their place, and in the colours that are asked for. */
export const watchSurroundings = () => {
  new ResizeObserver(fit).observe(byId("view"))
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts)
}
