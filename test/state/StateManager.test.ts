import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import * as Database from "../../src/sqlite/Database.ts"
import { StateError } from "../../src/state/StateError.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { stateManagerContract } from "./stateManagerContract.ts"
import { rows, writtenBefore } from "../support/StoredRows.ts"

/** A client that changes all names of rows but those of the contract's own table. */
const otherNames = TemporaryDatabase.layer({
  transformQueryNames: (name) => name.toLowerCase(),
  transformResultNames: (name) => (["room", "height"].includes(name) ? name : name.toUpperCase()),
})

stateManagerContract("SQLite, whatever names the program wants", Layer.provide(StateManager.layer(), otherNames))
stateManagerContract("SQLite", Layer.provide(StateManager.layer(), TemporaryDatabase.layer()))

/** The state manager, and the client that it shares with the test. */
const onSqlite = () => Layer.provideMerge(StateManager.layer(), TemporaryDatabase.layer())

describe("what SQLite stores", () => {
  it.effect("of a cleared key: the empty string, for those who read the file", () =>
    Effect.gen(function* () {
      const state = yield* StateManager.StateManager
      yield* state.set("halt.reason", "kill_switch")
      yield* state.clear("halt.reason", "halt.detail")
      expect(yield* rows("SELECT * FROM engine_state ORDER BY key")).toEqual([
        { key: "halt.detail", value: "" },
        { key: "halt.reason", value: "" },
      ])
    }).pipe(Effect.provide(onSqlite())),
  )
})

/** Opens the file, uses it, and closes it again. */
const opening = <A, E>(file: string, use: Effect.Effect<A, E, StateManager.StateManager | SqlClient.SqlClient>) =>
  Effect.provide(
    use,
    Layer.provideMerge(
      StateManager.layer(),
      Layer.provide(Database.layer({ filename: file }), TemporaryDatabase.quickDisk),
    ),
    {
      local: true,
    },
  )

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
      const file = yield* TemporaryDatabase.file
      yield* writtenBefore(file, older)
      yield* opening(
        file,
        Effect.gen(function* () {
          const state = yield* StateManager.StateManager
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
      const file = yield* TemporaryDatabase.file
      yield* writtenBefore(file, older)
      yield* opening(
        file,
        Effect.gen(function* () {
          const state = yield* StateManager.StateManager
          yield* state.set("engine_status", "HALTED")
          expect(yield* state.get("engine_status")).toEqual(Option.some("HALTED"))
          expect(yield* state.openSession({ parentSessionId: Option.some(7) })).toBe(8)
          yield* state.closeSession({ sessionId: 7, haltReason: "unexpected_halt", worth: Option.none() })
          expect(yield* rows("SELECT halt_reason FROM sessions ORDER BY session_id")).toEqual([
            { halt_reason: "unexpected_halt" },
            { halt_reason: null },
          ])
        }),
      )
    }),
  )

  it.effect("tables and columns that are not ours stay", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
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
          const state = yield* StateManager.StateManager
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
      const file = yield* TemporaryDatabase.file
      const everything = Effect.all({
        schema,
        migrations: rows("SELECT * FROM effect_sql_migrations ORDER BY migration_id"),
        state: rows("SELECT * FROM engine_state"),
        sessions: rows("SELECT * FROM sessions"),
        capital: rows("SELECT * FROM capital_events"),
      })
      const before = yield* opening(
        file,
        Effect.gen(function* () {
          const state = yield* StateManager.StateManager
          yield* state.openSession({ parentSessionId: Option.none() })
          yield* state.setMany({ a: "1", b: "2" })
          yield* state.writeInitialBasis({ amount: 10 })
          return yield* everything
        }),
      )
      const after = yield* opening(file, everything)
      expect(after).toEqual(before)
      const sizes = [before.migrations, before.state, before.sessions, before.capital]
      expect(sizes.map(({ length }) => length)).toEqual([3, 2, 1, 1])
    }),
  )

  it.effect("twice at the same time on one connection is no failure", () =>
    Effect.gen(function* () {
      const [first, second] = yield* Effect.all(
        [Layer.build(Layer.fresh(StateManager.layer())), Layer.build(Layer.fresh(StateManager.layer()))],
        { concurrency: "unbounded" },
      )
      yield* Effect.provideContext(
        StateManager.StateManager.use((state) => state.set("a", "1")),
        first,
      )
      const read = Effect.provideContext(
        StateManager.StateManager.use((state) => state.get("a")),
        second,
      )
      expect(yield* read).toEqual(Option.some("1"))
      expect(yield* rows("SELECT migration_id AS id FROM effect_sql_migrations")).toEqual([
        { id: 1 },
        { id: 2 },
        { id: 4 },
      ])
    }).pipe(Effect.provide(TemporaryDatabase.layer())),
  )
})

describe("a schema that cannot be brought up to date", () => {
  for (const [what, script] of [
    ["engine_state is a view", "CREATE VIEW engine_state AS SELECT 'a' AS key"],
    ["sessions is a view", "CREATE VIEW sessions AS SELECT 1 AS session_id"],
    ["capital_events is a view", "CREATE VIEW capital_events AS SELECT 1 AS id"],
  ] as const) {
    it.effect(`fails as a typed error, and creates nothing: ${what}`, () =>
      Effect.gen(function* () {
        const file = yield* TemporaryDatabase.file
        yield* writtenBefore(file, script)
        const exit = yield* Effect.exit(opening(file, Effect.void))
        if (Exit.isSuccess(exit)) throw new Error("expected a failure")
        expect(Cause.hasDies(exit.cause)).toBe(false)
        const error = Cause.squash(exit.cause)
        if (!(error instanceof StateError)) throw new Error(`expected a StateError, got ${String(error)}`)
        expect(error.operation).toBe("schema")
        expect(error.message).toContain(`the table ${what.split(" ")[0]} is not Seawall's: it is a view`)

        const tables = yield* rows("SELECT name FROM sqlite_schema WHERE type = 'table'").pipe(
          Effect.provide(Layer.provide(Database.layer({ filename: file }), TemporaryDatabase.quickDisk)),
        )
        expect(tables).toEqual([])
      }),
    )
  }
})
