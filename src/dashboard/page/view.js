/** One database now, in words and numbers: the strip, what is blocking, the figures of the engine. */
import {
  byId,
  bytes,
  bytesOf,
  clock,
  day,
  duration,
  element,
  integer,
  millis,
  seconds,
  setTerms,
  setText,
} from "./dom.js"

/** @typedef {import("./dom.js").Snapshot} Snapshot */
/** @typedef {import("./dom.js").DatabaseStatus} DatabaseStatus */
/** @typedef {NonNullable<Snapshot["engine"]>} EngineStatus */

/**
 * @param {DatabaseStatus | undefined} database
 * @param {Snapshot["health"]} health
 */
const ofDatabase = (database, { reasons }) => {
  if (database === undefined) return []
  const { backlog_frames, last_checkpoint: last, log_frames, name } = database
  const late = reasons.some((it) => it.reason === "exposure" && it.database === name)
  const checkpoint = last === null ? "none yet" : `${last.outcome} ${millis(last.elapsed_ms)}`
  return /** @type {const} */ ([
    ["WAL", `${integer(log_frames)} frames${bytesOf(database, log_frames)}`],
    ["Not copied yet", `${integer(backlog_frames)} frames${bytesOf(database, backlog_frames)}`],
    ["Last checkpoint", checkpoint, last === null || last.outcome === "Complete" ? "" : "warn"],
    ["Loss window", lossOf(database), late ? "bad" : ""],
  ])
}

/** A commit that is about to be synced was not acknowledged yet. */
const momentSeconds = 1

/** Whether an acknowledged write survives a power cut. @param {string | null} durability */
const isSynced = (durability) => durability === "durable" || durability === "full"

/** What a power cut could take. @param {DatabaseStatus} database */
const lossOf = ({ durability, exposure_seconds }) => {
  if (exposure_seconds === null) return "not known"
  return isSynced(durability) && exposure_seconds < momentSeconds ? "nothing to lose" : seconds(exposure_seconds)
}

/** @param {EngineStatus} engine */
const ofEngine = ({ halt_reason, last_halt_reason, session_id, status, ticks }) => {
  const halted = halt_reason ?? last_halt_reason
  /** @type {ReadonlyArray<readonly [string, string]>} */
  const last = halted === null ? [] : [["Last halt reason", halted]]
  return /** @type {const} */ ([
    ["Engine", status, status === "RUNNING" ? "good" : "warn"],
    ["Session", `#${session_id}`],
    ["Ticks", integer(ticks)],
    ...last,
  ])
}

/** What to run next, by the kind of trouble. @param {Snapshot["health"]["reasons"][number]} reason */
const nextOf = ({ database, reason }) => {
  if (["leaderless", "unheard", "unreachable"].includes(reason)) return "seawall status --store postgres"
  return `seawall ${reason === "blocked" ? "status" : "doctor"} ${shellWord(database)}`
}

/** @param {string} word */
const shellWord = (word) => (/^[\w./@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)

/** The program has closed the page before it stored its end. */
export const showEnd = () => {
  const status = [...byId("strip").querySelectorAll("dd")].find(({ textContent }) => textContent === "HALTING")
  if (status !== undefined) setText(status, "ended")
}

/**
 * @param {Snapshot} snapshot
 * @param {DatabaseStatus | undefined} database
 */
export const showStrip = ({ databases, elapsed_seconds, engine, health, leadership }, database) => {
  const troubles = health.reasons.length === 1 ? "1 problem" : `${health.reasons.length} problems`
  const running =
    engine !== null
      ? ofEngine(engine)
      : leadership !== null
        ? /** @type {const} */ ([["Engine", leadership.leads_here ? "starts" : "stands by"]])
        : /** @type {const} */ ([["Guarding", databases.length === 1 ? "1 database" : `${databases.length} databases`]])
  setTerms(byId("strip"), [
    ["Health", health.ok ? "healthy" : `look here: ${troubles}`, health.ok ? "good" : "bad"],
    ...ofDatabase(database, health),
    ...running,
    ["Elapsed", duration(elapsed_seconds)],
  ])
  const reasons = byId("reasons")
  reasons.hidden = health.ok
  const texts = health.reasons.map(
    (it) => `${it.reason}: ${databases.length > 1 ? `${it.database}: ` : ""}${it.detail}`,
  )
  if (reasons.dataset["shown"] === texts.join("\n")) return
  reasons.dataset["shown"] = texts.join("\n")
  const items = health.reasons
    .slice(0, 20)
    .map((it, index) =>
      element("li", "", texts[index] ?? "", element("br", ""), "next: ", element("code", "", nextOf(it))),
    )
  reasons.replaceChildren(...items)
}

/**
 * The details of a database, which move slowly.
 *
 * @param {DatabaseStatus} database
 */
export const showDetails = (database) => {
  const { bound_frames, durability, files, sqlite_version, writes } = database
  /** @type {Array<readonly [string, string, string?]>} */
  const entries = []
  if (files !== null) {
    entries.push(["Database", bytes(files.database_bytes)], ["File of the WAL", bytes(files.log_bytes)])
    entries.push(["Free on the disk", bytes(files.disk_free_bytes)])
    entries.push(["Last backup", files.last_backup_ms === null ? "none beside it" : day(files.last_backup_ms)])
  }
  entries.push([
    "Bound of the WAL",
    bound_frames === 0 ? "off" : `${integer(bound_frames)} frames${bytesOf(database, bound_frames)}`,
  ])
  if (durability !== null) entries.push(["Durability", durability])
  if (sqlite_version !== null) entries.push(["SQLite", sqlite_version])
  if (writes !== null) {
    entries.push(["Commits", `${writes.batches_per_second.toLocaleString("en", { maximumFractionDigits: 1 })}/s`])
    entries.push(["Commit p50, p99", `${atMost(writes.commit_p50_ms)}, ${atMost(writes.commit_p99_ms)}`])
    if (writes.sync_p99_ms !== null) entries.push(["Sync p99", atMost(writes.sync_p99_ms)])
    entries.push(["Writes waiting", integer(writes.queue_depth)])
  }
  setTerms(byId("details"), entries)
}

/** A quantile is known by the bucket in which it lies. @param {number | null} ms */
const atMost = (ms) => (ms === null ? "–" : `≤ ${millis(ms)}`)

/**
 * @param {Snapshot} snapshot
 * @param {DatabaseStatus | undefined} database
 */
export const showIncidents = ({ databases, incidents }, database) => {
  const own = incidents.filter((it) => database === undefined || it.database === database.name)
  byId("incidents").hidden = own.length === 0
  const rows = own.map(({ database: name, detail, kind, since_ms, until_ms }) => {
    const until = until_ms === null ? "still so" : `${seconds((until_ms - since_ms) / 1000)}`
    const cells = [day(since_ms), until, kind, ...(databases.length > 1 ? [name] : []), detail]
    return element("tr", until_ms === null ? "bad" : "", ...cells.map((text) => element("td", "text", text)))
  })
  const shown = own.map((it) => JSON.stringify(it)).join()
  const body = byId("incident-rows")
  if (body.dataset["shown"] === shown) return
  body.dataset["shown"] = shown
  body.replaceChildren(...rows)
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
    `${integer(log_frames)} frames${bytesOf(database, log_frames)}, ${integer(backlog_frames)} not yet copied into the database`,
  )
  const { max_ms, n, p50_ms, p95_ms, slow } = latency
  const figures = `p50 ${millis(p50_ms)}, p95 ${millis(p95_ms)}, max ${millis(max_ms)}`
  setText(byId("latency-now"), `${figures} of all runs (last ${integer(n)}, ${integer(slow)} slow)`)
  const hasNothingToLose =
    exposure_seconds !== null && exposure_seconds < momentSeconds && isSynced(database.durability)
  byId("exposure").hidden = hasNothingToLose
  byId("exposure-chart").hidden = exposure_seconds === null
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
  const place = leader === null ? "none" : `${leader.host}:${leader.pid}${leads_here ? " (this process)" : ""}`
  setTerms(byId("leadership"), [
    ["Leads", place, leader === null ? "warn" : "good"],
    ...(leader === null
      ? []
      : /** @type {const} */ ([
          ["Since", leader.since_ms === null ? "?" : day(leader.since_ms)],
          ["Heard", `${seconds(leader.heard_seconds)} ago`],
        ])),
    ["Standing by", standbys.length === 0 ? "none" : standbys.join(", "), standbys.length === 0 ? "warn" : ""],
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
