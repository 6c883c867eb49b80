/**
 * What can be imported: six entries, each a list of modules. The list stands here a second time, so that nothing is exported, or
 * no longer exported, by accident; and what is said of names holds for all of them.
 */
import { describe, expect, it } from "vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import * as cluster from "../../src/cluster/index.ts"
import * as dashboard from "../../src/dashboard/index.ts"
import * as engine from "../../src/engine/index.ts"
import * as postgres from "../../src/postgres/index.ts"
import * as seawall from "../../src/index.ts"
import * as testing from "../../src/testing/index.ts"
import packageJson from "../../package.json" with { type: "json" }

const root = path.join(import.meta.dirname, "../..")

const entries = {
  ".": {
    real: seawall,
    modules: [
      "Backup",
      "Checkpoint",
      "Checkpointer",
      "Database",
      "DatabaseControl",
      "DatabaseOpenError",
      "DatabaseStatus",
      "Doctor",
      "Durability",
      "GuardedDatabase",
      "Integrity",
      "LatencyWindow",
      "NativeError",
      "OptionError",
      "Restore",
      "Shutdown",
      "SqliteClient",
      "StatementRefused",
      "UnsafeSqliteError",
      "WalGuard",
      "Writer",
      "WriterError",
    ],
  },
  "./engine": {
    real: engine,
    modules: [
      "Capital",
      "CapitalEvent",
      "Engine",
      "EngineConfig",
      "EngineProgram",
      "Halt",
      "HaltReason",
      "Lease",
      "Preflight",
      "Session",
      "Signals",
      "StateError",
      "StateManager",
      "Tables",
    ],
  },
  "./postgres": {
    real: postgres,
    modules: ["Leaders", "Leadership", "PostgresDatabase", "PostgresOpenError"],
  },
  "./cluster": { real: cluster, modules: ["ClusterEngine"] },
  "./dashboard": { real: dashboard, modules: ["Dashboard", "LiveLog", "Snapshot"] },
  "./testing": { real: testing, modules: ["LogCapture", "ScriptedCheckpointer", "TemporaryDatabase"] },
} as const

/** Modules that are no service and no error: functions, or the driver's. */
const others = new Set([
  "Capital",
  "ClusterEngine",
  "Doctor",
  "NativeError",
  "Restore",
  "Session",
  "Signals",
  "SqliteClient",
  "Tables",
  "Leaders",
])
/** Modules whose service, or error, does not come first. */
const named: Readonly<Record<string, string>> = {
  CapitalEvent: "CapitalError",
  DatabaseStatus: "Status",
  GuardedDatabase: "layer",
  Integrity: "IntegrityError",
  Leadership: "layer",
  PostgresDatabase: "layer",
  Preflight: "PreflightError",
  ScriptedCheckpointer: "Recording",
  TemporaryDatabase: "layer",
}

const files = (folder: string): ReadonlyArray<string> =>
  fs
    .readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts"))
    .toSorted()

const sources = files(path.join(root, "src")).map((name) => ({
  name,
  text: fs.readFileSync(path.join(root, "src", name), "utf8"),
}))

/** All that the source says by this pattern, in order. */
const said = (pattern: RegExp) =>
  sources.flatMap(({ name, text }) => [...text.matchAll(pattern)].map((match) => ({ name, match })))

describe("what can be imported", () => {
  it("is six entries", () => {
    expect(Object.keys(packageJson.exports)).toEqual([...Object.keys(entries), "./package.json"])
  })

  it.each(Object.entries(entries))("%s has these modules, and no others", (name, { modules, real }) => {
    expect(Object.keys(real).toSorted()).toEqual([...modules])
    const entry = name === "." ? "index" : `${name.slice(2)}/index`
    expect(packageJson.exports[name as keyof typeof entries]).toEqual({
      types: `./dist/${entry}.d.ts`,
      default: `./dist/${entry}.js`,
    })
  })

  it.each(Object.entries(entries).flatMap(([entry, { real }]) => Object.entries(real).map((it) => [entry, ...it])))(
    "%s: the key of %s repeats its name",
    (_, name, module) => {
      const key = named[String(name)] ?? String(name)
      expect(others.has(String(name)) || Object.hasOwn(module as object, key), `${name}`).toBe(true)
    },
  )
})

describe("names", () => {
  it("of services, and of classes that are decoded, are the folder and the class", () => {
    const wrong = said(
      /(?:class|const) (\w+)[^=({]*?(?:extends|=) (?:Context\.(?:Service|Reference)<[^]*?|Schema\.Class<\w+>)\(\s*"([^"]+)"/g,
    ).flatMap(({ match: [, own, id], name }) =>
      id === `seawall/${path.dirname(name)}/${own}` ? [] : [`${name}: ${own} is ${id}`],
    )
    expect(wrong).toEqual([])
  })

  it("of errors are those of their class, and no two are the same", () => {
    const tags = said(/class (\w+) extends (?:Schema|Data)\.TaggedError(?:<\w+>\(\))?\(\s*"([^"]+)"/g)
    expect(tags.length).toBeGreaterThan(20)
    expect(tags.flatMap(({ match: [, own, tag], name }) => (own === tag ? [] : [`${name}: ${own} is ${tag}`]))).toEqual(
      [],
    )
    const all = tags.map(({ match: [, own] }) => own)
    expect(all.filter((tag, at) => all.indexOf(tag) !== at)).toEqual([])
  })

  it("of members are all there: no interface and no class has one that its declaration lacks", () => {
    const wrong = said(/^ {2,}(?:\/\*\*|\*)[^\n]*@internal/gm)
    expect(wrong.map(({ match: [text], name }) => `${name}: ${text}`)).toEqual([])
  })
})
