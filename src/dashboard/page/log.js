/** The log: the last lines, by level and by what is searched for; paused, it stands still and counts what comes. */
import { byId, element, setText } from "./dom.js"

/** @typedef {import("./dom.js").LogLine} LogLine */
/** @typedef {{ readonly line: LogLine | undefined, readonly note: string, readonly text: string, node: HTMLElement | undefined }} Entry */

const levels = ["DEBUG", "INFO", "WARN", "ERROR"]
const rank = /** @type {Readonly<Record<string, number>>} */ ({
  TRACE: 0,
  DEBUG: 0,
  INFO: 1,
  WARN: 2,
  ERROR: 3,
  FATAL: 4,
})

/** As many as the program remembers, as it says itself. */
let mostEntries = 0

/** Lines that must not be overlooked. */
const marks = /** @type {Readonly<Record<string, string>>} */ ({
  "wal_checkpoint slow": "slow",
  "wal_checkpoint held up": "slow",
  "wal_checkpoint blocked": "blocked",
  "wal_checkpoint cannot bound the WAL": "blocked",
})

/** @type {Array<Entry>} */
let entries = []
/** Those that came while it was paused. @type {Array<Entry>} */
let waiting = []
let isPaused = false
let last = 0
let run = ""
let database = ""
/** The name of the only database is not shown. */
let isAlone = false

/** @param {LogLine} line */
const render = ({ at_ms, cause, event, fields, level }) => {
  const at = new Date(at_ms)
  const time = element("time", "", at.toISOString().slice(11, 23))
  time.setAttribute("datetime", at.toISOString())
  time.title = at.toISOString()
  const shown = isAlone ? fields.filter(([name]) => name !== "database") : fields
  const pairs = shown.flatMap(([name, value]) => [" ", element("span", "field", `${name}=`), value])
  const node = element(
    "li",
    `${level} ${marks[event] ?? ""}`,
    time,
    " ",
    element("span", "level", level.padEnd(5)),
    " ",
  )
  node.append(element("b", "", event), ...pairs)
  if (cause !== "") node.append(element("span", "cause", cause))
  return node
}

/** @param {LogLine} line */
const entryOf = (line) => {
  const { cause, event, fields } = line
  const text = [event, ...fields.map(([name, value]) => `${name}=${value}`), cause].join(" ").toLowerCase()
  return { line, note: "", text, node: undefined }
}

/** @param {string} note */
const noteOf = (note) => ({ line: undefined, note, text: "", node: undefined })

const control = {
  level: /** @type {HTMLSelectElement} */ (byId("log-level")),
  search: /** @type {HTMLInputElement} */ (byId("log-search")),
  pause: byId("log-pause"),
}

/** @param {Entry} entry */
const isShown = ({ line, text }) => {
  if (line === undefined) return true
  const search = control.search.value.trim().toLowerCase()
  const of = line.fields.find(([name]) => name === "database")?.[1]
  return (
    (rank[line.level] ?? 1) >= (rank[control.level.value] ?? 0) &&
    (search === "" || text.includes(search)) &&
    (database === "" || of === undefined || of === database)
  )
}

const show = () => {
  const list = byId("log-list")
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40
  const shown = entries.filter(isShown)
  const nodes = shown.map((entry) => {
    entry.node ??= entry.line === undefined ? element("li", "note", entry.note) : render(entry.line)
    return entry.node
  })
  const wanted = new Set(nodes)
  for (const child of [...list.children]) if (!wanted.has(/** @type {HTMLElement} */ (child))) child.remove()
  for (const [index, node] of nodes.entries()) {
    if (list.children[index] !== node) list.insertBefore(node, list.children[index] ?? null)
  }
  if (isAtEnd) list.scrollTop = list.scrollHeight
  const news = isPaused ? `, paused, ${waiting.length} new` : ""
  setText(byId("log-count"), `${shown.filter(({ line }) => line !== undefined).length} lines${news}`)
}

/**
 * @param {import("./dom.js").Snapshot} snapshot
 * @param {ReadonlyArray<LogLine>} lines
 */
export const addLines = ({ limits, run_id: runId }, lines) => {
  mostEntries = limits.log_lines
  /** @type {Array<Entry>} */
  const added = []
  if (runId !== run) {
    if (run !== "") added.push(noteOf("— another run of the program —"))
    run = runId
    last = 0
  }
  const fresh = lines.filter(({ number }) => number > last)
  const first = fresh[0]
  if (first === undefined && added.length === 0) return
  if (first !== undefined && last > 0 && first.number > last + 1) {
    added.push(noteOf(`— ${first.number - last - 1} lines came too fast to be shown —`))
  }
  last = fresh.at(-1)?.number ?? last
  added.push(...fresh.map(entryOf))
  if (isPaused) waiting = [...waiting, ...added].slice(-mostEntries)
  else entries = [...entries, ...added].slice(-mostEntries)
  show()
}

/**
 * Lines that name another database are left out; empty: none is.
 * @param {string} name
 * @param {boolean} isOnly
 */
export const onlyOf = (name, isOnly) => {
  isAlone = isOnly
  if (name === database) return
  database = name
  show()
}

const togglePause = () => {
  isPaused = !isPaused
  control.pause.setAttribute("aria-pressed", String(isPaused))
  setText(control.pause, isPaused ? "Resume" : "Pause")
  if (!isPaused) {
    entries = [...entries, ...waiting].slice(-mostEntries)
    waiting = []
  }
  show()
}

export const startLog = () => {
  control.level.append(
    ...levels.map((level) => new Option(level === "ERROR" ? "ERROR only" : `${level} and above`, level)),
  )
  control.level.value = "INFO"
  control.level.addEventListener("change", show)
  control.search.addEventListener("input", show)
  control.pause.addEventListener("click", togglePause)
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement
    if (event.key === "Escape" && event.target === control.search) {
      control.search.value = ""
      show()
    }
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return
    if (event.key === "p") togglePause()
    if (event.key !== "/") return
    event.preventDefault()
    control.search.focus()
  })
}
