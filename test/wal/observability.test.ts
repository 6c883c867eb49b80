/** What a program with several databases can tell apart from outside: log lines, metric series and spans. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Metric, Option, References, Scope } from "effect"
import { TestClock } from "effect/testing"
import { SqlClient } from "effect/sql"
import { Writer } from "../../src/sql/Writer.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import * as Database from "../../src/sqlite/Database.ts"
import type * as GuardedDatabase from "../../src/wal/GuardedDatabase.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import { settle } from "../support/ScriptedDisk.ts"
import { attributesOf, recordingTracer } from "../support/Spans.ts"

const guarded = (file: string, options: WalGuard.WalGuardOptions = {}) =>
  WalGuard.layer({ maxFrames: 0, ...options }).pipe(
    Layer.provideMerge(Checkpointer.layerInline()),
    Layer.provideMerge(TemporaryDatabase.alone(Database.layer({ filename: file }))),
    Layer.provide(TemporaryDatabase.quickDisk),
  )

/** Both databases of a program, what it logs, and their metrics. */
const program = Effect.fnUntraced(function* (
  below: Layer.Layer<never> = Layer.empty,
  options: WalGuard.WalGuardOptions = {},
) {
  const folder = yield* TemporaryDatabase.folder
  const names = { prices: `${folder}/prices.db`, orders: `${folder}/orders.db` }
  const registry = new Map()
  const ground = yield* Layer.build(
    LogCapture.layer.pipe(
      Layer.provideMerge(Layer.succeed(Metric.MetricRegistry, registry)),
      Layer.provideMerge(below),
    ),
  )
  const scope = yield* Scope.make()
  yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
  const open = (file: string) =>
    Effect.map(
      Layer.buildWithScope(guarded(file, options), scope).pipe(Effect.provideContext(ground)),
      (context) =>
        <A, E>(self: Effect.Effect<A, E, GuardedDatabase.Provided>) =>
          Effect.provideContext(self, Context.merge(ground, context)),
    )
  const [prices, orders] = [yield* open(names.prices), yield* open(names.orders)]
  for (const inside of [prices, orders]) {
    yield* inside(SqlClient.SqlClient.use((sql) => sql`CREATE TABLE t (a)`)).pipe(Effect.withTracerEnabled(false))
  }
  return {
    names,
    prices,
    orders,
    registry,
    entries: Context.get(ground, LogCapture.LogCapture).entries,
    close: Scope.close(scope, Exit.void),
  }
})

const insert = Writer.use((writer) => writer.execute("INSERT INTO t (a) VALUES (?)", [1]))

const of = (entries: ReadonlyArray<LogCapture.Entry>, database: string) =>
  entries.flatMap(({ event, fields }) =>
    fields["database"] === database ? [event === "shutdown step" ? fields["step"] : event] : [],
  )

describe("a log line", () => {
  it.effect("of a guard and of a database says which database it is about, from the start to the end", () =>
    Effect.gen(function* () {
      const { close, entries, names, orders, prices } = yield* program()
      yield* orders(WalGuard.WalGuard.use((guard) => guard.setInterval("30 seconds")))
      yield* TestClock.adjust("60 seconds")
      yield* prices(WalGuard.WalGuard.use((guard) => guard.start))
      yield* close
      const end = [
        "stop wal_checkpoint loop",
        "wal_checkpoint aggregate",
        "drain writes",
        "wal_checkpoint",
        "wal_checkpoint truncate",
        "restore autocheckpoint",
        "close database",
      ]
      expect(of(entries, names.prices)).toEqual([
        "wal_checkpoint started",
        "wal_checkpoint",
        "wal_checkpoint already started",
        ...end,
      ])
      expect(of(entries, names.orders)).toEqual([
        "wal_checkpoint started",
        "wal_checkpoint interval changed",
        "wal_checkpoint",
        "wal_checkpoint",
        ...end,
      ])
      for (const { event, fields } of entries) {
        expect(fields["logger"], `${event}`).toBe("seawall")
        expect([names.prices, names.orders], `${event}`).toContain(fields["database"])
      }
    }),
  )

  it.effect("of what goes on as it should is INFO only where an operator counts on it", () =>
    Effect.gen(function* () {
      const { close, entries } = yield* program()
      yield* TestClock.adjust("60 seconds")
      yield* close
      const levels = new Map(entries.map(({ event, level }) => [event, level]))
      expect(Object.fromEntries(levels)).toEqual({
        "wal_checkpoint started": "Info",
        wal_checkpoint: "Info",
        "wal_checkpoint aggregate": "Info",
        "shutdown step": "Debug",
      })
    }),
  )

  it.effect("of a caller is the caller's own, also inside a transaction of the writer and after it", () =>
    Effect.gen(function* () {
      const { entries, prices } = yield* program()
      const said = Effect.logInfo("said by the caller")
      yield* prices(
        Effect.gen(function* () {
          const writer = yield* Writer
          const sql = yield* SqlClient.SqlClient
          yield* writer.transaction(Effect.andThen(said, sql.afterCommit(said)))
          expect(yield* writer.transaction(Metric.CurrentMetricAttributes)).toEqual({})
          yield* Effect.annotateLogs(writer.transaction(said), { own: true })
          yield* said
        }),
      )
      const fields = entries.filter(({ event }) => event === "said by the caller").map((entry) => entry.fields)
      expect(fields).toEqual([{}, {}, { own: true }, {}])
    }),
  )

  it.effect("of an adopted database says the path that SQLite has for it", () =>
    Effect.gen(function* () {
      const file = `${yield* TemporaryDatabase.folder}/adopted.db`
      const log = yield* Layer.build(LogCapture.layer)
      yield* TestClock.adjust("60 seconds").pipe(
        Effect.provide(
          WalGuard.layer({ maxFrames: 0 }).pipe(
            Layer.provideMerge(Checkpointer.layerInline()),
            Layer.provideMerge(TemporaryDatabase.alone(Database.layerClient())),
            Layer.provideMerge(Database.layer({ filename: file })),
            Layer.provide(TemporaryDatabase.quickDisk),
          ),
        ),
        Effect.provideContext(log),
      )
      const { entries } = Context.get(log, LogCapture.LogCapture)
      expect(entries.length).toBeGreaterThan(3)
      expect([...new Set(entries.map(({ fields }) => fields["database"]))]).toEqual([file])
    }),
  )
})

describe("a metric", () => {
  it.effect("has one series for each database, and none that is of no database", () =>
    Effect.gen(function* () {
      const { close, names, orders, prices, registry } = yield* program()
      const surrounding = { service: "desk" }
      yield* Effect.provideService(prices(insert), Metric.CurrentMetricAttributes, surrounding)
      yield* orders(insert)
      yield* TestClock.adjust("60 seconds")
      yield* orders(Checkpointer.Checkpointer.use((checkpointer) => checkpointer.run("PASSIVE")))
      yield* close
      const series = yield* Effect.provideService(Metric.snapshot, Metric.MetricRegistry, registry)
      const of = (database: string) => [
        ...new Set(series.filter(({ attributes }) => attributes?.["database"] === database).map(({ id }) => id)),
      ]
      const all = [
        "seawall_exposure_seconds",
        "seawall_log_sync_duration_seconds",
        "seawall_wal_backlog_frames",
        "seawall_wal_checkpoint_duration_seconds",
        "seawall_wal_checkpoints_total",
        "seawall_wal_frames",
        "seawall_write_batch_size",
        "seawall_write_commit_duration_seconds",
        "seawall_write_queue_depth",
      ]
      expect(of(names.prices).toSorted()).toEqual(all)
      expect(of(names.orders).toSorted()).toEqual(all)
      expect(series.filter(({ attributes }) => attributes?.["database"] === undefined)).toEqual([])
      const passive = (database: string) =>
        series.find(
          ({ attributes, id }) =>
            id === "seawall_wal_checkpoints_total" &&
            attributes?.["database"] === database &&
            attributes["mode"] === "PASSIVE",
        )?.state
      expect(passive(names.prices)).toMatchObject({ count: 1 })
      expect(passive(names.orders)).toMatchObject({ count: 2 })
    }),
  )
})

describe("a span", () => {
  it.effect("is made of each write, which links to that of its batch, and of each checkpoint", () =>
    Effect.gen(function* () {
      const spans = recordingTracer()
      const { names, orders, prices } = yield* program(spans.layer)
      yield* prices(Effect.withSpan(Effect.all([insert, insert], { concurrency: "unbounded" }), "caller"))
      yield* orders(insert)
      yield* TestClock.adjust("60 seconds")
      expect(spans.names()).toEqual([
        "caller",
        "Writer.execute",
        "Writer.execute",
        "Writer.batch",
        "Writer.execute",
        "Writer.batch",
        "Checkpointer.run",
        "Checkpointer.run",
      ])
      const [first, second, third] = spans.of("Writer.execute")
      const [both, one] = spans.of("Writer.batch")
      expect(attributesOf(first)).toEqual({
        "db.system.name": "sqlite",
        "db.namespace": names.prices,
        "db.query.text": "INSERT INTO t (a) VALUES (?)",
        "db.operation.batch.size": 2,
        "seawall.queued_ms": 0,
        "seawall.committed_ms": 0,
        "seawall.synced_ms": 0,
      })
      expect(first?.links.map(({ span }) => span)).toEqual([both])
      expect(second?.links.map(({ span }) => span)).toEqual([both])
      expect(third?.links.map(({ span }) => span)).toEqual([one])
      const parentOf = (span: typeof first) => Option.getOrUndefined(span!.parent)
      expect(parentOf(first)).toBe(spans.of("caller")[0])
      expect(attributesOf(both)).toEqual({
        "db.system.name": "sqlite",
        "db.namespace": names.prices,
        "db.operation.batch.size": 2,
        "seawall.commit_ms": 0,
        "seawall.sync_ms": 0,
      })
      expect(attributesOf(spans.of("Checkpointer.run")[1])).toEqual({
        "db.system.name": "sqlite",
        "db.namespace": names.orders,
        "seawall.checkpoint.mode": "PASSIVE",
        "seawall.checkpoint.outcome": "Complete",
        "seawall.checkpoint.log_frames": 3,
        "seawall.checkpoint.checkpointed_frames": 3,
        "seawall.checkpoint.elapsed_ms": 0,
      })
      for (const span of [first, second, third, both, one, ...spans.of("Checkpointer.run")]) {
        expect(span?.status._tag, `${span?.name}`).toBe("Ended")
      }
    }),
  )

  it.effect("is around what a transaction of the writer runs", () =>
    Effect.gen(function* () {
      const spans = recordingTracer()
      const { prices } = yield* program(spans.layer)
      const writing = SqlClient.SqlClient.use((sql) => sql`INSERT INTO t (a) VALUES (1)`)
      yield* prices(Writer.use((writer) => writer.transaction(Effect.withSpan(writing, "inner"))))
      yield* settle
      expect(spans.names()).toEqual([
        "Writer.transaction",
        "Writer.batch",
        "sql.transaction",
        "inner",
        expect.stringContaining("sql"),
      ])
      const [transaction] = spans.of("Writer.transaction")
      expect(Option.getOrUndefined(spans.of("sql.transaction")[0]!.parent)).toBe(transaction)
      expect(transaction?.status._tag).toBe("Ended")
      expect(spans.of("Writer.batch")[0]?.status._tag).toBe("Ended")
    }),
  )

  it.effect("of a write that fails, or that its caller gives up, ends, and that of its batch too", () =>
    Effect.gen(function* () {
      const spans = recordingTracer()
      const { prices } = yield* program(spans.layer)
      const failing = Writer.use((writer) => writer.execute("INSERT INTO missing VALUES (1)"))
      expect(Exit.isFailure(yield* Effect.exit(prices(failing)))).toBe(true)
      const stuck = Writer.use((writer) => writer.transaction(Effect.never))
      yield* prices(Effect.timeoutOption(stuck, "1 second")).pipe(
        Effect.forkChild({ startImmediately: true }),
        Effect.andThen(TestClock.adjust("1 second")),
      )
      yield* prices(insert)
      yield* settle
      const made = [...spans.of("Writer.execute"), ...spans.of("Writer.transaction"), ...spans.of("Writer.batch")]
      expect(made.map(({ name, status }) => [name, status._tag])).toEqual([
        ["Writer.execute", "Ended"],
        ["Writer.execute", "Ended"],
        ["Writer.transaction", "Ended"],
        ["Writer.batch", "Ended"],
        ["Writer.batch", "Ended"],
        ["Writer.batch", "Ended"],
      ])
    }),
  )

  it.effect("is not made of a look at the WAL, nor of what a guard sets and gives back", () =>
    Effect.gen(function* () {
      const spans = recordingTracer()
      const { close, orders } = yield* program(spans.layer, { writers: "elsewhere", maxFrames: 4000 })
      yield* TestClock.adjust("59 seconds") // ten looks a second
      yield* orders(Checkpointer.Checkpointer.use((checkpointer) => checkpointer.frames))
      expect(spans.names()).toEqual([])
      yield* close
      expect(spans.names()).toEqual(["Checkpointer.run", "Checkpointer.run"]) // TRUNCATE
    }),
  )

  it.effect("is not made without a tracer that anything receives it from, or where tracing is off", () =>
    Effect.gen(function* () {
      const spans = recordingTracer()
      const inside = Writer.use((writer) => writer.transaction(Effect.option(Effect.currentSpan)))
      const { prices } = yield* program()
      const seen = yield* prices(inside)
      expect(Option.map(seen, ({ name }) => name)).toEqual(Option.some("sql.transaction")) // Effect's own
      const traced = yield* program(spans.layer)
      yield* traced.prices(inside).pipe(Effect.provideService(References.TracerEnabled, false))
      expect(spans.names()).toEqual([])
    }),
  )
})
