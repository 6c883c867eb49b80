/** Listens to the program, shows what it says, and says so when it says nothing any more. */
import { addNow, clearCharts, drawCharts, setBound, setLimits, setPast, setSpan, watchSurroundings } from "./charts.js"
import { showDatabases } from "./databases.js"
import { byId, clock, element, setText } from "./dom.js"
import { addLines, onlyOf, startLog } from "./log.js"
import { showDatabase, showDetails, showEnd, showFigures, showIncidents, showLeadership, showStrip } from "./view.js"

/** @typedef {import("./dom.js").Snapshot} Snapshot */

/** Three ticks, and half of one for the way. */
const staleTicks = 3.5

/** @type {Snapshot | undefined} */
let current
let heardAt = 0
/** The database whose past was asked for; none while the list is shown. */
let charted = ""
/** The database that the charts have something of. */
let drawn = ""

const opened = () => new URLSearchParams(location.hash.slice(1)).get("db") ?? ""

/** The one that is open; with only one there is nothing to choose. */
const chosen = () => {
  const databases = current?.databases ?? []
  return databases.length === 1 ? databases[0] : databases.find(({ name }) => name === opened())
}

/** @param {string} name */
const loadPast = async (name) => {
  const response = await fetch(`/api/history?database=${encodeURIComponent(name)}`).catch(() => undefined)
  const past = response?.ok === true ? await response.json().catch(() => undefined) : undefined
  if (name !== charted) return
  if (past === undefined) charted = "" // asked for again with the next tick
  else setPast(past)
}

const show = () => {
  if (current === undefined) return
  const database = chosen()
  const isNew = byId("view").hidden || drawn !== database?.name
  byId("list").hidden = database !== undefined || (current.databases.length === 0 && current.leadership !== null)
  byId("back").hidden = current.databases.length === 1
  byId("view").hidden = database === undefined
  showStrip(current, database)
  showFigures(current.engine)
  showLeadership(current)
  showIncidents(current, database)
  onlyOf(current.databases.length > 1 ? (database?.name ?? "") : "", current.databases.length === 1)
  if (database === undefined) {
    charted = ""
    showDatabases(current)
  } else {
    showDatabase(database)
    showDetails(database)
    setBound(database.bound_frames)
    if (charted !== database.name) {
      if (drawn !== database.name) clearCharts()
      drawn = database.name
      charted = database.name
      if (isNew) drawCharts()
      void loadPast(database.name)
    }
  }
  setText(byId("program"), `${clock(current.at_ms)} UTC, pid ${current.pid}, version ${current.seawall_version}`)
  document.title = `${current.health.ok ? "" : "! "}Seawall${database === undefined ? "" : ` ${database.name}`}`
}

/** @param {{ snapshot: Snapshot, checkpoints: ReadonlyArray<ReadonlyArray<import("./dom.js").CheckpointPoint>>, lines: ReadonlyArray<import("./dom.js").LogLine> }} tick */
const hear = ({ checkpoints, lines, snapshot }) => {
  const isOther = current !== undefined && current.run_id !== snapshot.run_id
  current = snapshot
  heardAt = Date.now()
  if (isOther) charted = drawn = ""
  setLimits(snapshot.limits)
  show()
  const index = snapshot.databases.findIndex(({ name }) => name === charted)
  const status = snapshot.databases[index]
  if (status !== undefined) addNow(snapshot.at_ms, status, checkpoints[index] ?? [])
  addLines(snapshot, lines)
  watch()
}

const watch = () => {
  if (current === undefined) return
  const isStale = Date.now() - heardAt > staleTicks * current.limits.tick_ms
  document.body.classList.toggle("is-stale", isStale)
  document.body.classList.toggle("is-live", !isStale)
  const reason = current.engine?.halt_reason ?? null
  setText(byId("connection"), isStale ? (reason === null ? "stale" : "ended") : "live")
  const banner = byId("stale")
  banner.hidden = !isStale
  if (!isStale) return
  if (reason !== null) showEnd()
  const at = `${clock(current.at_ms)} UTC`
  setText(
    banner,
    reason === null
      ? `The program does not answer: this is from ${at}. The page goes on by itself when the program is back.`
      : `The session ended (${reason}) at ${at}. The page goes on by itself when the next one starts.`,
  )
}

const listen = () => {
  const events = new EventSource("/api/events")
  events.addEventListener("open", () => {
    charted = "" // what was missed meanwhile
  })
  events.addEventListener("tick", (event) => hear(JSON.parse(event.data)))
  events.addEventListener("error", () => {
    // The browser comes back by itself, except after an answer that was no stream.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 2000)
  })
}

const startSpans = () => {
  const spans = /** @type {const} */ ([
    ["2 min", 120],
    ["10 min", 600],
    ["2 h", 7200],
  ])
  const buttons = spans.map(([title, seconds]) => {
    const button = element("button", "", title)
    button.setAttribute("type", "button")
    button.addEventListener("click", () => {
      setSpan(seconds)
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button))
    })
    return button
  })
  byId("spans").append(...buttons.flatMap((button) => [button, " "]))
  buttons[1]?.click()
}

startLog()
startSpans()
watchSurroundings()
addEventListener("hashchange", show)
// The part behind the # names the database that is open.
byId("skip").addEventListener("click", (event) => {
  event.preventDefault()
  byId("log-list").focus()
})
setInterval(watch, 500)
listen()
