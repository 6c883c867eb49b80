/** What every `StateManager` does, whatever stores it: one suite, run against each implementation. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, type Layer, Option, Result } from "effect"
import { TestClock } from "effect/testing"
import { StateError } from "../../src/state/StateError.ts"
import { type PaperTick, StateManager } from "../../src/state/StateManager.ts"

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

export const tick: PaperTick = {
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

/** The second fill cannot be stored: a side must not be NULL. */
export const brokenTick: PaperTick = {
  ...tick,
  fills: [tick.fills[0]!, { side: unstorable as "sell", price: 0.53, xrp: 4, spreadPnlRlusd: 0.02 }],
}

/** The layer gives an empty store each time it is built. */
export const stateManagerContract = <E>(store: string, layer: Layer.Layer<StateManager, E>) => {
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
