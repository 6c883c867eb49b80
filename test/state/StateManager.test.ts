import { DatabaseSync } from "node:sqlite"
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Option, Result } from "effect"
import { TestClock } from "effect/testing"
import { SqlClient } from "effect/unstable/sql"
import { Database } from "../../src/sqlite/Database.ts"
import { StateError } from "../../src/state/StateError.ts"
import { type PaperTick, StateManager } from "../../src/state/StateManager.ts"
import { quickDisk, temporaryDatabase, temporaryFile } from "../../src/testing/TemporaryDatabase.ts"

/** Fails the test when the effect does not fail, or fails with anything but a `StateError`. */
const stateErrorOf = Effect.fnUntraced(function* <A, E, R>(self: Effect.Effect<A, E, R>) {
  const result = yield* Effect.result(self)
  if (Result.isSuccess(result) || !(result.failure instanceof StateError)) {
    throw new Error(`expected a StateError, got ${JSON.stringify(result)}`)
  }
  return result.failure
})

/** A value that no store can keep; the types do not let it in. */
const unstorable = null as unknown as string

const tick: PaperTick = {
  sessionId: 1,
  bid: 0.5,
  ask: 0.52,
  xrp: 110,
  rlusd: 94.9,
  valueRlusd: 151,
  fills: [
    { side: "buy", price: 0.51, xrp: 10, spreadPnlRlusd: 0.05 },
    { side: "sell", price: 0.53, xrp: 4, spreadPnlRlusd: 0.02 },
  ],
  state: { "paper.xrp": "110", "paper.rlusd": "94.9" },
}

/** The second fill cannot be stored: SQLite takes NaN for NULL, and a price must not be NULL. */
const brokenTick: PaperTick = {
  ...tick,
  fills: [tick.fills[0]!, { side: "sell", price: Number.NaN, xrp: 4, spreadPnlRlusd: 0.02 }],
}

/** What every `StateManager` must do, whatever stores it. The layer gives an empty store each time it is built. */
const contract = <E>(store: string, layer: Layer.Layer<StateManager, E>) => {
  describe(`state keys, on ${store}`, () => {
    it.effect("a key that was never set is none", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        expect(yield* state.get("halt.reason")).toEqual(Option.none())
      }).pipe(Effect.provide(layer)),
    )

    it.effect("a key has the value that was set last, and no other key has it", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        yield* state.set("engine_status", "RUNNING")
        yield* state.set("halt.reason", "kill_switch")
        yield* state.set("engine_status", "HALTED")
        expect(yield* state.get("engine_status")).toEqual(Option.some("HALTED"))
        expect(yield* state.get("halt.reason")).toEqual(Option.some("kill_switch"))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("keys and values are kept as they are, whatever is in them", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        const key = "Robert'); DROP TABLE engine_state; --"
        const value = " \"quoted\" 'twice'\n\t? € \u{1F30A} "
        yield* state.set(key, value)
        expect(yield* state.get(key)).toEqual(Option.some(value))
        expect(yield* state.get(key.toLowerCase())).toEqual(Option.none())
      }).pipe(Effect.provide(layer)),
    )

    it.effect("many keys are set at once, new ones and old ones", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        yield* state.set("a", "old")
        yield* state.setMany({ a: "1", b: "2", c: "3" })
        const values = yield* Effect.forEach(["a", "b", "c"], (key) => state.get(key))
        expect(values).toEqual([Option.some("1"), Option.some("2"), Option.some("3")])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("when one of many keys cannot be set, none is", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        yield* state.set("a", "old")
        const error = yield* stateErrorOf(state.setMany({ a: "1", b: "2", c: unstorable, d: "4" }))
        expect(error.operation).toBe("setMany")
        const values = yield* Effect.forEach(["a", "b", "c", "d"], (key) => state.get(key))
        expect(values).toEqual([Option.some("old"), Option.none(), Option.none(), Option.none()])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("goes on after a failure", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        expect((yield* stateErrorOf(state.set("a", unstorable))).operation).toBe("set")
        yield* stateErrorOf(state.setMany({ a: unstorable }))
        yield* state.setMany({ a: "1" })
        expect(yield* state.get("a")).toEqual(Option.some("1"))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("cleared keys read as none, the others stay, and a cleared key can be set again", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        yield* state.setMany({ a: "1", b: "2", c: "3" })
        yield* state.clear("a", "b", "never set")
        const values = yield* Effect.forEach(["a", "b", "never set", "c"], (key) => state.get(key))
        expect(values).toEqual([Option.none(), Option.none(), Option.none(), Option.some("3")])
        yield* state.set("a", "again")
        expect(yield* state.get("a")).toEqual(Option.some("again"))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("clearing nothing changes nothing", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        yield* state.set("a", "1")
        yield* state.clear()
        expect(yield* state.get("a")).toEqual(Option.some("1"))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("an empty value reads as none", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        yield* state.set("a", "1")
        yield* state.set("a", "")
        expect(yield* state.get("a")).toEqual(Option.none())
      }).pipe(Effect.provide(layer)),
    )

    for (const [text, integer] of [
      ["42", 42],
      ["-7", -7],
      ["0", 0],
      ["9007199254740991", 9_007_199_254_740_991],
      ["9007199254740993", 0], // a double does not hold it
      ["1.5", 0],
      ["twelve", 0],
      ["12 apples", 0],
      ["NaN", 0],
      ["Infinity", 0],
      ["", 0],
    ] as const) {
      it.effect(`"${text}" read as an integer is ${integer}`, () =>
        Effect.gen(function* () {
          const state = yield* StateManager
          yield* state.set("n", text)
          expect(yield* state.getInt("n")).toBe(integer)
        }).pipe(Effect.provide(layer)),
      )
    }

    it.effect("an integer that was never set, or was cleared, is 0", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        yield* state.set("n", "42")
        expect(yield* state.getInt("never set")).toBe(0)
        yield* state.clear("n")
        expect(yield* state.getInt("n")).toBe(0)
      }).pipe(Effect.provide(layer)),
    )
  })

  describe(`sessions, on ${store}`, () => {
    it.effect("before the first one there is none", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        expect(yield* state.lastSession).toEqual(Option.none())
      }).pipe(Effect.provide(layer)),
    )

    it.effect("an open session has its start in UTC, and nothing of its end", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        yield* TestClock.adjust("1500 millis")
        const sessionId = yield* state.openSession({ parentSessionId: Option.none() })
        expect({ ...Option.getOrThrow(yield* state.lastSession) }).toEqual({
          sessionId,
          parentSessionId: Option.none(),
          startedAt: "1970-01-01T00:00:01.500Z",
          endedAt: Option.none(),
          haltReason: Option.none(),
          startingValueRlusd: Option.none(),
          endingValueRlusd: Option.none(),
        })
      }).pipe(Effect.provide(layer)),
    )

    it.effect("a closed session has its end, its reason and its worth", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        const sessionId = yield* state.openSession({ parentSessionId: Option.none() })
        yield* TestClock.adjust("7200 seconds")
        const worth = Option.some({ starting: 2000, ending: 2012.345678 })
        yield* state.closeSession({ sessionId, haltReason: "duration_elapsed", worth })
        expect({ ...Option.getOrThrow(yield* state.lastSession) }).toEqual({
          sessionId,
          parentSessionId: Option.none(),
          startedAt: "1970-01-01T00:00:00.000Z",
          endedAt: Option.some("1970-01-01T02:00:00.000Z"),
          haltReason: Option.some("duration_elapsed"),
          startingValueRlusd: Option.some(2000),
          endingValueRlusd: Option.some(2012.345678),
        })
      }).pipe(Effect.provide(layer)),
    )

    it.effect("a session whose worth is not known is closed without it", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        const sessionId = yield* state.openSession({ parentSessionId: Option.none() })
        yield* state.closeSession({ sessionId, haltReason: "startup_failure", worth: Option.none() })
        const session = Option.getOrThrow(yield* state.lastSession)
        expect(session.haltReason).toEqual(Option.some("startup_failure"))
        expect([session.startingValueRlusd, session.endingValueRlusd]).toEqual([Option.none(), Option.none()])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("a recovery has a number of its own and the number of its parent", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        const parent = yield* state.openSession({ parentSessionId: Option.none() })
        const child = yield* state.openSession({ parentSessionId: Option.some(parent) })
        expect(child).toBeGreaterThan(parent)
        const session = Option.getOrThrow(yield* state.lastSession)
        expect([session.sessionId, session.parentSessionId]).toEqual([child, Option.some(parent)])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("the last session is the one with the highest number, not the one that was closed last", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        const first = yield* state.openSession({ parentSessionId: Option.none() })
        const second = yield* state.openSession({ parentSessionId: Option.none() })
        yield* state.closeSession({ sessionId: first, haltReason: "kill_switch", worth: Option.none() })
        const session = Option.getOrThrow(yield* state.lastSession)
        expect([session.sessionId, session.haltReason]).toEqual([second, Option.none()])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("closing a session that nobody opened fails, and closes no other", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        const sessionId = yield* state.openSession({ parentSessionId: Option.none() })
        const closing = state.closeSession({
          sessionId: sessionId + 1,
          haltReason: "kill_switch",
          worth: Option.some({ starting: 1, ending: 2 }),
        })
        expect((yield* stateErrorOf(closing)).operation).toBe("closeSession")
        const session = Option.getOrThrow(yield* state.lastSession)
        expect([session.sessionId, session.endedAt]).toEqual([sessionId, Option.none()])
      }).pipe(Effect.provide(layer)),
    )
  })

  describe(`paper ticks, on ${store}`, () => {
    it.effect("a tick moves its state keys, and no other key", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        yield* state.setMany({ "paper.xrp": "100", "halt.reason": "kill_switch" })
        yield* state.recordTick(tick)
        const values = yield* Effect.forEach(["paper.xrp", "paper.rlusd", "halt.reason"], (key) => state.get(key))
        expect(values).toEqual([Option.some("110"), Option.some("94.9"), Option.some("kill_switch")])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("a tick that cannot be stored moves no key, and the next tick is stored", () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        yield* state.set("paper.xrp", "100")
        expect((yield* stateErrorOf(state.recordTick(brokenTick))).operation).toBe("recordTick")
        expect(yield* state.get("paper.xrp")).toEqual(Option.some("100"))
        expect(yield* state.get("paper.rlusd")).toEqual(Option.none())
        yield* state.recordTick(tick)
        expect(yield* state.get("paper.xrp")).toEqual(Option.some("110"))
      }).pipe(Effect.provide(layer)),
    )
  })
}

contract("SQLite", Layer.provide(StateManager.layer(), temporaryDatabase()))

/** The state manager, and the client that it shares with the test. */
const onSqlite = () => Layer.provideMerge(StateManager.layer(), temporaryDatabase())

const rows = (query: string) =>
  Effect.map(
    SqlClient.SqlClient.use((sql) => sql.unsafe<Record<string, unknown>>(query)),
    (found) => found.map((row) => ({ ...row })),
  )

describe("what SQLite stores", () => {
  it.effect("of a tick: the snapshot with its time, the fills in order, the state", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      yield* TestClock.adjust("4 seconds")
      yield* state.recordTick(tick)
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
    }).pipe(Effect.provide(onSqlite())),
  )

  it.effect("of a tick without fills: no fill", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      yield* state.recordTick({ ...tick, fills: [] })
      expect(yield* rows("SELECT tick_id FROM paper_ticks")).toHaveLength(1)
      expect(yield* rows("SELECT * FROM paper_fills")).toEqual([])
    }).pipe(Effect.provide(onSqlite())),
  )

  it.effect("of a tick whose second fill is refused: neither the snapshot, nor the first fill, nor the state", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      const error = yield* stateErrorOf(state.recordTick(brokenTick))
      expect(error.reason).toBe("Constraint")
      expect(error.message).toContain("paper_fills.price")
      for (const table of ["paper_ticks", "paper_fills", "engine_state"]) {
        expect([table, yield* rows(`SELECT * FROM ${table}`)]).toEqual([table, []])
      }
    }).pipe(Effect.provide(onSqlite())),
  )

  it.effect("of a tick whose last write, a state key, is refused: nothing", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      yield* stateErrorOf(state.recordTick({ ...tick, state: { "paper.xrp": "110", "paper.rlusd": unstorable } }))
      for (const table of ["paper_ticks", "paper_fills", "engine_state"]) {
        expect([table, yield* rows(`SELECT * FROM ${table}`)]).toEqual([table, []])
      }
    }).pipe(Effect.provide(onSqlite())),
  )

  it.effect("of a cleared key: the empty string, for those who read the file", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      yield* state.set("halt.reason", "kill_switch")
      yield* state.clear("halt.reason", "halt.detail")
      expect(yield* rows("SELECT * FROM engine_state ORDER BY key")).toEqual([
        { key: "halt.detail", value: "" },
        { key: "halt.reason", value: "" },
      ])
    }).pipe(Effect.provide(onSqlite())),
  )

  it.effect("ticks that are recorded at the same time do not mix", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      const sessions = Array.from({ length: 20 }, (_, i) => i + 1)
      const outcomes = yield* Effect.forEach(
        sessions,
        (sessionId) => Effect.exit(state.recordTick({ ...(sessionId % 2 === 0 ? tick : brokenTick), sessionId })),
        { concurrency: "unbounded" },
      )
      expect(outcomes.map(Exit.isSuccess)).toEqual(sessions.map((sessionId) => sessionId % 2 === 0))
      const stored = yield* rows(
        "SELECT session_id, count(*) AS fills FROM paper_ticks JOIN paper_fills USING (tick_id) GROUP BY 1 ORDER BY 1",
      )
      const even = sessions.filter((sessionId) => sessionId % 2 === 0)
      expect(stored).toEqual(even.map((session_id) => ({ session_id, fills: 2 })))
    }).pipe(Effect.provide(onSqlite())),
  )
})

/** What an older program left: a database that it wrote and closed. */
const writtenBefore = (file: string, script: string) =>
  Effect.sync(() => {
    const database = new DatabaseSync(file)
    database.exec(script)
    database.close()
  })

/** Opens the file, uses it, and closes it again. */
const opening = <A, E>(file: string, use: Effect.Effect<A, E, StateManager | SqlClient.SqlClient>) =>
  Effect.provide(use, Layer.provideMerge(StateManager.layer(), Layer.provide(Database.layer({ file }), quickDisk)), {
    local: true,
  })

const schema = rows("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")

const columns = (table: string) =>
  Effect.map(rows(`SELECT name FROM pragma_table_info('${table}')`), (found) => found.map(({ name }) => name))

describe("opening a file of an older program", () => {
  const older = `
    CREATE TABLE engine_state (key TEXT PRIMARY KEY, value TEXT);
    INSERT INTO engine_state VALUES ('engine_status', 'RUNNING'), ('paper.xrp', '123.5');
    CREATE TABLE sessions (session_id INTEGER PRIMARY KEY AUTOINCREMENT, started_at TEXT NOT NULL);
    INSERT INTO sessions VALUES (7, '2024-01-01T00:00:00+00:00');`

  it.effect("adds the columns that are missing, and keeps the rows", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      yield* writtenBefore(file, older)
      yield* opening(
        file,
        Effect.gen(function* () {
          const state = yield* StateManager
          expect(yield* columns("sessions")).toEqual([
            "session_id",
            "started_at",
            "parent_session_id",
            "ended_at",
            "halt_reason",
            "starting_value_rlusd",
            "ending_value_rlusd",
          ])
          expect(yield* rows("SELECT * FROM engine_state ORDER BY key")).toEqual([
            { key: "engine_status", value: "RUNNING" },
            { key: "paper.xrp", value: "123.5" },
          ])
          const session = Option.getOrThrow(yield* state.lastSession)
          expect([session.sessionId, session.startedAt]).toEqual([7, "2024-01-01T00:00:00+00:00"])
          expect([session.parentSessionId, session.endedAt]).toEqual([Option.none(), Option.none()])
        }),
      )
    }),
  )

  it.effect("everything works on it afterwards", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      yield* writtenBefore(file, older)
      yield* opening(
        file,
        Effect.gen(function* () {
          const state = yield* StateManager
          yield* state.set("engine_status", "HALTED")
          expect(yield* state.get("engine_status")).toEqual(Option.some("HALTED"))
          expect(yield* state.openSession({ parentSessionId: Option.some(7) })).toBe(8)
          yield* state.closeSession({ sessionId: 7, haltReason: "unexpected_halt", worth: Option.none() })
          yield* state.recordTick({ ...tick, sessionId: 8 })
          expect(yield* rows("SELECT halt_reason FROM sessions ORDER BY session_id")).toEqual([
            { halt_reason: "unexpected_halt" },
            { halt_reason: null },
          ])
          expect(yield* rows("SELECT session_id FROM paper_ticks")).toEqual([{ session_id: 8 }])
        }),
      )
    }),
  )

  it.effect("tables and columns that are not ours stay", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      yield* writtenBefore(
        file,
        `CREATE TABLE engine_state (key TEXT PRIMARY KEY, value TEXT NOT NULL, note TEXT);
         INSERT INTO engine_state VALUES ('a', '1', 'ours to keep');
         CREATE TABLE orders (id INTEGER PRIMARY KEY, price REAL);
         INSERT INTO orders VALUES (1, 0.5);`,
      )
      yield* opening(
        file,
        Effect.gen(function* () {
          const state = yield* StateManager
          yield* state.set("a", "2")
          expect(yield* rows("SELECT * FROM engine_state")).toEqual([{ key: "a", value: "2", note: "ours to keep" }])
          expect(yield* rows("SELECT * FROM orders")).toEqual([{ id: 1, price: 0.5 }])
        }),
      )
    }),
  )
})

describe("opening a file again", () => {
  it.effect("changes neither the schema nor what is stored", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      const everything = Effect.all({
        schema,
        migrations: rows("SELECT * FROM effect_sql_migrations ORDER BY migration_id"),
        state: rows("SELECT * FROM engine_state"),
        sessions: rows("SELECT * FROM sessions"),
        ticks: rows("SELECT * FROM paper_ticks"),
        fills: rows("SELECT * FROM paper_fills"),
      })
      const before = yield* opening(
        file,
        Effect.gen(function* () {
          const state = yield* StateManager
          yield* state.openSession({ parentSessionId: Option.none() })
          yield* state.recordTick(tick)
          return yield* everything
        }),
      )
      const after = yield* opening(file, everything)
      expect(after).toEqual(before)
      const sizes = [before.migrations, before.state, before.sessions, before.ticks, before.fills]
      expect(sizes.map(({ length }) => length)).toEqual([4, 2, 1, 1, 2])
    }),
  )

  it.effect("twice at the same time on one connection is no failure", () =>
    Effect.gen(function* () {
      const [first, second] = yield* Effect.all(
        [Layer.build(Layer.fresh(StateManager.layer())), Layer.build(Layer.fresh(StateManager.layer()))],
        { concurrency: "unbounded" },
      )
      yield* Effect.provideContext(
        StateManager.use((state) => state.set("a", "1")),
        first,
      )
      const read = Effect.provideContext(
        StateManager.use((state) => state.get("a")),
        second,
      )
      expect(yield* read).toEqual(Option.some("1"))
      expect(yield* rows("SELECT migration_id AS id FROM effect_sql_migrations")).toEqual([
        { id: 1 },
        { id: 2 },
        { id: 3 },
        { id: 4 },
      ])
    }).pipe(Effect.provide(temporaryDatabase())),
  )
})

describe("a schema that cannot be brought up to date", () => {
  for (const [what, script] of [
    ["engine_state is a view", "CREATE VIEW engine_state AS SELECT 'a' AS key"],
    ["sessions is a view", "CREATE VIEW sessions AS SELECT 1 AS session_id"],
    ["paper_fills is a view", "CREATE VIEW paper_fills AS SELECT 1 AS fill_id"],
  ] as const) {
    it.effect(`fails as a typed error, and creates nothing: ${what}`, () =>
      Effect.gen(function* () {
        const file = yield* temporaryFile
        yield* writtenBefore(file, script)
        const exit = yield* Effect.exit(opening(file, Effect.void))
        if (Exit.isSuccess(exit)) throw new Error("expected a failure")
        expect(Cause.hasDies(exit.cause)).toBe(false)
        const error = Cause.squash(exit.cause)
        if (!(error instanceof StateError)) throw new Error(`expected a StateError, got ${String(error)}`)
        expect(error.operation).toBe("schema")
        expect(error.message).toContain("Cannot add a column to a view")

        const tables = yield* rows(
          "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'effect%'",
        ).pipe(Effect.provide(Layer.provide(Database.layer({ file }), quickDisk)))
        expect(tables).toEqual([])
      }),
    )
  }
})
