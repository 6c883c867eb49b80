/** How this page makes elements and writes numbers. Whatever it shows is set as text, never as markup. */

/** @typedef {import("../Snapshot.ts").Snapshot} Snapshot */
/** @typedef {import("../Snapshot.ts").DatabaseStatus} DatabaseStatus */
/** @typedef {import("../Snapshot.ts").CheckpointPoint} CheckpointPoint */
/** @typedef {import("../LiveLog.ts").LogLine} LogLine */

/** @param {string} id */
export const byId = (id) => {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no #${id}`)
  return found
}

/**
 * @param {string} name
 * @param {string} className
 * @param {ReadonlyArray<Node | string>} children
 */
export const element = (name, className, ...children) => {
  const made = document.createElement(name)
  if (className !== "") made.className = className
  made.append(...children)
  return made
}

/**
 * Changes the text only when it is another one: a screen reader says what changes.
 *
 * @param {Node} node
 * @param {string} text
 */
export const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text
}

/**
 * A list of terms and values, of which only what changed is touched.
 *
 * @param {HTMLElement} list
 * @param {ReadonlyArray<readonly [term: string, value: string, className?: string]>} entries
 */
export const setTerms = (list, entries) => {
  while (list.children.length > entries.length) list.lastElementChild?.remove()
  for (const [index, [term, value, className = ""]] of entries.entries()) {
    const pair = list.children[index] ?? list.appendChild(element("div", "", element("dt", ""), element("dd", "")))
    const [dt, dd] = pair.children
    if (dt === undefined || dd === undefined) continue
    setText(dt, term)
    setText(dd, value)
    if (dd.className !== className) dd.className = className
  }
}

/** @param {number | null} n */
export const integer = (n) => (n === null ? "?" : n.toLocaleString("en"))

/** @param {number | null} ms */
export const millis = (ms) =>
  ms === null ? "–" : `${ms.toLocaleString("en", { maximumFractionDigits: ms < 10 ? 2 : 0 })} ms`

/** @param {number | null} s */
export const seconds = (s) => (s === null ? "–" : s < 100 ? `${s.toFixed(1)} s` : duration(s))

/** In the largest unit that leaves a digit before the point. @param {number | null} n */
export const bytes = (n) => {
  if (n === null) return "?"
  const units = ["B", "KiB", "MiB", "GiB", "TiB"]
  const power = Math.min(units.length - 1, n < 1 ? 0 : Math.floor(Math.log2(n) / 10))
  return `${(n / 1024 ** power).toLocaleString("en", { maximumFractionDigits: power === 0 ? 0 : 1 })} ${units[power]}`
}

/** A number of frames in bytes, where the size of a page is known. @param {DatabaseStatus} database @param {number | null} frames */
export const bytesOf = ({ page_bytes }, frames) =>
  page_bytes === null || frames === null ? "" : ` (${bytes(frames * (page_bytes + 24))})`

/** @param {number} s */
export const duration = (s) => {
  /** @param {number} n */
  const two = (n) => String(Math.floor(n)).padStart(2, "0")
  return `${two(s / 3600)}:${two((s / 60) % 60)}:${two(s % 60)}`
}

/** In UTC, as the log is. @param {number} ms */
export const clock = (ms) => new Date(ms).toISOString().slice(11, 19)

/** With the day, of what may be long ago. @param {number} ms */
export const day = (ms) => `${new Date(ms).toISOString().slice(0, 16).replace("T", " ")} UTC`
