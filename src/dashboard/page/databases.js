/** Many databases at a glance: a table that is sorted, worst first unless asked otherwise; each opens its own view. */
import { byId, bytesOf, element, integer, millis, seconds, setText } from "./dom.js"

/** @typedef {import("./dom.js").DatabaseStatus} DatabaseStatus */
/** @typedef {(database: DatabaseStatus) => number | string} Rank */

/** @param {ReadonlyArray<{ readonly database: string }>} reasons */
const badness =
  (reasons) =>
  (/** @type {DatabaseStatus} */ { backlog_frames, exposure_seconds, name }) =>
    reasons.filter(({ database }) => database === name).length * 1e12 +
    (exposure_seconds ?? 0) * 1e6 +
    (backlog_frames ?? 0)

/** @type {ReadonlyArray<readonly [title: string, text: (database: DatabaseStatus) => string, rank: Rank]>} */
const columns = [
  ["Database", ({ name }) => name, ({ name }) => name],
  ["State", (it) => stateOf(it), (it) => stateOf(it)],
  ["WAL", (it) => `${integer(it.log_frames)}${bytesOf(it, it.log_frames)}`, ({ log_frames }) => log_frames ?? -1],
  ["Not copied yet", ({ backlog_frames }) => integer(backlog_frames), ({ backlog_frames }) => backlog_frames ?? -1],
  ["Loss window", (it) => seconds(it.exposure_seconds), ({ exposure_seconds }) => exposure_seconds ?? -1],
  ["p95, all runs", ({ latency }) => millis(latency.p95_ms), ({ latency }) => latency.p95_ms ?? -1],
  [
    "Last checkpoint",
    ({ last_checkpoint: it }) => it?.outcome ?? "none yet",
    ({ last_checkpoint: it }) => it?.at_ms ?? 0,
  ],
]

/** Columns of words, which are aligned to the left. */
const textColumns = new Set([0, 1, 6])

/** @param {DatabaseStatus} database */
const stateOf = ({ blocked, failures, state }) => {
  if (blocked === null) return failures > 0 ? "failing" : state
  const [first] = blocked.blockers
  return first === undefined ? "blocked" : `blocked by ${first.command} (pid ${first.pid})`
}

/** @type {{ column: number | undefined, descending: boolean }} */
const sorting = { column: undefined, descending: true }

/** @type {Map<string, HTMLElement>} */
const rows = new Map()

/** @param {string} name */
const rowOf = (name) => {
  const known = rows.get(name)
  if (known !== undefined) return known
  const link = /** @type {HTMLAnchorElement} */ (element("a", "", name))
  link.href = `#db=${encodeURIComponent(name)}`
  const cells = columns.slice(1).map(([title], index) => {
    const cell = element("td", textColumns.has(index + 1) ? "text" : "")
    cell.dataset["label"] = title // on a telephone, where there is no head
    return cell
  })
  const row = element("tr", "list-rows", element("th", "", link), ...cells)
  row.firstElementChild?.setAttribute("scope", "row")
  rows.set(name, row)
  return row
}

const titles = columns.map(([title], index) => {
  const button = element("button", "", title)
  button.addEventListener("click", () => {
    const again = sorting.column === index
    sorting.descending = again ? !sorting.descending : index > 1
    sorting.column = index
    redraw()
  })
  const cell = element("th", textColumns.has(index) ? "text" : "", button)
  cell.setAttribute("scope", "col")
  return cell
})

let redraw = () => {}

/** @param {import("./dom.js").Snapshot} snapshot */
export const showDatabases = ({ databases, health }) => {
  const body = byId("list").querySelector("tbody")
  const head = byId("list").querySelector("thead")
  if (body === null || head === null) return
  if (head.childElementCount === 0) head.append(element("tr", "", ...titles))
  redraw = () => {
    const { column, descending } = sorting
    const rank = column === undefined ? badness(health.reasons) : (columns[column]?.[2] ?? badness([]))
    const sign = descending ? -1 : 1
    const ranked = databases.map((database) => ({ database, at: rank(database) }))
    ranked.sort((a, b) => (a.at < b.at ? -sign : a.at > b.at ? sign : 0))
    const ordered = ranked.map(({ database }) => {
      const row = rowOf(database.name)
      for (const [index, [, text]] of columns.entries()) {
        if (index > 0) setText(/** @type {Node} */ (row.children[index]), text(database))
      }
      const isBad = health.reasons.some((it) => it.database === database.name)
      if (row.children[1] !== undefined) row.children[1].className = isBad ? "text bad" : "text"
      return row
    })
    for (const [index, title] of titles.entries()) {
      title.setAttribute("aria-sort", index !== column ? "none" : descending ? "descending" : "ascending")
    }
    if (ordered.length === body.children.length && ordered.every((row, index) => row === body.children[index])) return
    const focused = document.activeElement
    body.replaceChildren(...ordered)
    if (focused instanceof HTMLElement && body.contains(focused)) focused.focus()
  }
  redraw()
}
