import { DatabaseSync } from "node:sqlite"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Option, Result, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { SqlClient } from "effect/sql"
import * as Engine from "../../src/engine/Engine.ts"
import * as EngineProgram from "../../src/engine/EngineProgram.ts"
import * as Halt from "../../src/engine/Halt.ts"
import * as Feed from "../../src/paper/Feed.ts"
import { PaperConfig } from "../../src/paper/PaperConfig.ts"
import * as PaperProgram from "../../src/paper/PaperProgram.ts"
import * as Database from "../../src/sqlite/Database.ts"
import { StateError } from "../../src/state/StateError.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"

const defaults = Schema.decodeSync(PaperConfig.schema)({})

/** Around a middle of 1: it buys 12.5 XRP at 0.8 and sells 8 XRP at 1.25, exactly. */
const config: PaperConfig = {
  ...defaults,
  strategy: { ...defaults.strategy, bid_offset_bps: 2000, ask_offset_bps: 2500 },
  order_size: { base_size_rlusd: 10 },
  paper: { ...defaults.paper, starting_xrp: 100, starting_rlusd: 50 },
}

const fresh = Option.none<number>()
const recovery = Option.some(1)

const wide: Feed.Quote = { bid: 0.75, ask: 1.25 }
const dip: Feed.Quote = { bid: 0.7, ask: 0.8 }
const peak: Feed.Quote = { bid: 1.25, ask: 1.5 }

const encoder = new TextEncoder()
const lines = (...quotes: ReadonlyArray<Feed.Quote | string>) =>
  Feed.layerNdjson(
    "quotes.ndjson",
    Stream.make(
      encoder.encode(quotes.map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n")),
    ),
  )

/** A program on the database in the context. Each one that is built begins its feed again. */
const program = (feed: Layer.Layer<Feed.Feed>, options: Partial<PaperProgram.PaperOptions> = {}) =>
  PaperProgram.layer({ config, parentSessionId: fresh, ...options }).pipe(Layer.provide(Layer.fresh(feed)))

const database = () =>
  StateManager.layer().pipe(Layer.provideMerge(TemporaryDatabase.layer()), Layer.provideMerge(LogCapture.layer))

const onDatabase = (feed: Layer.Layer<Feed.Feed>, options: Partial<PaperProgram.PaperOptions> = {}) =>
  Layer.provideMerge(program(feed, options), database())

const tick = Effect.flatMap(EngineProgram.EngineProgram, (its) => its.tick(1))
const worth = Effect.flatMap(EngineProgram.EngineProgram, (its) => its.worth ?? Effect.succeedNone)
const ticks = (n: number) => Effect.forEach(Array.from({ length: n }), () => tick)

const rows = (query: string) =>
  Effect.map(
    SqlClient.SqlClient.use((sql) => sql.unsafe<Record<string, unknown>>(query)),
    (found) => found.map((row) => ({ ...row })),
  )

/** The state keys that begin with `paper.`, without that. */
const state = Effect.map(rows("SELECT key, value FROM engine_state WHERE key LIKE 'paper.%'"), (found) =>
  Object.fromEntries(found.map(({ key, value }) => [String(key).slice("paper.".length), value])),
)

describe("a tick", () => {
  it.effect("stores the book, the balances, the fills and the state", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("1 second")
      expect(yield* tick).toEqual(Option.none())
      yield* TestClock.adjust("4 seconds")
      expect(yield* tick).toEqual(Option.none())

      expect(yield* rows("SELECT * FROM paper_ticks ORDER BY tick_id")).toEqual([
        {
          tick_id: 1,
          session_id: 1,
          recorded_at: "1970-01-01T00:00:01.000Z",
          bid: 0.75,
          ask: 1.25,
          xrp: 100,
          rlusd: 50,
          value_rlusd: 150,
        },
        {
          tick_id: 2,
          session_id: 1,
          recorded_at: "1970-01-01T00:00:05.000Z",
          bid: 0.7,
          ask: 0.8,
          xrp: 112.5,
          rlusd: 40,
          value_rlusd: 124.375,
        },
      ])
      expect(yield* rows("SELECT * FROM paper_fills")).toEqual([
        { fill_id: 1, tick_id: 2, side: "buy", price: 0.8, xrp: 12.5, spread_pnl_rlusd: 2.5 },
      ])
      expect(yield* state).toEqual({
        xrp: "112.5",
        rlusd: "40",
        spread_pnl_rlusd: "2.5",
        fills: "1",
        pnl_rlusd: "-25.625",
        pnl_starting_value_rlusd: "150",
      })
    }).pipe(Effect.provide(onDatabase(lines(wide, dip)))),
  )

  it.effect("belongs to the session that the engine names", () =>
    Effect.gen(function* () {
      const { tick } = yield* EngineProgram.EngineProgram
      yield* tick(41)
      yield* tick(42)
      expect(yield* rows("SELECT session_id FROM paper_ticks ORDER BY tick_id")).toEqual([
        { session_id: 41 },
        { session_id: 42 },
      ])
    }).pipe(Effect.provide(onDatabase(lines(wide, wide)))),
  )

  it.effect("logs each fill", () =>
    Effect.gen(function* () {
      yield* ticks(3)
      const fills = yield* LogCapture.logged("paper fill")
      expect(fills.map(({ level, fields }) => [level, fields])).toEqual([
        ["Info", { side: "buy", price: 0.8, xrp: 12.5, spread_pnl_rlusd: 2.5 }],
      ])
    }).pipe(Effect.provide(onDatabase(lines(wide, dip, { bid: 0.7, ask: 0.8 })))),
  )

  it.effect("knows the worth from the first quote on, and what it is now", () =>
    Effect.gen(function* () {
      expect(yield* worth).toEqual(Option.none())
      yield* tick
      expect(yield* worth).toEqual(Option.some({ starting: 150, ending: 150 }))
      yield* tick
      expect(yield* worth).toEqual(Option.some({ starting: 150, ending: 124.375 }))
    }).pipe(Effect.provide(onDatabase(lines(wide, dip)))),
  )

  it.effect("halts above a cap, after it was stored", () =>
    Effect.gen(function* () {
      expect(yield* tick).toEqual(Option.none())
      expect(yield* tick).toEqual(
        Option.some({ reason: "risk_xrp_exposure", detail: "112.5 XRP is above the cap of 112" }),
      )
      expect((yield* state)["xrp"]).toBe("112.5")
      expect(yield* rows("SELECT tick_id FROM paper_ticks")).toHaveLength(2)
    }).pipe(
      Effect.provide(
        onDatabase(lines(wide, dip), { config: { ...config, risk: { ...config.risk, max_xrp_exposure: 112 } } }),
      ),
    ),
  )

  it.effect("fails when the feed breaks, and stores nothing", () =>
    Effect.gen(function* () {
      const result = yield* Effect.result(tick)
      expect(Result.isFailure(result) && result.failure).toBeInstanceOf(Feed.FeedError)
      expect(yield* rows("SELECT tick_id FROM paper_ticks")).toEqual([])
    }).pipe(Effect.provide(onDatabase(Feed.layerNdjson("quotes.ndjson", Stream.fail(new Error("gone")))))),
  )
})

describe("a tick that cannot be stored", () => {
  /** Refuses the last write of a tick, so that everything before it has been written. */
  const refuseLast = SqlClient.SqlClient.use((sql) =>
    sql.unsafe(
      `CREATE TRIGGER full BEFORE UPDATE ON engine_state WHEN new.key = 'paper.pnl_starting_value_rlusd'
       BEGIN SELECT RAISE(ABORT, 'no room'); END`,
    ),
  )
  const acceptAgain = SqlClient.SqlClient.use((sql) => sql.unsafe("DROP TRIGGER full"))

  const everything = Effect.all({
    state: rows("SELECT * FROM engine_state ORDER BY key"),
    ticks: rows("SELECT * FROM paper_ticks"),
    fills: rows("SELECT * FROM paper_fills"),
  })

  it.effect("leaves nothing of it, for snapshot, fills and state are one transaction", () =>
    Effect.gen(function* () {
      yield* tick
      const before = yield* everything
      yield* refuseLast
      const result = yield* Effect.result(tick) // this one would buy
      expect(Result.isFailure(result) && result.failure).toBeInstanceOf(StateError)
      expect(Result.isFailure(result) && String(result.failure)).toContain("no room")
      expect(yield* everything).toEqual(before)
      expect([before.ticks.length, before.state.length]).toEqual([1, 6])
    }).pipe(Effect.provide(onDatabase(lines(wide, dip)))),
  )

  it.effect("moves no memory either: the next tick goes on from the last one that was stored", () =>
    Effect.gen(function* () {
      yield* tick
      yield* refuseLast
      yield* Effect.exit(tick) // would buy at 0.8 and quote around 0.75
      expect(yield* worth).toEqual(Option.some({ starting: 150, ending: 150 }))
      expect(yield* LogCapture.logged("paper fill")).toEqual([])
      yield* acceptAgain
      yield* tick // sells at 1.25: the orders around 1 still rest
      expect(yield* rows("SELECT side, price FROM paper_fills")).toEqual([{ side: "sell", price: 1.25 }])
      const { fills, rlusd, xrp } = yield* state
      expect([xrp, rlusd, fills]).toEqual(["92", "60", "1"])
    }).pipe(Effect.provide(onDatabase(lines(wide, dip, peak)))),
  )
})

describe("the end of the feed", () => {
  it.effect("halts with replay_exhausted, says how many lines were refused, and stores no tick", () =>
    Effect.gen(function* () {
      expect(yield* ticks(2)).toEqual([Option.none(), Option.none()])
      for (const _ of [1, 2]) {
        expect(yield* tick).toEqual(
          Option.some({ reason: "replay_exhausted", detail: "the feed has ended, 3 lines of it were refused" }),
        )
      }
      expect(yield* rows("SELECT tick_id FROM paper_ticks")).toHaveLength(2)
    }).pipe(Effect.provide(onDatabase(lines("bad", wide, "{}", "worse", dip)))),
  )

  it.effect("is what the engine stores, and asks to halt for", () =>
    Effect.gen(function* () {
      yield* Effect.gen(function* () {
        yield* Engine.Engine
        const halt = yield* Halt.Halt
        const request = yield* halt.awaitRequest
        expect(request).toEqual({ reason: Option.none(), detail: "the feed has ended, 0 lines of it were refused" })
      }).pipe(Effect.provide(Engine.layer({ tickInterval: "4 seconds", duration: 0, parentSessionId: fresh })))

      const { get, lastSession } = yield* StateManager.StateManager
      expect(yield* get("halt.reason")).toEqual(Option.some("replay_exhausted"))
      expect(yield* get("halt.detail")).toEqual(Option.some("the feed has ended, 0 lines of it were refused"))
      expect(yield* get("engine_status")).toEqual(Option.some("HALTED"))
      const session = Option.getOrThrow(yield* lastSession)
      expect(session.haltReason).toEqual(Option.some("replay_exhausted"))
      expect(session.startingValueRlusd).toEqual(Option.none()) // there never was a quote
    }).pipe(Effect.provide(Layer.mergeAll(onDatabase(lines()), Halt.layer))),
  )
})

describe("where a session begins", () => {
  /** A session that buys once, and leaves its state behind. */
  const before = Effect.provide(ticks(2), program(lines(wide, dip)))

  const firstTick = (options: Partial<PaperProgram.PaperOptions>, book = wide) =>
    Effect.provide(Effect.andThen(tick, worth), program(lines(book), options))

  it.effect("a recovery restart goes on with what is stored", () =>
    Effect.gen(function* () {
      yield* before
      const now = yield* firstTick({ parentSessionId: recovery })
      expect(yield* state).toEqual({
        xrp: "112.5",
        rlusd: "40",
        spread_pnl_rlusd: "2.5",
        fills: "1",
        pnl_rlusd: "2.5", // 152.5 now, 150 at the start of the session that is recovered
        pnl_starting_value_rlusd: "150",
      })
      expect(now).toEqual(Option.some({ starting: 150, ending: 152.5 }))
    }).pipe(Effect.provide(database())),
  )

  it.effect("a fresh session starts with what is configured, whatever is stored", () =>
    Effect.gen(function* () {
      yield* before
      const now = yield* firstTick({ parentSessionId: fresh }, { bid: 1.5, ask: 2.5 })
      expect(yield* state).toEqual({
        xrp: "100",
        rlusd: "50",
        spread_pnl_rlusd: "0",
        fills: "0",
        pnl_rlusd: "0",
        pnl_starting_value_rlusd: "250",
      })
      expect(now).toEqual(Option.some({ starting: 250, ending: 250 }))
    }).pipe(Effect.provide(database())),
  )

  it.effect("a recovery restart does not fill an order that rested before it", () =>
    Effect.gen(function* () {
      yield* before
      yield* Effect.provide(tick, program(lines(dip), { parentSessionId: recovery }))
      expect(yield* rows("SELECT tick_id FROM paper_fills")).toEqual([{ tick_id: 2 }])
    }).pipe(Effect.provide(database())),
  )

  it.effect("a balance of zero is recovered as zero", () =>
    Effect.gen(function* () {
      yield* StateManager.StateManager.use((its) => its.setMany({ "paper.xrp": "0", "paper.rlusd": "7.25" }))
      yield* firstTick({ parentSessionId: recovery })
      const { rlusd, xrp } = yield* state
      expect([xrp, rlusd]).toEqual(["0", "7.25"])
    }).pipe(Effect.provide(database())),
  )

  for (const [what, stored] of [
    ["that was never stored", undefined],
    ["that was cleared", ""],
    ["that cannot be read", "plenty"],
    ["that is not finite", "Infinity"],
  ] as const) {
    it.effect(`a recovery restart takes the configured balance for one ${what}`, () =>
      Effect.gen(function* () {
        yield* StateManager.StateManager.use((its) =>
          its.setMany({ "paper.rlusd": "40", ...(stored === undefined ? {} : { "paper.xrp": stored }) }),
        )
        const now = yield* firstTick({ parentSessionId: recovery })
        const { rlusd, xrp } = yield* state
        expect([xrp, rlusd]).toEqual(["100", "40"])
        expect(now).toEqual(Option.some({ starting: 140, ending: 140 }))
      }).pipe(Effect.provide(database())),
    )
  }
})

describe("two sessions on two databases", () => {
  /** 200 ticks of a whole engine on a random walk, and what they leave behind, without the times. */
  const session = Effect.fnUntraced(function* (seed: number) {
    const file = yield* TemporaryDatabase.file
    yield* Effect.gen(function* () {
      const { ticks } = yield* Engine.Engine
      yield* TestClock.adjust("796 seconds")
      expect(yield* ticks).toBe(200)
    }).pipe(
      Effect.provide(
        Engine.layer({ tickInterval: "4 seconds", duration: 0, parentSessionId: fresh }).pipe(
          Layer.provideMerge(
            PaperProgram.layer({ config: defaults, parentSessionId: fresh }).pipe(
              Layer.provide(Feed.layerRandomWalk({ seed, price: defaults.paper.starting_price_rlusd })),
            ),
          ),
          Layer.provideMerge(StateManager.layer()),
          Layer.provideMerge(Database.layer({ filename: file, durability: "normal" })),
          Layer.provideMerge(Halt.layer),
        ),
      ),
    )
    return yield* Effect.acquireUseRelease(
      Effect.sync(() => new DatabaseSync(file, { readOnly: true })),
      (left) =>
        Effect.sync(() => ({
          state: left.prepare("SELECT key, value FROM engine_state ORDER BY key").all(),
          ticks: left
            .prepare("SELECT tick_id, session_id, bid, ask, xrp, rlusd, value_rlusd FROM paper_ticks ORDER BY tick_id")
            .all(),
          fills: left.prepare("SELECT * FROM paper_fills ORDER BY fill_id").all(),
        })),
      (left) => Effect.sync(() => left.close()),
    )
  })

  it.effect("leave the same behind when the seed is the same", () =>
    Effect.gen(function* () {
      const first = yield* session(1)
      const second = yield* session(1)
      expect(first.ticks).toHaveLength(200)
      expect(first.fills.length).toBeGreaterThan(10)
      expect(first.state.map(({ key }) => key)).toContain("paper.pnl_rlusd")
      expect(second).toEqual(first)
    }),
  )

  it.effect("leave something else behind when it is not", () =>
    Effect.gen(function* () {
      const first = yield* session(1)
      const second = yield* session(2)
      expect(second.ticks).toHaveLength(200)
      expect(second.ticks).not.toEqual(first.ticks)
      expect(second.state).not.toEqual(first.state)
    }),
  )
})

describe("the figures of a program", () => {
  const figures = Effect.flatMap(EngineProgram.EngineProgram, (its) => its.figures ?? Effect.succeed([]))
  const values = Effect.map(figures, (all) => Object.fromEntries(all.map(({ name, value }) => [name, value])))

  it.effect("are what it holds now, and what that is worth once a quote has come", () =>
    Effect.gen(function* () {
      expect(yield* values).toEqual({ xrp: 100, rlusd: 50, spread_pnl: 0, fills: 0 })
      yield* ticks(2)
      expect(yield* values).toEqual({ xrp: 112.5, rlusd: 40, spread_pnl: 2.5, fills: 1, value: 124.375, pnl: -25.625 })
    }).pipe(Effect.provide(onDatabase(lines(wide, dip)))),
  )
})
