/** That `docs/observability.md` names every metric, event, field, span and attribute in the source, and nothing else. */
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

  const after = (heading: string, row: string) => {
    const section = document.slice(document.indexOf(`## ${heading}\n`))
    const head = /\n(\| metric.*\n\|.*\n)/.exec(section)?.[1] ?? ""
    return document.replace(section, section.replace(head, `${head}${row}\n`))
  }
  const ticks = document.split("\n").find((line) => line.startsWith("| `seawall_engine_ticks_total`")) ?? ""

  it.each([
    [
      "a metric",
      after("Guard", "| `seawall_readers` | gauge | readers | none | Readers |"),
      "the source lacks metric seawall_readers of Guard",
    ],
    ["a metric twice", after("Engine", ticks), "the document has seawall_engine_ticks_total of Engine twice"],
    [
      "an event in another room",
      changed(document, "## Command\n", "## Command\n\n### Log events\n\n| `tick failed` | ERROR | `cause` | |\n"),
      "the source lacks event tick failed of Command",
    ],
    ["a field", changed(document, "| `url` |", "| `url`, `host` |"), "the source lacks field of dashboard host"],
    [
      "an attribute of a span",
      changed(document, "| `StoredState` | none", "| `StoredState` | `db.namespace`"),
      "the source lacks attribute of StoredState db.namespace",
    ],
  ])("is found to have %s that the source does not have", (_, text, difference) => {
    expect(differences(parse(text), real)).toEqual([difference])
  })

  it.each([
    [
      "another name of a metric",
      "src/wal/CheckpointRun.ts",
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
      "src/wal/CheckpointRun.ts",
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
      "src/wal/CheckpointRun.ts",
      "How long a checkpoint took, in seconds",
      "How long a checkpoint took",
      ["seawall_wal_checkpoint_duration_seconds does not say its unit"],
    ],
    [
      "another bound",
      "src/wal/CheckpointRun.ts",
      "0.5, 1, 5]",
      "0.5, 1]",
      [expect.stringContaining("the document lacks bounds of seawall_wal_checkpoint_duration_seconds")],
    ],
    [
      "a step that a helper passes on",
      "src/engine/SessionRow.ts",
      'rowStep = "close session"',
      'rowStep = "end session"',
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
