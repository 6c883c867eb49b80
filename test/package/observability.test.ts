/**
 * That `docs/observability.md` names every metric, event, field, span and attribute in the source, and nothing else; and that
 * what cannot be read from the source fails here, and is not passed over.
 */
import { describe, expect, it } from "vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { observe } from "../support/Observable.ts"
import { differences, parse, rooms } from "../support/ObservableDocument.ts"
import { readTexts, SourceTree, type Texts } from "../support/SourceTree.ts"

const root = path.join(import.meta.dirname, "../..")
const document = fs.readFileSync(path.join(root, "docs/observability.md"), "utf8")
const source = readTexts(root, "src")

const observed = (texts: Texts) => observe(new SourceTree(texts), rooms)
const real = observed(source)

/** The text with one place of it changed. */
const changed = (text: string, from: string, to: string): string => {
  expect(text.split(from).length, `places of ${from}`).toBe(2)
  return text.replace(from, to)
}

const changedIn = (file: string, from: string, to: string): Texts =>
  new Map([...source].map(([name, text]) => [name, name === file ? changed(text, from, to) : text]))

const withoutRow = (name: string) =>
  document
    .split("\n")
    .filter((line) => !line.startsWith(`| \`${name}\``))
    .join("\n")

describe("docs/observability.md", () => {
  it("says what the source says, and the source what it says", () => {
    expect(differences(parse(document), real)).toEqual([])
    expect(real.metrics.length).toBeGreaterThan(10)
    expect(real.events.length).toBeGreaterThan(60)
    expect(real.spans.length).toBeGreaterThan(20)
  })

  it.each([
    ["a metric", withoutRow("seawall_wal_frames"), "the document lacks metric seawall_wal_frames of Guard"],
    ["an event", withoutRow("tick failed"), "the document lacks event tick failed of Engine"],
    ["a span", withoutRow("Backup.run"), "the document lacks span Backup.run of Database"],
    ["an annotation", withoutRow("logger"), "the document lacks annotation logger"],
    ["a field", changed(document, "`url` |", "none |"), "the document lacks field of dashboard url"],
    [
      "a label",
      changed(document, "`version` | Always", "none | Always"),
      "the document lacks attribute of seawall_info version",
    ],
    ["a step", changed(document, "`drain writes`, ", ""), "the document lacks step drain writes"],
    [
      "a span's attribute",
      changed(document, "`seawall.commit_ms`, `seawall.sync_ms` |", "`seawall.commit_ms` |"),
      "the document lacks attribute of a span seawall.sync_ms",
    ],
    [
      "a level",
      changed(
        document,
        "| `wal_checkpoint truncate skipped` | ERROR, INFO",
        "| `wal_checkpoint truncate skipped` | ERROR",
      ),
      "the document lacks level of wal_checkpoint truncate skipped INFO",
    ],
    [
      "a description",
      changed(document, "| Ticks that ended |", "| Ticks |"),
      "seawall_engine_ticks_total is described as Ticks that ended",
    ],
  ])("is found to lack %s that it lacks", (_, text, difference) => {
    expect(differences(parse(text), real)).toEqual([difference])
  })

  it.each([
    [
      "another name of a metric",
      "src/wal/Checkpoint.ts",
      '"seawall_wal_frames"',
      '"seawall_wal_pages"',
      ["the document lacks metric seawall_wal_pages of Guard", "the source lacks metric seawall_wal_frames of Guard"],
    ],
    [
      "a field more",
      "src/wal/BlockedWatch.ts",
      "runs: before.value.runs,",
      "runs: before.value.runs, looks: 1,",
      ["the document lacks field of wal_checkpoint unblocked looks"],
    ],
    [
      "a field more in an object that several lines share",
      "src/wal/GuardedCheckpoint.ts",
      "busy: checkpoint.busy,",
      "busy: checkpoint.busy, pages: 1,",
      ["wal_checkpoint", "wal_checkpoint slow", "wal_checkpoint truncate incomplete"].map(
        (event) => `the document lacks field of ${event} pages`,
      ),
    ],
    [
      "a note more for the last line",
      "src/wal/GuardEnd.ts",
      "checkpoints_slow: latency.slow,",
      "checkpoints_slow: latency.slow, looks: 1,",
      ["the document lacks field of session ended looks"],
    ],
    [
      "another level",
      "src/engine/Engine.ts",
      'Effect.logInfo("engine running")',
      'Effect.logDebug("engine running")',
      ["the document lacks level of engine running DEBUG", "the source lacks level of engine running INFO"],
    ],
    [
      "another label",
      "src/wal/Checkpoint.ts",
      "Metric.withAttributes(total, { mode, outcome })",
      "Metric.withAttributes(total, { mode, result: outcome })",
      [
        "the document lacks attribute of seawall_wal_checkpoints_total result",
        "the source lacks attribute of seawall_wal_checkpoints_total outcome",
      ],
    ],
    [
      "an attribute of a span more",
      "src/sqlite/WriteTrace.ts",
      "`seawall.${moment}_ms`",
      "`seawall.until_${moment}_ms`",
      ["committed", "queued", "synced"].map((it) => `the document lacks attribute of a span seawall.until_${it}_ms`),
    ],
    [
      "a unit less",
      "src/wal/Checkpoint.ts",
      "How long a checkpoint took, in seconds",
      "How long a checkpoint took",
      ["seawall_wal_checkpoint_duration_seconds does not say its unit"],
    ],
    [
      "another bound",
      "src/wal/Checkpoint.ts",
      "0.5, 1, 5]",
      "0.5, 1]",
      [expect.stringContaining("the document lacks bounds of seawall_wal_checkpoint_duration_seconds")],
    ],
    [
      "a step that a helper passes on",
      "src/engine/Engine.ts",
      'finalizer("close session"',
      'finalizer("end session"',
      [
        "the document lacks event end session failed of Shutdown",
        "the source lacks event close session failed of Shutdown",
        "the document lacks step end session",
        "the source lacks step close session",
      ],
    ],
  ])("is found to differ from a source with %s", (_, file, from, to, expected) => {
    const found = differences(parse(document), observed(changedIn(file, from, to)))
    expect(found).toEqual(expect.arrayContaining(expected))
  })
})

describe("the source", () => {
  const of = (text: string, file = "src/wal/Example.ts") =>
    observed(new Map([[file, `import { Effect, Metric } from "effect"\n${text}`]]))

  it("says nothing in a comment or in a text", () => {
    const found = of(`
      // Effect.logInfo("said in a comment")
      export const text = 'Effect.logInfo("said in a text")'
      export const line = Effect.logInfo("said") /* Metric.counter("counted") */`)
    expect(found.events.map(({ name }) => name)).toEqual(["said"])
    expect(found.metrics).toEqual([])
  })

  it("is followed through constants, branches, templates, parameters and methods", () => {
    const found = of(`
      const name = "first"
      export const one = (isOne: boolean) => Effect.logInfo(isOne ? name : \`\${name} again\`)
      const say = (what: string) => Effect.logWarning(\`\${what} failed\`)
      const twice = (what: string) => Effect.andThen(say(what), say("fixed"))
      export const all = [twice("left"), twice("right")]
      class Teller {
        private tell(what: string) { return Effect.logError(what) }
        public all() { return this.tell("by a method") }
      }`)
    expect(found.events.map(({ name }) => name).toSorted()).toEqual(
      ["first", "first again", "left failed", "right failed", "fixed failed", "by a method"].toSorted(),
    )
  })

  it("gives a line the fields of all that is around it", () => {
    const found = of(`
      const shared = { a: 1, ...(Math.random() > 0 ? { b: 2 } : {}) }
      const made = (c: number) => ({ c, "d e": 1 })
      const report = Effect.logInfo("one", new Error("cause"))
      export const all = [
        Effect.annotateLogs(report, shared),
        Effect.logInfo("two").pipe(Effect.asVoid, Effect.annotateLogs({ ...made(1) })),
        Effect.annotateLogs(Effect.gen(function* () { yield* Effect.ignore(report, { log: "Warn", message: "three" }) }), { f: 1 }),
      ]`)
    expect(found.events.map(({ fields, level, name }) => [level, name, fields])).toEqual([
      ["INFO", "one", ["cause", "a", "b"]],
      ["INFO", "two", ["c", "d e"]],
      ["WARN", "three", ["cause", "f"]],
    ])
  })

  it.each([
    ["a message that is made while it runs", "export const f = (e: Error) => Effect.logInfo(e.message)"],
    ["a message of a caller that cannot be found", "export const f = (text: string) => Effect.logInfo(text)"],
    [
      "a helper that is handed on as a value",
      `const say = (text: string) => Effect.logInfo(text)\nexport const all = ["a"].map(say)\nexport const one = say("b")`,
    ],
    [
      "a helper that is called with what is no literal",
      `const say = (text: string) => Effect.logInfo(text)\nexport const all = say(new Date().toISOString())`,
    ],
    ["a log function that is handed on as a value", "export const f = Effect.tapCause(Effect.logError)"],
    ["a level that is chosen while it runs", `export const f = Effect.logWithLevel("Info")("text")`],
    [
      "fields that are made while it runs",
      `export const f = (o: object) => Effect.annotateLogs(Effect.logInfo("a"), Object.assign({}, o))`,
    ],
    ["fields of no line", `export const f = <A>(self: Effect.Effect<A>) => Effect.annotateLogs(self, { a: 1 })`],
    [
      "a failure that is ignored in the log without a message",
      `export const f = Effect.ignore(Effect.void, { log: "Warn" })`,
    ],
    [
      "options of what is ignored that are not known",
      "export const f = (o: object) => Effect.ignoreCause(Effect.void, { ...o })",
    ],
    ["a metric without a description", `export const m = Metric.counter("a_total")`],
    [
      "a metric with a name that is made while it runs",
      `export const m = (n: string) => Metric.counter(n, { description: "d" })`,
    ],
    [
      "a span with a name that is made while it runs",
      "export const f = (n: string) => Effect.void.pipe(Effect.withSpan(n))",
    ],
    ["a span that is made in a way that is not known", `export const f = Effect.makeSpan("a")`],
    ["a part of Effect under its own name", `const { logInfo } = Effect\nexport const f = logInfo("a")`],
    ["a part of Effect by a text", `export const f = Effect["logInfo"]("a")`],
    ["Effect under another name", `import { Effect as E } from "effect"\nexport const f = E.logInfo("a")`],
    [
      "Effect under another name, from its module",
      `import * as E from "effect/Effect"\nexport const f = E.logInfo("a")`,
    ],
  ])("fails, with where it is, for %s", (_, text) => {
    expect(() => of(text)).toThrow(/^src\/wal\/Example\.ts:\d+: /)
  })

  it("fails for a folder that belongs to no room of the document", () => {
    expect(() => of(`export const f = Effect.logInfo("a")`, "src/cellar/Example.ts")).toThrow(
      "src/cellar/Example.ts:2: expected a folder that belongs to a room of the document",
    )
  })
})
