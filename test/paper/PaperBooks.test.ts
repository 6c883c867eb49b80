import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as PaperBooks from "../../src/paper/PaperBooks.ts"
import * as Database from "../../src/sqlite/Database.ts"
import { StateError } from "../../src/state/StateError.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { tick } from "../support/paperTick.ts"
import { paperBooksContract } from "./paperBooksContract.ts"
import { rows, writtenBefore } from "../support/StoredRows.ts"

/** The books, the state manager that they write through, and the client that both share with the test. */
const onSqlite = () =>
  PaperBooks.layer().pipe(Layer.provideMerge(StateManager.layer()), Layer.provideMerge(TemporaryDatabase.layer()))

paperBooksContract("SQLite", onSqlite())

describe("what SQLite stores", () => {
  it.effect("of a tick: the same, whatever names the program wants", () =>
    Effect.gen(function* () {
      const books = yield* PaperBooks.PaperBooks
      yield* books.recordTick(tick)
      const [stored] = yield* rows(
        "SELECT tick_id AS id, bid, (SELECT count(*) FROM paper_fills) AS fills FROM paper_ticks",
      )
      expect(stored).toEqual({ ID: 1, BID: 0.5, FILLS: 2 })
    }).pipe(
      Effect.provide(
        PaperBooks.layer().pipe(
          Layer.provideMerge(StateManager.layer()),
          Layer.provideMerge(
            TemporaryDatabase.layer({
              transformQueryNames: (name) => `its_${name}`,
              transformResultNames: (name) => name.toUpperCase(),
            }),
          ),
        ),
      ),
    ),
  )

  it.effect("of a tick: all of it, also for a program that asks for whole numbers as bigint", () =>
    Effect.gen(function* () {
      const books = yield* PaperBooks.PaperBooks
      yield* Effect.provideService(books.recordTick(tick), SqlClient.SafeIntegers, true)
      expect(yield* rows("SELECT tick_id FROM paper_fills")).toEqual([{ tick_id: 1 }, { tick_id: 1 }])
    }).pipe(Effect.provide(onSqlite())),
  )
})

/** Opens the file, uses it, and closes it again. */
const opening = <A, E>(
  file: string,
  use: Effect.Effect<A, E, PaperBooks.PaperBooks | StateManager.StateManager | SqlClient.SqlClient>,
) =>
  Effect.provide(
    use,
    PaperBooks.layer().pipe(
      Layer.provideMerge(StateManager.layer()),
      Layer.provideMerge(Layer.provide(Database.layer({ filename: file }), TemporaryDatabase.quickDisk)),
    ),
    { local: true },
  )

const everything = Effect.all({
  schema: rows("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"),
  engine: rows("SELECT migration_id AS id, name FROM effect_sql_migrations ORDER BY 1"),
  paper: rows("SELECT migration_id AS id, name FROM paper_migrations ORDER BY 1"),
  ticks: rows("SELECT tick_id, session_id, recorded_at, bid AS bid, value_rlusd FROM paper_ticks ORDER BY 1"),
  fills: rows("SELECT * FROM paper_fills ORDER BY 1"),
})

const steps = [
  { id: 1, name: "engine_state" },
  { id: 2, name: "sessions" },
  { id: 4, name: "capital" },
]
const ticksAndFills = [{ id: 1, name: "ticks_and_fills" }]

describe("opening a file", () => {
  it.effect("that is new makes both tables, and counts its steps apart from the engine's", () =>
    Effect.gen(function* () {
      const { engine, fills, paper, ticks } = yield* opening(yield* TemporaryDatabase.file, everything)
      expect({ engine, fills, paper, ticks }).toEqual({ engine: steps, paper: ticksAndFills, ticks: [], fills: [] })
    }),
  )

  it.effect("again changes nothing", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const recorded = PaperBooks.PaperBooks.use((books) => books.recordTick(tick))
      const before = yield* opening(file, Effect.andThen(recorded, everything))
      expect(yield* opening(file, everything)).toEqual(before)
      expect([before.ticks.length, before.fills.length]).toEqual([1, 2])
    }),
  )

  /** The tables of paper trading, made by a step of the engine. */
  const byTheEngine = `
    CREATE TABLE effect_sql_migrations (
      migration_id integer PRIMARY KEY NOT NULL, created_at datetime NOT NULL DEFAULT current_timestamp, name VARCHAR(255) NOT NULL);
    INSERT INTO effect_sql_migrations (migration_id, name)
      VALUES (1, 'engine_state'), (2, 'sessions'), (3, 'paper'), (4, 'capital');
    CREATE TABLE engine_state (key TEXT PRIMARY KEY, value TEXT NOT NULL DEFAULT '');
    CREATE TABLE sessions (session_id INTEGER PRIMARY KEY AUTOINCREMENT, parent_session_id INTEGER,
      started_at TEXT NOT NULL DEFAULT '', ended_at TEXT, halt_reason TEXT, starting_value_rlusd REAL, ending_value_rlusd REAL);
    CREATE TABLE capital_events (id INTEGER PRIMARY KEY, asset TEXT NOT NULL DEFAULT '', event_type TEXT NOT NULL DEFAULT '',
      amount REAL NOT NULL DEFAULT 0, price_rlusd REAL, basis_delta_rlusd REAL, source_note TEXT NOT NULL DEFAULT '',
      created_at TEXT NOT NULL DEFAULT '');`
  const paperTables = `
    CREATE TABLE paper_ticks (tick_id INTEGER PRIMARY KEY, session_id INTEGER NOT NULL DEFAULT 0,
      recorded_at TEXT NOT NULL DEFAULT '', bid REAL NOT NULL DEFAULT 0, ask REAL NOT NULL DEFAULT 0,
      xrp REAL NOT NULL DEFAULT 0, rlusd REAL NOT NULL DEFAULT 0, value_rlusd REAL NOT NULL DEFAULT 0);
    CREATE TABLE paper_fills (fill_id INTEGER PRIMARY KEY, tick_id INTEGER NOT NULL DEFAULT 0, side TEXT NOT NULL DEFAULT '',
      price REAL NOT NULL DEFAULT 0, xrp REAL NOT NULL DEFAULT 0, spread_pnl_rlusd REAL NOT NULL DEFAULT 0);
    CREATE INDEX paper_ticks_by_session ON paper_ticks (session_id);
    CREATE INDEX paper_fills_by_tick ON paper_fills (tick_id);
    INSERT INTO paper_ticks VALUES (7, 1, '2024-01-01T00:00:00.000Z', 0.5, 0.52, 100, 50, 101);
    INSERT INTO paper_fills VALUES (3, 7, 'buy', 0.5, 10, 0.1);`
  const olderTables = `
    CREATE TABLE paper_ticks (tick_id INTEGER PRIMARY KEY, session_id INTEGER NOT NULL, BID REAL NOT NULL);
    INSERT INTO paper_ticks VALUES (7, 1, 0.5);`

  it.effect("whose tables a step of the engine has made keeps them, their rows and its steps, and goes on", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* writtenBefore(file, byTheEngine + paperTables)
      yield* opening(
        file,
        Effect.gen(function* () {
          const before = yield* everything
          expect(before.engine.map(({ id }) => id)).toEqual([1, 2, 3, 4])
          expect(before.paper).toEqual(ticksAndFills)
          expect(before.schema.filter(({ sql }) => String(sql).includes("paper_ticks ("))).toHaveLength(2)
          yield* PaperBooks.PaperBooks.use((books) => books.recordTick(tick))
          const after = yield* everything
          expect(after.ticks.map(({ bid, tick_id }) => [tick_id, bid])).toEqual([
            [7, 0.5],
            [8, 0.5],
          ])
          expect(after.fills.map(({ fill_id, tick_id }) => [fill_id, tick_id])).toEqual([
            [3, 7],
            [4, 8],
            [5, 8],
          ])
        }),
      )
    }),
  )

  for (const [what, script] of [
    ["older tables, with fewer columns", olderTables],
    ["older tables and the engine's steps", byTheEngine + olderTables],
    ["the engine's steps, and no tables of paper trading", byTheEngine],
  ] as const) {
    it.effect(`that has ${what} adds what is missing, and everything works`, () =>
      Effect.gen(function* () {
        const file = yield* TemporaryDatabase.file
        yield* writtenBefore(file, script)
        yield* opening(
          file,
          Effect.gen(function* () {
            const before = yield* everything
            yield* PaperBooks.PaperBooks.use((books) => books.recordTick(tick))
            const { fills, ticks } = yield* everything
            expect(ticks).toHaveLength(before.ticks.length + 1)
            expect(ticks.at(-1)).toMatchObject({ session_id: 1, bid: 0.5, value_rlusd: 151 })
            expect(fills).toHaveLength(2)
          }),
        )
      }),
    )
  }

  for (const [what, script] of [
    ["paper_ticks is a view", "CREATE VIEW paper_ticks AS SELECT 1 AS tick_id"],
    ["paper_fills is a view", "CREATE VIEW paper_fills AS SELECT 1 AS fill_id"],
  ] as const) {
    it.effect(`that cannot be brought up to date fails as a typed error, and creates no table: ${what}`, () =>
      Effect.gen(function* () {
        const file = yield* TemporaryDatabase.file
        yield* writtenBefore(file, script)
        const exit = yield* Effect.exit(opening(file, Effect.void))
        if (Exit.isSuccess(exit)) throw new Error("expected a failure")
        expect(Cause.hasDies(exit.cause)).toBe(false)
        const error = Cause.squash(exit.cause)
        if (!(error instanceof StateError)) throw new Error(`expected a StateError, got ${String(error)}`)
        expect(error.operation).toBe("schema")
        expect(error.message).toContain("it is a view; nothing was changed")

        const tables = yield* rows(
          "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'paper%' AND name <> 'paper_migrations'",
        ).pipe(Effect.provide(Layer.provide(Database.layer({ filename: file }), TemporaryDatabase.quickDisk)))
        expect(tables).toEqual([])
      }),
    )
  }
})
