/** What every `StateManager` does, whatever stores it: one suite, run against each implementation. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Data, Effect, Exit, type Layer, Option, Result, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { StateError, type StoreFailure } from "../../src/state/StateError.ts"
import * as StateManager from "../../src/state/StateManager.ts"

/** Fails the test when the effect does not fail, or fails with anything but a `StateError`. */
export const stateErrorOf = Effect.fnUntraced(function* <A, E, R>(self: Effect.Effect<A, E, R>) {
  const result = yield* Effect.result(self)
  if (Result.isSuccess(result) || !(result.failure instanceof StateError)) {
    throw new Error(`expected a StateError, got ${JSON.stringify(result)}`)
  }
  return result.failure
})

/** A value that no store can keep; the types do not let it in. */
export const unstorable = null as unknown as string

/** A program's own table, in SQL that every store understands. */
const readings = {
  "0001_readings": SqlClient.SqlClient.use((sql) =>
    Effect.asVoid(
      sql`CREATE TABLE readings (room TEXT NOT NULL, degrees DOUBLE PRECISION NOT NULL CHECK (degrees <> 'NaN'))`,
    ),
  ),
}

const read = (room: string, degrees: number) => (store: StateManager.Store) =>
  Effect.asVoid(store.sql`INSERT INTO readings ${store.sql.insert({ room, degrees })}`)

/** What a program says about its own data. */
class TooHot extends Data.TaggedError("TooHot")<{ readonly degrees: number }> {}

/** The layer gives an empty store each time it is built. */
export const stateManagerContract = <E>(store: string, layer: Layer.Layer<StateManager.StateManager, E>) => {
  describe(`state keys, on ${store}`, () => {
    it.effect("a key that was never set is none", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        expect(yield* state.get("halt.reason")).toEqual(Option.none())
      }).pipe(Effect.provide(layer)),
    )

    it.effect("a key has the value that was set last, and no other key has it", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        yield* state.set("engine_status", "RUNNING")
        yield* state.set("halt.reason", "kill_switch")
        yield* state.set("engine_status", "HALTED")
        expect(yield* state.get("engine_status")).toEqual(Option.some("HALTED"))
        expect(yield* state.get("halt.reason")).toEqual(Option.some("kill_switch"))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("keys and values are kept as they are, whatever is in them", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        const key = "Robert'); DROP TABLE engine_state; --"
        const value = " \"quoted\" 'twice'\n\t? € \u{1F30A} "
        yield* state.set(key, value)
        expect(yield* state.get(key)).toEqual(Option.some(value))
        expect(yield* state.get(key.toLowerCase())).toEqual(Option.none())
      }).pipe(Effect.provide(layer)),
    )

    it.effect("many keys are set at once, new ones and old ones", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        yield* state.set("a", "old")
        yield* state.setMany({ a: "1", b: "2", c: "3" })
        const values = yield* Effect.forEach(["a", "b", "c"], (key) => state.get(key))
        expect(values).toEqual([Option.some("1"), Option.some("2"), Option.some("3")])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("when one of many keys cannot be set, none is", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        yield* state.set("a", "old")
        const error = yield* stateErrorOf(state.setMany({ a: "1", b: "2", c: unstorable, d: "4" }))
        expect(error.operation).toBe("setMany")
        const values = yield* Effect.forEach(["a", "b", "c", "d"], (key) => state.get(key))
        expect(values).toEqual([Option.some("old"), Option.none(), Option.none(), Option.none()])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("goes on after a failure", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        expect((yield* stateErrorOf(state.set("a", unstorable))).operation).toBe("set")
        yield* stateErrorOf(state.setMany({ a: unstorable }))
        yield* state.setMany({ a: "1" })
        expect(yield* state.get("a")).toEqual(Option.some("1"))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("cleared keys read as none, the others stay, and a cleared key can be set again", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
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
        const state = yield* StateManager.StateManager
        yield* state.set("a", "1")
        yield* state.clear()
        expect(yield* state.get("a")).toEqual(Option.some("1"))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("an empty value reads as none", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
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
          const state = yield* StateManager.StateManager
          yield* state.set("n", text)
          expect(yield* state.getInt("n")).toBe(integer)
        }).pipe(Effect.provide(layer)),
      )
    }

    it.effect("an integer that was never set, or was cleared, is 0", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        yield* state.set("n", "42")
        expect(yield* state.getInt("never set")).toBe(0)
        yield* state.clear("n")
        expect(yield* state.getInt("n")).toBe(0)
      }).pipe(Effect.provide(layer)),
    )
  })

  describe(`sessions, on ${store}`, () => {
    it.effect("are numbers to an engine, also in a program that asks for whole numbers as bigint", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        const sessionId = yield* state.openSession({ parentSessionId: Option.none() })
        yield* state.closeSession({ sessionId, haltReason: "duration_elapsed", worth: Option.none() })
        expect([sessionId, Option.getOrThrow(yield* state.lastSession).sessionId]).toEqual([1, 1])
        yield* state.writeInitialBasis({ amount: 10 })
        expect(yield* state.netBasisRlusd).toBe(10)
        yield* state.injectCapital({ amount: 5, sourceNote: "a test" })
        expect((yield* state.capital).hasInitialBasis).toBe(true)
      }).pipe(Effect.provideService(SqlClient.SafeIntegers, true), Effect.provide(layer)),
    )

    it.effect("before the first one there is none", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        expect(yield* state.lastSession).toEqual(Option.none())
      }).pipe(Effect.provide(layer)),
    )

    it.effect("an open session has its start in UTC, and nothing of its end", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
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
        const state = yield* StateManager.StateManager
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
        const state = yield* StateManager.StateManager
        const sessionId = yield* state.openSession({ parentSessionId: Option.none() })
        yield* state.closeSession({ sessionId, haltReason: "startup_failure", worth: Option.none() })
        const session = Option.getOrThrow(yield* state.lastSession)
        expect(session.haltReason).toEqual(Option.some("startup_failure"))
        expect([session.startingValueRlusd, session.endingValueRlusd]).toEqual([Option.none(), Option.none()])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("a recovery has a number of its own and the number of its parent", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        const parent = yield* state.openSession({ parentSessionId: Option.none() })
        const child = yield* state.openSession({ parentSessionId: Option.some(parent) })
        expect(child).toBeGreaterThan(parent)
        const session = Option.getOrThrow(yield* state.lastSession)
        expect([session.sessionId, session.parentSessionId]).toEqual([child, Option.some(parent)])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("the last session is the one with the highest number, not the one that was closed last", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        const first = yield* state.openSession({ parentSessionId: Option.none() })
        const second = yield* state.openSession({ parentSessionId: Option.none() })
        yield* state.closeSession({ sessionId: first, haltReason: "kill_switch", worth: Option.none() })
        const session = Option.getOrThrow(yield* state.lastSession)
        expect([session.sessionId, session.haltReason]).toEqual([second, Option.none()])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("closing a session that was never opened fails, and closes no other", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
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

  describe(`what a program stores, on ${store}`, () => {
    /** All rooms in the order in which they were read, by a transaction that only reads. */
    const rooms = StateManager.StateManager.use((state) =>
      state.transaction("rooms", ({ sql }) => sql<{ room: string }>`SELECT room FROM readings`),
    ).pipe(Effect.map((rows) => rows.map(({ room }) => room)))

    const prepared = Effect.tap(StateManager.StateManager, (state) => state.migrate("station", readings))

    it.effect("rows and state keys are stored together, and what the work answers is the answer", () =>
      Effect.gen(function* () {
        const state = yield* prepared
        yield* state.setMany({ last: "old", "halt.reason": "kill_switch" })
        const answer = yield* state.transaction("record", (store) =>
          read("attic", 21.5)(store).pipe(Effect.andThen(store.set("last", "attic")), Effect.as(42)),
        )
        expect([answer, yield* rooms]).toEqual([42, ["attic"]])
        const values = yield* Effect.forEach(["last", "halt.reason"], (key) => state.get(key))
        expect(values).toEqual([Option.some("attic"), Option.some("kill_switch")])
      }).pipe(Effect.provide(layer)),
    )

    for (const [what, broken] of [
      ["a row", read("cellar", Number.NaN)],
      ["a state key", (store: StateManager.Store) => store.set("last", unstorable)],
      ["a statement", (store: StateManager.Store) => store.sql`INSERT INTO nothing (a) VALUES (1)`],
      ["a row that does not decode", () => Schema.decodeUnknownEffect(Schema.Int)("many")],
    ] satisfies ReadonlyArray<readonly [string, (store: StateManager.Store) => Effect.Effect<unknown, StoreFailure>]>) {
      it.effect(`nothing of it is stored when ${what} is refused, and the next one is`, () =>
        Effect.gen(function* () {
          const state = yield* prepared
          yield* state.set("last", "old")
          const failing = state.transaction("record", (store) =>
            read(
              "attic",
              21.5,
            )(store).pipe(
              Effect.andThen(store.set("last", "attic")),
              Effect.andThen(broken(store) as Effect.Effect<unknown, StoreFailure>),
              Effect.andThen(store.set("last", "cellar")),
            ),
          )
          expect((yield* stateErrorOf(failing)).operation).toBe("record")
          expect([yield* state.get("last"), yield* rooms]).toEqual([Option.some("old"), []])
          yield* state.transaction("record", read("roof", 3))
          expect(yield* rooms).toEqual(["roof"])
        }).pipe(Effect.provide(layer)),
      )
    }

    it.effect("nothing of it is stored when the program itself says no, and it hears its own words", () =>
      Effect.gen(function* () {
        const state = yield* prepared
        const refused = state.transaction("record", (store) =>
          Effect.andThen(read("attic", 99)(store), Effect.fail(new TooHot({ degrees: 99 }))),
        )
        const error: TooHot | StateError = yield* Effect.flip(refused)
        expect(error).toEqual(new TooHot({ degrees: 99 }))
        expect(yield* rooms).toEqual([])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("nothing of it is stored when it dies, and the next one is", () =>
      Effect.gen(function* () {
        const state = yield* prepared
        const exit = yield* Effect.exit(
          state.transaction("record", (store) => Effect.andThen(read("attic", 1)(store), Effect.die("bug"))),
        )
        expect(Exit.isFailure(exit) && Cause.hasDies(exit.cause)).toBe(true)
        yield* state.transaction("record", read("roof", 3))
        expect(yield* rooms).toEqual(["roof"])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("those that come at the same time do not mix", () =>
      Effect.gen(function* () {
        const state = yield* prepared
        const names = Array.from({ length: 20 }, (_, n) => `room ${n}`)
        const outcomes = yield* Effect.forEach(
          names,
          (name, n) =>
            Effect.exit(
              state.transaction("record", (store) =>
                Effect.andThen(
                  read(name, n)(store),
                  n % 2 === 0 ? read(name, n)(store) : read(name, Number.NaN)(store),
                ),
              ),
            ),
          { concurrency: "unbounded" },
        )
        expect(outcomes.map(Exit.isSuccess)).toEqual(names.map((_, n) => n % 2 === 0))
        expect(yield* rooms).toEqual(names.filter((_, n) => n % 2 === 0).flatMap((name) => [name, name]))
      }).pipe(Effect.provide(layer)),
    )
  })

  describe(`the tables of a program, on ${store}`, () => {
    const more = (statement: string) => ({
      ...readings,
      "0002_more": SqlClient.SqlClient.use((sql) => Effect.asVoid(sql.unsafe(statement))),
    })
    const add = "ALTER TABLE readings ADD COLUMN height DOUBLE PRECISION"

    it.effect("each step runs once, and new ones run after those that ran", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        yield* state.migrate("station", readings)
        yield* state.migrate("station", readings)
        yield* state.transaction("record", read("attic", 21.5))
        yield* state.migrate("station", more(add))
        yield* state.migrate("station", more(add))
        const rows = yield* state.transaction("heights", ({ sql }) => sql`SELECT room, height FROM readings`)
        expect(rows.map((row) => ({ ...row }))).toEqual([{ room: "attic", height: null }])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("the steps of two programs are counted apart, and apart from the engine's", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        yield* state.migrate("station", readings)
        yield* state.migrate("garden", {
          "0001_beds": SqlClient.SqlClient.use((sql) => Effect.asVoid(sql`CREATE TABLE beds (name TEXT)`)),
        })
        yield* state.transaction("plant", ({ sql }) => sql`INSERT INTO beds ${sql.insert({ name: "herbs" })}`)
        yield* state.transaction("record", read("attic", 21.5))
        yield* state.set("a", "1")
        expect(yield* state.get("a")).toEqual(Option.some("1"))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("a step that fails leaves nothing of its call, and can be tried again", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        expect((yield* stateErrorOf(state.migrate("station", more("CREATE nonsense")))).operation).toBe("schema")
        yield* stateErrorOf(state.transaction("record", read("attic", 21.5))) // there is no such table
        yield* state.migrate("station", more(add))
        yield* state.transaction("record", read("attic", 21.5))
      }).pipe(Effect.provide(layer)),
    )

    it.effect("a step whose name has no number is refused, not left out", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        const error = yield* stateErrorOf(state.migrate("station", { ...readings, "-1_before": Effect.void }))
        expect(error.message).toContain("-1_before")
      }).pipe(Effect.provide(layer)),
    )

    for (const name of ["effect_sql", "Effect_SQL"]) {
      it.effect(`the name ${name} is refused: its table would be the engine's`, () =>
        Effect.gen(function* () {
          const state = yield* StateManager.StateManager
          const error = yield* stateErrorOf(state.migrate(name, readings))
          expect(error.message).toContain("choose another name")
        }).pipe(Effect.provide(layer)),
      )
    }
  })
}
