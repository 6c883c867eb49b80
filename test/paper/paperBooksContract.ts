/** What the books of paper trading store, on every store: one suite, run on SQLite and on PostgreSQL. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Option } from "effect"
import { TestClock } from "effect/testing"
import type { SqlClient } from "effect/sql"
import * as PaperBooks from "../../src/paper/PaperBooks.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import { stateErrorOf, unstorable } from "../state/stateManagerContract.ts"
import { tick } from "../support/paperTick.ts"
import { rows } from "../support/StoredRows.ts"

/** The second fill cannot be stored: a side must not be NULL. */
const brokenTick: PaperBooks.PaperTick = {
  ...tick,
  fills: [tick.fills[0]!, { side: unstorable as "sell", price: 0.53, xrp: 4, spreadPnlRlusd: 0.02 }],
}

const notFinite = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]

const [fill] = tick.fills

/** Every place of a tick that a number has. */
const places: ReadonlyArray<readonly [string, (value: number) => PaperBooks.PaperTick]> = [
  ["bid", (bid) => ({ ...tick, bid })],
  ["ask", (ask) => ({ ...tick, ask })],
  ["xrp", (xrp) => ({ ...tick, xrp })],
  ["rlusd", (rlusd) => ({ ...tick, rlusd })],
  ["valueRlusd", (valueRlusd) => ({ ...tick, valueRlusd })],
  ["fills[1].price", (price) => ({ ...tick, fills: [fill!, { ...fill!, price }] })],
  ["fills[1].xrp", (xrp) => ({ ...tick, fills: [fill!, { ...fill!, xrp }] })],
  ["fills[1].spreadPnlRlusd", (spreadPnlRlusd) => ({ ...tick, fills: [fill!, { ...fill!, spreadPnlRlusd }] })],
  ["paper.pnl_rlusd", (value) => ({ ...tick, state: { ...tick.state, "paper.pnl_rlusd": String(value) } })],
]

type Store = PaperBooks.PaperBooks | StateManager.StateManager | SqlClient.SqlClient

export const paperBooksContract = <E>(name: string, layer: Layer.Layer<Store, E>) =>
  describe(`what ${name} stores`, () => {
    it.effect("of a tick: the snapshot with its time, the fills in order, the state", () =>
      Effect.gen(function* () {
        const books = yield* PaperBooks.PaperBooks
        yield* TestClock.adjust("4 seconds")
        yield* books.recordTick(tick)
        expect(yield* rows("SELECT * FROM paper_ticks")).toEqual([
          {
            tick_id: 1,
            session_id: 1,
            recorded_at: "1970-01-01T00:00:04.000Z",
            bid: 0.5,
            ask: 0.52,
            xrp: 110,
            rlusd: 94.9,
            value_rlusd: 151,
          },
        ])
        expect(yield* rows("SELECT * FROM paper_fills ORDER BY fill_id")).toEqual([
          { fill_id: 1, tick_id: 1, side: "buy", price: 0.51, xrp: 10, spread_pnl_rlusd: 0.05 },
          { fill_id: 2, tick_id: 1, side: "sell", price: 0.53, xrp: 4, spread_pnl_rlusd: 0.02 },
        ])
        expect(yield* rows("SELECT * FROM engine_state ORDER BY key")).toEqual([
          { key: "paper.rlusd", value: "94.9" },
          { key: "paper.xrp", value: "110" },
        ])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("of a tick without fills: no fill", () =>
      Effect.gen(function* () {
        const books = yield* PaperBooks.PaperBooks
        yield* books.recordTick({ ...tick, fills: [] })
        expect(yield* rows("SELECT tick_id FROM paper_ticks")).toHaveLength(1)
        expect(yield* rows("SELECT * FROM paper_fills")).toEqual([])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("of a tick whose second fill is refused: neither the snapshot, nor the first fill, nor the state", () =>
      Effect.gen(function* () {
        const books = yield* PaperBooks.PaperBooks
        const error = yield* stateErrorOf(books.recordTick(brokenTick))
        expect(error.reason).toBe("Constraint")
        expect(error.message).toMatch(/paper_fills\.side|"side" of relation "paper_fills"/)
        for (const table of ["paper_ticks", "paper_fills", "engine_state"]) {
          expect([table, yield* rows(`SELECT * FROM ${table}`)]).toEqual([table, []])
        }
      }).pipe(Effect.provide(layer)),
    )

    it.effect("of a tick whose last write, a state key, is refused: nothing", () =>
      Effect.gen(function* () {
        const books = yield* PaperBooks.PaperBooks
        yield* stateErrorOf(books.recordTick({ ...tick, state: { "paper.xrp": "110", "paper.rlusd": unstorable } }))
        for (const table of ["paper_ticks", "paper_fills", "engine_state"]) {
          expect([table, yield* rows(`SELECT * FROM ${table}`)]).toEqual([table, []])
        }
      }).pipe(Effect.provide(layer)),
    )

    it.effect("ticks that are recorded at the same time do not mix", () =>
      Effect.gen(function* () {
        const books = yield* PaperBooks.PaperBooks
        const sessions = Array.from({ length: 20 }, (_, i) => i + 1)
        const outcomes = yield* Effect.forEach(
          sessions,
          (sessionId) => Effect.exit(books.recordTick({ ...(sessionId % 2 === 0 ? tick : brokenTick), sessionId })),
          { concurrency: "unbounded" },
        )
        expect(outcomes.map(Exit.isSuccess)).toEqual(sessions.map((sessionId) => sessionId % 2 === 0))
        const stored = yield* rows(
          "SELECT session_id, count(*) AS fills FROM paper_ticks JOIN paper_fills USING (tick_id) GROUP BY 1 ORDER BY 1",
        )
        const even = sessions.filter((sessionId) => sessionId % 2 === 0)
        expect(stored).toEqual(even.map((session_id) => ({ session_id, fills: 2 })))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("of a tick that is refused: no key, and the next tick is stored", () =>
      Effect.gen(function* () {
        const books = yield* PaperBooks.PaperBooks
        const state = yield* StateManager.StateManager
        yield* state.setMany({ "paper.xrp": "100", "halt.reason": "kill_switch" })
        expect((yield* stateErrorOf(books.recordTick(brokenTick))).operation).toBe("recordTick")
        expect(yield* state.get("paper.xrp")).toEqual(Option.some("100"))
        expect(yield* state.get("paper.rlusd")).toEqual(Option.none())
        yield* books.recordTick(tick)
        const values = yield* Effect.forEach(["paper.xrp", "paper.rlusd", "halt.reason"], (key) => state.get(key))
        expect(values).toEqual([Option.some("110"), Option.some("94.9"), Option.some("kill_switch")])
      }).pipe(Effect.provide(layer)),
    )

    describe("of a tick with a figure", () => {
      for (const [field, broken] of places) {
        it.effect(`whose ${field} is not finite is refused, and nothing of it is stored`, () =>
          Effect.gen(function* () {
            const books = yield* PaperBooks.PaperBooks
            for (const value of notFinite) {
              const { message } = yield* stateErrorOf(books.recordTick(broken(value)))
              expect(message).toBe(
                `recordTick failed: expected ${field} to be a finite number, got ${value}; nothing was stored`,
              )
            }
            for (const table of ["paper_ticks", "paper_fills", "engine_state"]) {
              expect(yield* rows(`SELECT * FROM ${table}`), `${table}`).toEqual([])
            }
          }).pipe(Effect.provide(layer)),
        )
      }

      it.effect("may have numbers of any size, and any other text", () =>
        Effect.gen(function* () {
          const books = yield* PaperBooks.PaperBooks
          yield* books.recordTick({
            ...tick,
            bid: Number.MIN_VALUE,
            ask: -Number.MAX_VALUE,
            xrp: -0,
            state: { a: "nan" },
          })
          expect(yield* rows("SELECT bid FROM paper_ticks")).toHaveLength(1)
        }).pipe(Effect.provide(layer)),
      )
    })
  })
