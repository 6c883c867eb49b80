/** One timer for many: what is called when, and when the timer ends. */
import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Exit, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Pulse from "../../src/sqlite/Pulse.ts"

const second = Duration.seconds(1)

const counted = Effect.fnUntraced(function* (interval: Duration.Duration) {
  const scope = yield* Scope.make()
  let calls = 0
  yield* Scope.provide(
    Pulse.every(interval, () => void calls++),
    scope,
  )
  return { calls: () => calls, close: Scope.close(scope, Exit.void) }
})

describe("a pulse", () => {
  it.effect("calls each function once in an interval, until its scope closes", () =>
    Effect.gen(function* () {
      const one = yield* counted(second)
      const fast = yield* counted(Duration.millis(100))
      yield* TestClock.adjust("2 seconds")
      const other = yield* counted(second)
      yield* TestClock.adjust("3 seconds")
      expect([one.calls(), other.calls(), fast.calls()]).toEqual([5, 3, 50])
      yield* one.close
      yield* TestClock.adjust("1 second")
      expect([one.calls(), other.calls()]).toEqual([5, 4])
      yield* other.close
      yield* fast.close
    }),
  )

  it.effect("ends with its last function, and starts again with the next", () =>
    Effect.gen(function* () {
      const one = yield* counted(second)
      yield* TestClock.adjust("1 second")
      yield* one.close
      yield* TestClock.adjust("10 seconds")
      expect(one.calls()).toBe(1)
      const next = yield* counted(second)
      yield* TestClock.adjust("2 seconds")
      expect([one.calls(), next.calls()]).toEqual([1, 2])
      yield* next.close
    }),
  )
})
