/**
 * What a paper trading session has done, in the database of its engine: the tables `paper_ticks` and `paper_fills`, brought up
 * to date when the layer is built.
 *
 * It writes through the `StateManager`, each tick with the state keys that it moves in one transaction, and knows no store.
 */
import { Context, DateTime, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { finite, finiteText } from "../state/Finite.ts"
import type { Migrations } from "../state/Migrations.ts"
import type { OwnTable } from "../state/OwnTables.ts"
import { stateError, type StateError } from "../state/StateError.ts"
import * as StateManager from "../state/StateManager.ts"
import { index, table } from "../state/Tables.ts"

/** What we did. */
export const Side = Schema.Literals(["buy", "sell"])
export type Side = typeof Side.Type

/** One paper tick as it is stored: the book and balances after it, what was filled in it, and the state keys it moves. */
export interface PaperTick {
  readonly sessionId: number
  /** The best prices of the book, in RLUSD per XRP. */
  readonly bid: number
  readonly ask: number
  readonly xrp: number
  readonly rlusd: number
  readonly valueRlusd: number
  readonly fills: ReadonlyArray<PaperFill>
  /** Keys that are set with it. */
  readonly state: Readonly<Record<string, string>>
}

/** An order of ours that was filled. */
export interface PaperFill {
  readonly side: Side
  /** RLUSD per XRP. */
  readonly price: number
  readonly xrp: number
  /** What this fill earned against the middle of the book when it was quoted. */
  readonly spreadPnlRlusd: number
}

export class PaperBooks extends Context.Service<
  PaperBooks,
  {
    /** Stores snapshot, fills and state of one tick, in one transaction: all of it or nothing. */
    readonly recordTick: (tick: PaperTick) => Effect.Effect<void, StateError>
  }
>()("seawall/paper/PaperBooks") {}

/** Fails when its tables cannot be brought up to date. A function: each database has its own. */
export const layer = (): Layer.Layer<PaperBooks, StateError, StateManager.StateManager> =>
  Layer.effect(PaperBooks, make)

/** Its tables, each with what the oldest release had of it (`OwnTables`). */
export const paperTables = {
  paper_ticks: {
    columns: {
      tick_id: "INTEGER PRIMARY KEY",
      session_id: "INTEGER NOT NULL DEFAULT 0",
      recorded_at: "TEXT NOT NULL DEFAULT ''",
      bid: "REAL NOT NULL DEFAULT 0",
      ask: "REAL NOT NULL DEFAULT 0",
      xrp: "REAL NOT NULL DEFAULT 0",
      rlusd: "REAL NOT NULL DEFAULT 0",
      value_rlusd: "REAL NOT NULL DEFAULT 0",
    },
    oldest: ["tick_id", "session_id", "bid"],
  },
  paper_fills: {
    columns: {
      fill_id: "INTEGER PRIMARY KEY",
      tick_id: "INTEGER NOT NULL DEFAULT 0",
      side: "TEXT NOT NULL DEFAULT ''",
      price: "REAL NOT NULL DEFAULT 0",
      xrp: "REAL NOT NULL DEFAULT 0",
      spread_pnl_rlusd: "REAL NOT NULL DEFAULT 0",
    },
  },
} satisfies Readonly<Record<string, OwnTable>>

/** An older database has these tables from the steps of the engine. */
const migrations: Migrations = {
  "0001_ticks_and_fills": Effect.gen(function* () {
    yield* table("paper_ticks", paperTables.paper_ticks.columns)
    yield* table("paper_fills", paperTables.paper_fills.columns)
    yield* index({ name: "paper_ticks_by_session", on: "paper_ticks (session_id)" })
    yield* index({ name: "paper_fills_by_tick", on: "paper_fills (tick_id)" })
  }),
}

const finiteTick = Effect.fnUntraced(function* ({ ask, bid, fills, rlusd, state, valueRlusd, xrp }: PaperTick) {
  yield* finite({ bid, ask, xrp, rlusd, valueRlusd })
  for (const [i, { price, spreadPnlRlusd, xrp: filled }] of fills.entries()) {
    yield* finite({
      [`fills[${i}].price`]: price,
      [`fills[${i}].xrp`]: filled,
      [`fills[${i}].spreadPnlRlusd`]: spreadPnlRlusd,
    })
  }
  yield* finiteText(state)
}, stateError("recordTick"))

const NewTick = Schema.NonEmptyArray(Schema.Struct({ id: Schema.Int }))

/** All of it in one statement, which SQLite has no words for: on PostgreSQL each statement is a way to the server and back. */
const oneStatement = `WITH tick AS (
    INSERT INTO paper_ticks (session_id, recorded_at, bid, ask, xrp, rlusd, value_rlusd)
    VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING tick_id
  ), fills AS (
    INSERT INTO paper_fills (tick_id, side, price, xrp, spread_pnl_rlusd)
    SELECT tick.tick_id, fill.* FROM tick,
      unnest(CAST($8 AS TEXT[]), CAST($9 AS FLOAT8[]), CAST($10 AS FLOAT8[]), CAST($11 AS FLOAT8[])) AS fill
  )
  INSERT INTO engine_state (key, value) SELECT * FROM unnest(CAST($12 AS TEXT[]), CAST($13 AS TEXT[]))
  ON CONFLICT (key) DO UPDATE SET value = excluded.value`

const make = Effect.gen(function* () {
  const state = yield* StateManager.StateManager
  yield* state.migrate("paper", migrations, paperTables)

  const inOneStatement = (tick: PaperTick, at: string) => {
    const { fills } = tick
    const columns = [
      fills.map(({ side }) => side),
      fills.map(({ price }) => price),
      fills.map(({ xrp }) => xrp),
      fills.map(({ spreadPnlRlusd }) => spreadPnlRlusd),
      Object.keys(tick.state),
      Object.values(tick.state),
    ]
    const { ask, bid, rlusd, sessionId, valueRlusd, xrp } = tick
    const params = [sessionId, at, bid, ask, xrp, rlusd, valueRlusd, ...columns]
    return state.execute("recordTick", oneStatement, params)
  }
  const inTransaction = (tick: PaperTick, at: string) =>
    state.transaction("recordTick", (store) =>
      Effect.gen(function* () {
        const sql = store.sql.withoutTransforms()
        const snapshot = sql.insert({
          session_id: tick.sessionId,
          recorded_at: at,
          bid: tick.bid,
          ask: tick.ask,
          xrp: tick.xrp,
          rlusd: tick.rlusd,
          value_rlusd: tick.valueRlusd,
        })
        const rows = yield* sql`INSERT INTO paper_ticks ${snapshot.returning(sql`tick_id AS id`)}`
        const [{ id }] = yield* Schema.decodeUnknownEffect(NewTick)(rows)
        for (const { price, side, spreadPnlRlusd, xrp } of tick.fills) {
          const fill = sql.insert({ tick_id: id, side, price, xrp, spread_pnl_rlusd: spreadPnlRlusd })
          yield* sql`INSERT INTO paper_fills ${fill}`
        }
        for (const [key, value] of Object.entries(tick.state)) yield* store.set(key, value)
      }),
    )
  const store = state.dialect === "pg" ? inOneStatement : inTransaction

  return PaperBooks.of({
    recordTick: Effect.fn("PaperBooks.recordTick")(
      function* (tick) {
        yield* finiteTick(tick)
        yield* store(tick, DateTime.formatIso(yield* DateTime.now))
      },
      Effect.provideService(SqlClient.SafeIntegers, false),
    ), // the number of a tick is one, whatever the program wants
  })
})
