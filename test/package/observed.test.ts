/**
 * That whatever a program with Seawall in it is seen to log, count and trace is in `docs/observability.md`, with these fields,
 * labels and attributes: what no reading of the source can tell.
 */
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Metric, Option, Scope, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import * as fs from "node:fs"
import * as Dashboard from "../../src/dashboard/Dashboard.ts"
import * as LiveLog from "../../src/dashboard/LiveLog.ts"
import * as EngineProgram from "../../src/engine/EngineProgram.ts"
import * as Halt from "../../src/engine/Halt.ts"
import * as Main from "../../src/engine/Main.ts"
import * as Session from "../../src/engine/Session.ts"
import * as Feed from "../../src/paper/Feed.ts"
import { PaperConfig } from "../../src/paper/PaperConfig.ts"
import * as PaperProgram from "../../src/paper/PaperProgram.ts"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import { Writer } from "../../src/sql/Writer.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as ScriptedCheckpointer from "../../src/testing/ScriptedCheckpointer.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import { lived } from "../support/LifeCycle.ts"
import { parse } from "../support/ObservableDocument.ts"
import { attributesOf, recordingTracer } from "../support/Spans.ts"

const document = parse(fs.readFileSync(new URL("../../docs/observability.md", import.meta.url), "utf8"))

/** What a program is seen by, beside its log. */
const instruments = () => {
  const registry = new Map()
  const spans = recordingTracer()
  const under = <A, E, R>(self: Effect.Effect<A, E, R>) =>
    self.pipe(Effect.provideService(Metric.MetricRegistry, registry), Effect.provide(spans.layer))
  const series = Effect.provideService(Metric.snapshot, Metric.MetricRegistry, registry)
  return { series, spans, under }
}

/** Lines that the document does not have so, as sentences. */
const unknownLines = (entries: ReadonlyArray<LogCapture.Entry>) => [
  ...new Set(
    entries.flatMap(({ cause, event, fields, level }) => {
      const rows = document.events.filter(({ name, levels }) => name === event && levels.includes(level.toUpperCase()))
      if (rows.length === 0) return [`${event} at ${level}`]
      const known = new Set([...document.carried, ...rows.flatMap((row) => row.fields)])
      const names = [...Object.keys(fields), ...(cause === "" ? [] : ["cause"])]
      return names.filter((name) => !known.has(name)).map((name) => `${event} with ${name}`)
    }),
  ),
]

/** Series whose metric the document does not have with exactly these labels. */
const unknownSeries = (series: ReadonlyArray<Metric.Metric.Snapshot>) =>
  series.flatMap(({ attributes = {}, description = "", id }) => {
    const row = document.metrics.find(({ name }) => name === id)
    const labels = Object.keys(attributes).toSorted().join(", ")
    const isKnown = row?.attributes.toSorted().join(", ") === labels && row.cells[4]?.startsWith(description)
    return isKnown === true ? [] : [`${id} with ${labels}: ${description}`]
  })

const unknownSpans = (spans: ReturnType<typeof recordingTracer>) =>
  spans.names().flatMap((name) => {
    const rows = document.spans.filter((row) => row.name === name.replace(/^Migrator .+/, "Migrator *"))
    if (rows.length === 0) return [name]
    const known = new Set(rows.flatMap((row) => row.attributes))
    const found = spans.of(name).flatMap((span) => Object.keys(attributesOf(span)))
    return [...new Set(found)].filter((it) => !known.has(it)).map((it) => `${name} with ${it}`)
  })

/** The attributes that no span of this name had, though the document has them. */
const neverSeen = (spans: ReturnType<typeof recordingTracer>, name: string) => {
  const found = new Set(spans.of(name).flatMap((span) => Object.keys(attributesOf(span))))
  return document.spans
    .filter((row) => row.name === name)
    .flatMap((row) => row.attributes.filter((it) => !found.has(it)))
}

const eventsOf = (entries: ReadonlyArray<LogCapture.Entry>) =>
  [...new Set(entries.map(({ event }) => event))].toSorted()

const eventsIn = (room: string) => document.events.flatMap((row) => (row.room === room ? [row.name] : []))

const encoder = new TextEncoder()
const quotes = ['{"bid":0.75,"ask":1.25}', "no quote", '{"bid":0.7,"ask":0.8}', '{"bid":1.25,"ask":1.5}']
const feed = Feed.layerNdjson("quotes.ndjson", Stream.make(encoder.encode(quotes.join("\n"))))

describe("the document knows", () => {
  it.effect("all that a paper session is seen by, from its start to its end", () =>
    Effect.gen(function* () {
      const { series, spans, under } = instruments()
      const config = yield* PaperConfig.load({ source: "test", yaml: "", overrides: {} })
      const { entries, returned } = yield* under(
        lived({
          file: yield* TemporaryDatabase.file,
          program: PaperProgram.layer({ config, parentSessionId: Option.none() }).pipe(Layer.provide(feed)),
          engine: { wal_checkpoint_interval_seconds: 5 },
          act: TestClock.adjust("1 minute"),
        }),
      )
      expect(returned).toBe("halted")
      expect(unknownLines(entries)).toEqual([])
      expect(unknownSeries(yield* series)).toEqual([])
      expect(unknownSpans(spans)).toEqual([])
      expect(eventsOf(entries)).toEqual(
        expect.arrayContaining(["engine running", "engine halted", "paper fill", "feed line refused", "shutdown step"]),
      )
      expect((yield* series).map(({ id }) => id)).toContain("seawall_engine_ticks_total")
      for (const name of ["Writer.execute", "Writer.transaction", "Writer.batch", "Checkpointer.run"]) {
        expect(spans.names(), `${name}`).toContain(name)
        expect(neverSeen(spans, name), `${name}`).toEqual([])
      }
      const steps = entries.flatMap(({ event, fields }) => (event === "shutdown step" ? [fields["step"]] : []))
      expect(steps).toEqual(document.steps.filter((step) => steps.includes(step)))
      expect(steps.length).toBeGreaterThan(8)
      const foreign = new Set(["Paper", "Effect"].flatMap(eventsIn))
      const unnamed = entries.flatMap(({ event, fields }) => (fields["logger"] === "seawall" ? [] : [event]))
      expect(unnamed.filter((event) => !foreign.has(event))).toEqual([])
    }),
  )

  it.effect("all that a guard is seen by whose checkpoints fail, are blocked, are slow and hang", () =>
    Effect.gen(function* () {
      const { series, spans, under } = instruments()
      const script: ScriptedCheckpointer.Script = (run, mode) => {
        if (mode === "TRUNCATE") return { row: { busy: 1, log: 10, checkpointed: 10 } }
        if (run < 2) return { failsWith: 10 }
        if (run < 5) return { row: { busy: 0, log: 10, checkpointed: 4 } }
        return run < 7 ? { takes: "1 second" } : {}
      }
      const guarded = WalGuard.layer({ interval: "10 seconds" }).pipe(
        Layer.provideMerge(ScriptedCheckpointer.layer(script)),
        Layer.provideMerge(TemporaryDatabase.layer()),
        Layer.provideMerge(Shutdown.layer()),
      )
      const entries = yield* under(
        Effect.gen(function* () {
          const log = yield* Layer.build(LogCapture.layer)
          const scope = yield* Scope.make()
          const context = yield* Dashboard.layer({ port: 0 }).pipe(
            Layer.provideMerge(guarded),
            Layer.provideMerge(LiveLog.layer),
            Layer.buildWithScope(scope),
            Effect.provideContext(log),
          )
          yield* Effect.gen(function* () {
            const guard = yield* WalGuard.WalGuard
            yield* SqlClient.SqlClient.use((sql) => sql`CREATE TABLE t (a)`)
            yield* Writer.use((writer) => writer.execute("INSERT INTO t VALUES (?)", [1]))
            yield* Writer.use((writer) => writer.transaction(SqlClient.SqlClient.use((sql) => sql`DELETE FROM t`)))
            yield* guard.start
            yield* TestClock.adjust("120 seconds")
            yield* guard.setInterval("20 seconds")
            yield* TestClock.adjust("20 seconds")
            yield* guard.setInterval(0)
            yield* guard.setInterval("20 seconds")
          }).pipe(Effect.provideContext(context))
          yield* Scope.close(scope, Exit.void)
          return Context.get(log, LogCapture.LogCapture).entries
        }),
      )
      expect(unknownLines(entries)).toEqual([])
      expect(unknownSeries(yield* series)).toEqual([])
      expect(unknownSpans(spans)).toEqual([])
      expect(eventsOf(entries)).toEqual(
        expect.arrayContaining([
          "dashboard",
          "wal_checkpoint failed",
          "wal_checkpoint recovered",
          "wal_checkpoint blocked",
          "wal_checkpoint unblocked",
          "wal_checkpoint slow",
          "wal_checkpoint already started",
          "wal_checkpoint interval changed",
          "wal_checkpoint stopped",
          "wal_checkpoint truncate incomplete",
          "wal_checkpoint aggregate",
        ]),
      )
      const counted = new Set((yield* series).map(({ id }) => id))
      const uncounted = document.metrics.flatMap(({ name }) => (counted.has(name) ? [] : [name]))
      // Those of an engine, on a server too.
      expect(uncounted.filter((name) => !name.startsWith("seawall_engine_"))).toEqual([])
    }),
  )

  it.effect("which lines are Seawall's and which are the program's, in each part of a program's life", () =>
    Effect.gen(function* () {
      const say = (what: string) => Effect.annotateLogs(Effect.logInfo(what), { said: "by the program" })
      const Program = Layer.effect(
        EngineProgram.EngineProgram,
        Effect.as(say("start"), {
          tick: () => Effect.as(say("tick"), EngineProgram.noHalt),
          worth: Effect.as(say("worth"), Option.none()),
        }),
      )
      const file = yield* TemporaryDatabase.file
      const config = yield* PaperConfig.load({
        source: "test",
        yaml: "",
        overrides: { engine: { database: file, wal_checkpoint_thread: false, integrity_check: "off", backups: 0 } },
      })
      const session = Session.layer({ config, parentSessionId: Option.none(), program: Program })
      const ending = Effect.acquireRelease(say("above"), () => say("end"))
      const running = Effect.gen(function* () {
        const context = yield* Layer.build(session)
        yield* ending
        yield* TestClock.adjust("1 minute")
        yield* Effect.provideContext(
          Halt.Halt.use((halt) => halt.request({ reason: Option.none(), detail: "" })),
          context,
        )
        return yield* Effect.never
      })
      const code = Main.untilHalt(running).pipe(
        Effect.andThen(LogCapture.LogCapture.use(({ entries }) => Effect.succeed(entries))),
        Effect.provide(
          Layer.mergeAll(Halt.layer, Shutdown.layer()).pipe(
            Layer.provideMerge(LogCapture.layer),
            Layer.provideMerge(TemporaryDatabase.quickDisk),
          ),
        ),
      )
      const entries = yield* code
      const own = entries.filter(({ fields }) => fields["said"] === "by the program")
      expect([...new Set(own.map(({ event }) => event))].toSorted()).toEqual(["above", "end", "start", "tick", "worth"])
      expect(own.filter(({ fields }) => "logger" in fields || "database" in fields)).toEqual([])
      const others = entries.filter((entry) => !own.includes(entry))
      expect(eventsOf(others)).toEqual(expect.arrayContaining(["session ended", "engine halted", "shutdown step"]))
      expect(others.filter(({ fields }) => fields["logger"] !== "seawall").map(({ event }) => event)).toEqual([])
      expect(unknownLines(others)).toEqual([])
    }),
  )
})
