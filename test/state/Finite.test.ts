/** Figures that are no finite numbers: what is refused by name, and that nothing of it is stored. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import { type PaperTick, StateManager } from "../../src/state/StateManager.ts"
import { temporaryDatabase } from "../../src/testing/TemporaryDatabase.ts"
import { stateErrorOf, tick } from "./stateManagerContract.ts"

const onSqlite = () => Layer.provideMerge(StateManager.layer(), temporaryDatabase())

const notFinite = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]

const count = (table: string) =>
  Effect.map(
    SqlClient.SqlClient.use((sql) => sql.unsafe<{ readonly n: number }>(`SELECT count(*) AS n FROM ${table}`)),
    ([row]) => row?.n,
  )

const [fill] = tick.fills

/** Every place of a tick that a number has. */
const places: ReadonlyArray<readonly [string, (value: number) => PaperTick]> = [
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

describe("a tick", () => {
  for (const [field, broken] of places) {
    it.effect(`whose ${field} is not finite is refused, and nothing of it is stored`, () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        for (const value of notFinite) {
          const { message } = yield* stateErrorOf(state.recordTick(broken(value)))
          expect(message).toBe(
            `recordTick failed: expected ${field} to be a finite number, got ${value}; nothing was stored`,
          )
        }
        for (const table of ["paper_ticks", "paper_fills", "engine_state"]) {
          expect(yield* count(table), `${table}`).toBe(0)
        }
      }).pipe(Effect.provide(onSqlite())),
    )
  }

  it.effect("may have numbers of any size, and any other text", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      yield* state.recordTick({ ...tick, bid: Number.MIN_VALUE, ask: -Number.MAX_VALUE, xrp: -0, state: { a: "nan" } })
      expect(yield* count("paper_ticks")).toBe(1)
    }).pipe(Effect.provide(onSqlite())),
  )
})

describe("the worth of a session", () => {
  for (const field of ["starting", "ending"] as const) {
    it.effect(`whose ${field} is not finite is refused, and leaves the session open`, () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        const sessionId = yield* state.openSession({ parentSessionId: Option.none() })
        for (const value of notFinite) {
          const worth = Option.some({ starting: 100, ending: 107, [field]: value })
          const { message } = yield* stateErrorOf(state.closeSession({ sessionId, haltReason: "kill_switch", worth }))
          expect(message).toBe(
            `closeSession failed: expected worth.${field} to be a finite number, got ${value}; nothing was stored`,
          )
        }
        const session = Option.getOrThrow(yield* state.lastSession)
        expect([session.endedAt, session.haltReason]).toEqual([Option.none(), Option.none()])
      }).pipe(Effect.provide(onSqlite())),
    )
  }
})
