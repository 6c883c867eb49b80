/** `docs/observability.md` as data, and how it differs from what the source says (`observe`). */
import type { Observable } from "./Observable.ts"

/** The rooms of the document: what each folder below `src` belongs to. */
export const rooms: Readonly<Record<string, string>> = {
  files: "Database",
  processes: "Database",
  sql: "Database",
  sqlite: "Database",
  wal: "Guard",
  engine: "Engine",
  lease: "Engine",
  postgres: "Engine",
  state: "Engine",
  cluster: "Engine",
  shutdown: "Shutdown",
  paper: "Paper",
  dashboard: "Dashboard",
  cli: "Command",
  doctor: "Command",
  facts: "Command",
  status: "Command",
}

/** What Effect makes of itself: the source of Seawall does not have it. */
const foreign = "Effect"

interface Row {
  readonly room: string
  readonly name: string
  readonly cells: ReadonlyArray<string>
}

interface Metric extends Row {
  readonly attributes: ReadonlyArray<string>
}
interface Event extends Row {
  readonly levels: ReadonlyArray<string>
  readonly fields: ReadonlyArray<string>
}
interface Span extends Row {
  readonly attributes: ReadonlyArray<string>
}

export interface Document {
  readonly metrics: ReadonlyArray<Metric>
  readonly events: ReadonlyArray<Event>
  readonly spans: ReadonlyArray<Span>
  readonly carried: ReadonlyArray<string>
  readonly steps: ReadonlyArray<string>
}

/** What stands in backticks. */
const codes = (text = "") => [...text.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code)

const words = (text = "") => text.split(", ")

const carriedBy = "What every line carries"

export const parse = (text: string): Document => {
  const tables = new Map<string, Array<Row>>([
    ["Metrics", []],
    ["Log events", []],
    ["Spans", []],
    [carriedBy, []],
  ])
  let [room, kind] = ["", ""]
  for (const line of text.split("\n")) {
    const [, marks, title = ""] = /^(#{2,3}) (.+)$/.exec(line) ?? []
    if (marks === "##") [room, kind] = [title, title]
    if (marks === "###") kind = title
    if (marks === "###" && !tables.has(kind)) throw new Error(`docs/observability.md has an unknown heading: ${line}`)
    const cells = line.startsWith("|")
      ? line
          .split("|")
          .slice(1, -1)
          .map((cell) => cell.trim())
      : []
    const [name] = codes(cells[0])
    if (name !== undefined) tables.get(kind)?.push({ room, name, cells })
  }
  const rows = (of: string) => tables.get(of) ?? []
  const [, steps] = /The steps, in the order[^:]*:((?:.|\n)*?)\.\n/.exec(text) ?? []
  return {
    metrics: rows("Metrics").map((row) => ({ ...row, attributes: codes(row.cells[3]) })),
    events: rows("Log events").map((row) => ({ ...row, levels: words(row.cells[1]), fields: codes(row.cells[2]) })),
    spans: rows("Spans").map((row) => ({ ...row, attributes: codes(row.cells[1]) })),
    carried: rows(carriedBy).map(({ name }) => name),
    steps: codes(steps),
  }
}

const sorted = (all: Iterable<string>) => [...new Set(all)].toSorted()

/** One side's names that the other side does not have. */
const missing = (what: string, source: Iterable<string>, document: Iterable<string>): ReadonlyArray<string> => {
  const [inSource, inDocument] = [sorted(source), sorted(document)]
  return [
    ...inSource.filter((it) => !inDocument.includes(it)).map((it) => `the document lacks ${what} ${it}`),
    ...inDocument.filter((it) => !inSource.includes(it)).map((it) => `the source lacks ${what} ${it}`),
  ]
}

const keyOf = ({ name, room }: { readonly name: string; readonly room: string }) => `${name} of ${room}`

const twice = (rows: ReadonlyArray<Row>) =>
  rows
    .map(keyOf)
    .filter((key, index, all) => all.indexOf(key) < index)
    .map((key) => `the document has ${key} twice`)

/** Every difference between the two, as a sentence; none when each says what the other says. */
export const differences = (document: Document, source: Observable): ReadonlyArray<string> => {
  const isOwn = ({ room }: Row) => room !== foreign
  const [spans, said] = [document.spans.filter(isOwn), document.events.filter(isOwn)]
  const metrics = document.metrics.flatMap((row) => {
    const found = source.metrics.find((it) => keyOf(it) === keyOf(row))
    if (found === undefined) return []
    const [, type = "", unit = "", , meaning = ""] = row.cells
    const [, bounds = ""] = /Bounds: ([\d., ]+)$/.exec(meaning) ?? []
    const isInSeconds = row.name.endsWith("_seconds")
    return [
      ...missing(`type of ${row.name}`, [found.type], [type]),
      ...missing(
        `bounds of ${row.name}`,
        [found.bounds.join(", ")],
        [words(bounds).map(Number).filter(Boolean).join(", ")],
      ),
      // The database is around the metric, not in its declaration.
      ...missing(`attribute of ${row.name}`, [...found.attributes, "database"], [...row.attributes, "database"]),
      ...(meaning.startsWith(found.description) ? [] : [`${row.name} is described as ${found.description}`]),
      ...(isInSeconds === (unit === "seconds") ? [] : [`the unit of ${row.name} is not ${unit}`]),
      ...(isInSeconds === found.description.includes("in seconds") ? [] : [`${row.name} does not say its unit`]),
    ]
  })
  const events = said.flatMap((row) => {
    const found = source.events.filter((it) => keyOf(it) === keyOf(row))
    if (found.length === 0) return []
    return [
      ...missing(
        `level of ${row.name}`,
        found.map(({ level }) => level),
        row.levels,
      ),
      ...missing(
        `field of ${row.name}`,
        found.flatMap(({ fields }) => fields),
        row.fields,
      ),
    ]
  })
  const attributes = spans.flatMap((row) => {
    const found = source.spans.filter((it) => keyOf(it) === keyOf(row))
    if (found.length === 0) return []
    const own = found.flatMap((it) => it.attributes)
    // Which of those that are given later a span gets, a run of it tells.
    const later = found.flatMap((it) => it.later).filter((it) => row.attributes.includes(it))
    return missing(`attribute of ${row.name}`, [...own, ...later], row.attributes)
  })
  return [
    ...missing("metric", source.metrics.map(keyOf), document.metrics.map(keyOf)),
    ...metrics,
    ...missing("event", source.events.map(keyOf), said.map(keyOf)),
    ...events,
    ...missing("span", source.spans.map(keyOf), spans.map(keyOf)),
    ...attributes,
    ...missing(
      "attribute of a span",
      source.spans.flatMap((it) => [...it.attributes, ...it.later]),
      spans.flatMap((it) => it.attributes),
    ),
    ...missing("annotation", source.carried, document.carried),
    ...missing("step", source.steps, document.steps),
    ...[document.metrics, document.events, document.spans].flatMap(twice),
  ]
}
