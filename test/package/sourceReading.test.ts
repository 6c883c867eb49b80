/**
 * How the source is read for the comparison with `docs/observability.md`: what it finds, and that what it cannot read fails, and
 * is not passed over.
 */
import { describe, expect, it } from "vitest"
import { observe } from "../support/Observable.ts"
import { rooms } from "../support/ObservableDocument.ts"
import { SourceTree } from "../support/SourceTree.ts"

describe("the source", () => {
  const of = (text: string, file = "src/wal/Example.ts") =>
    observe(new SourceTree(new Map([[file, `import { Effect, Metric } from "effect"\n${text}`]])), rooms)

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
    [
      "a message that is made while it runs",
      "expected a text that can be read from the source",
      "export const f = (e: Error) => Effect.logInfo(e.message)",
    ],
    [
      "a message of a caller that cannot be found",
      "expected calls that give argument 1, found none",
      "export const f = (text: string) => Effect.logInfo(text)",
    ],
    [
      "a helper that is handed on as a value",
      "expected a call of say",
      `const say = (text: string) => Effect.logInfo(text)\nexport const all = ["a"].map(say)\nexport const one = say("b")`,
    ],
    [
      "a helper that is called with what is no literal",
      "expected a text that can be read from the source",
      `const say = (text: string) => Effect.logInfo(text)\nexport const all = say(new Date().toISOString())`,
    ],
    [
      "a log function that is handed on as a value",
      "got Effect.logError",
      "export const f = Effect.tapCause(Effect.logError)",
    ],
    [
      "a level that is chosen while it runs",
      "got Effect.logWithLevel",
      `export const f = Effect.logWithLevel("Info")("text")`,
    ],
    [
      "fields that are made while it runs",
      "expected an object whose keys can be read from the source",
      `export const f = (o: object) => Effect.annotateLogs(Effect.logInfo("a"), Object.assign({}, o))`,
    ],
    [
      "fields of no line",
      "annotates no line that can be found",
      `export const f = <A>(self: Effect.Effect<A>) => Effect.annotateLogs(self, { a: 1 })`,
    ],
    [
      "a failure that is ignored in the log without a message",
      "expected a level and a message",
      `export const f = Effect.ignore(Effect.void, { log: "Warn" })`,
    ],
    [
      "options of what is ignored that are not known",
      "expected a level and a message",
      "export const f = (o: object) => Effect.ignoreCause(Effect.void, { ...o })",
    ],
    [
      "options that a caller gives of what is ignored",
      "expected the options as an object",
      "export const f = (o: { log: true }) => Effect.ignoreCause(Effect.void, o)",
    ],
    ["a metric without a description", "expected a description", `export const m = Metric.counter("a_total")`],
    [
      "a metric with a name that is made while it runs",
      "expected calls that give argument 1",
      `export const m = (n: string) => Metric.counter(n, { description: "d" })`,
    ],
    [
      "a span with a name that is made while it runs",
      "expected calls that give argument 1",
      "export const f = (n: string) => Effect.void.pipe(Effect.withSpan(n))",
    ],
    ["a span that is made in a way that is not known", "got Effect.makeSpan", `export const f = Effect.makeSpan("a")`],
    [
      "an attribute of a span that another file makes",
      "expected the span to be made in the same file",
      `export const f = Effect.annotateCurrentSpan({ a: 1 })`,
    ],
    [
      "a part of Effect under its own name",
      "expected a member of Effect by its name",
      `const { logInfo } = Effect\nexport const f = logInfo("a")`,
    ],
    [
      "a part of Effect by a text",
      "expected a member of Effect by its name",
      `export const f = Effect["logInfo"]("a")`,
    ],
    [
      "Effect under another name",
      "got Effect as E",
      `import { Effect as E } from "effect"\nexport const f = E.logInfo("a")`,
    ],
    [
      "Effect under another name, from its module",
      "got Effect as E",
      `import * as E from "effect/Effect"\nexport const f = E.logInfo("a")`,
    ],
  ])("fails, with where it is, for %s", (_, why, text) => {
    expect(() => of(text)).toThrow(why)
    expect(() => of(text)).toThrow(/^src\/wal\/Example\.ts:\d+: /)
  })

  it("fails for a folder that belongs to no room of the document", () => {
    expect(() => of(`export const f = Effect.logInfo("a")`, "src/cellar/Example.ts")).toThrow(
      "src/cellar/Example.ts:2: expected a folder that belongs to a room of the document",
    )
  })
})
