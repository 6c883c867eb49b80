/** What is known of one database now, in words and numbers: the strip, what is blocking, the figures of the engine. */
import { byId, clock, duration, element, integer, millis, seconds, setTerms, setText } from "./dom.js"

/** @typedef {import("./dom.js").Snapshot} Snapshot */
/** @typedef {import("./dom.js").DatabaseStatus} DatabaseStatus */

/**
 * @param {DatabaseStatus | undefined} database
 * @param {Snapshot["health"]} health
 */
const ofDatabase = (database, { reasons }) => {
  if (database === undefined) return []
  const { backlog_frames, exposure_seconds, last_checkpoint: last, log_frames, name } = database
  const late = reasons.some((it) => it.reason === "exposure" && it.database === name)
  const checkpoint = last === null ? "none yet" : `${last.outcome} ${millis(last.elapsed_ms)}`
  return /** @type {const} */ ([
    ["WAL frames, backlog", `${integer(log_frames)}, ${integer(backlog_frames)}`],
    ["Exposure", seconds(exposure_seconds), late ? "bad" : ""],
    ["Last checkpoint", checkpoint, last === null || last.outcome === "Complete" ? "" : "warn"],
  ])
}

/**
 * @param {Snapshot} snapshot
 * @param {DatabaseStatus | undefined} database
 */
export const showStrip = ({ databases, elapsed_seconds, engine, health, leadership }, database) => {
  const health_ = /** @type {const} */ ([
    "Health",
    health.ok ? "ok" : health.reasons.length === 1 ? "1 problem" : `${health.reasons.length} problems`,
    health.ok ? "good" : "bad",
  ])
  const running =
    engine === null && leadership !== null
      ? /** @type {const} */ ([["Engine", leadership.leads_here ? "starts" : "stands by"]])
      : engine === null
        ? /** @type {const} */ ([["Guarding", databases.length === 1 ? "1 database" : `${databases.length} databases`]])
        : /** @type {const} */ ([
            ["Engine", engine.status, engine.status === "RUNNING" ? "good" : "warn"],
            ["Session", `#${engine.session_id}`],
            ["Ticks", integer(engine.ticks)],
            ["Last halt reason", engine.halt_reason ?? engine.last_halt_reason ?? "none"],
          ])
  setTerms(byId("strip"), [
    health_,
    ...running,
    ["Elapsed", duration(elapsed_seconds)],
    ...ofDatabase(database, health),
  ])
  const reasons = byId("reasons")
  reasons.hidden = health.ok
  const texts = health.reasons.map(
    (it) => `${it.reason}: ${databases.length > 1 ? `${it.database}: ` : ""}${it.detail}`,
  )
  if (reasons.dataset["shown"] === texts.join("\n")) return
  reasons.dataset["shown"] = texts.join("\n")
  reasons.replaceChildren(...texts.slice(0, 20).map((text) => element("li", "", text)))
}

/**
 * What stands where no blocker is named.
 *
 * @param {DatabaseStatus} database
 */
const unblocked = ({ failures, state }) => {
  if (state === "off") return "The guard is off: it does not checkpoint."
  if (state === "replaced") return "The file was moved or replaced, and is no longer guarded."
  if (failures === 0) return "Nothing is blocking checkpoints."
  return `Nothing is blocking, but ${failures === 1 ? "the last checkpoint" : `the last ${integer(failures)} checkpoints`} failed; the log says why.`
}

/** @param {DatabaseStatus} database */
export const showDatabase = (database) => {
  const { backlog_frames, blocked, exposure_seconds, latency, log_frames, name, state } = database
  setText(byId("view-title"), state === "guarded" ? name : `${name} (${state})`)
  setText(
    byId("frames-now"),
    `${integer(log_frames)} frames, ${integer(backlog_frames)} not yet copied into the database`,
  )
  const { max_ms, n, p50_ms, p95_ms, slow } = latency
  const figures = `p50 ${millis(p50_ms)}, p95 ${millis(p95_ms)}, max ${millis(max_ms)}`
  setText(byId("latency-now"), `${figures} of all runs (last ${integer(n)}, ${integer(slow)} slow)`)
  setText(
    byId("exposure-now"),
    exposure_seconds === null
      ? "not known: other processes write, and whether they sync each commit cannot be seen"
      : seconds(exposure_seconds),
  )
  const place = byId("blockers")
  if (blocked === null) return setText(place, unblocked(database))
  const who = blocked.blockers.map(({ command, lock, pid, seconds: held, since_ms }) =>
    element(
      "tr",
      "",
      ...[command, String(pid), lock, clock(since_ms), seconds(held)].map((text) => element("td", "text", text)),
    ),
  )
  const head = element(
    "tr",
    "",
    ...["Program", "pid", "Lock", "Since", "For"].map((text) => element("th", "text", text)),
  )
  const summary = `${blocked.outcome} since ${clock(blocked.since_ms)} (${seconds(blocked.seconds)}, ${integer(blocked.runs)} runs)`
  const unknown = element("p", "", "Which process it is cannot be seen from here.")
  const table = element("table", "", element("thead", "", head), element("tbody", "", ...who))
  place.replaceChildren(element("p", "bad", summary), who.length === 0 ? unknown : table)
}

/** @param {Snapshot} snapshot */
export const showLeadership = ({ databases, leadership }) => {
  byId("machines").hidden = leadership === null
  if (leadership === null) return
  const { leader, leads_here, standbys, where } = leadership
  const place = leader === null ? "nobody" : `${leader.host}:${leader.pid}${leads_here ? " (this process)" : ""}`
  setTerms(byId("leadership"), [
    ["Leads", place, leader === null ? "warn" : "good"],
    ...(leader === null
      ? []
      : /** @type {const} */ ([
          [
            "Since",
            leader.since_ms === null
              ? "?"
              : `${new Date(leader.since_ms).toISOString().slice(0, 16).replace("T", " ")} UTC`,
          ],
          ["Heard", `${seconds(leader.heard_seconds)} ago`],
        ])),
    ["Standing by", standbys.length === 0 ? "nobody" : standbys.join(", "), standbys.length === 0 ? "warn" : ""],
    ["Server", where],
  ])
  // Without a database there is no view to stand in.
  if (databases.length === 0) byId("machines").append(byId("engine-figures"))
}

/** @param {Snapshot["engine"]} engine */
export const showFigures = (engine) => {
  const figures = engine?.figures ?? []
  byId("engine-figures").hidden = figures.length === 0
  setText(byId("engine-figures-title"), engine?.title ?? "")
  setTerms(
    byId("figures"),
    figures.map(({ is_gain, label, unit, value }) => [
      label,
      `${Number.isFinite(value) ? value.toLocaleString("en", { maximumFractionDigits: 4 }) : "?"} ${unit}`.trim(), // JSON has no NaN
      is_gain && value !== 0 ? (value > 0 ? "good" : "bad") : "",
    ]),
  )
}
