/** Which questions share a walk, and what happens to the others when one of them is given up. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import * as SharedWalk from "../../src/processes/SharedWalk.ts"
import { settle } from "../support/ScriptedDisk.ts"

/** Walks that the test ends, one after another, and what each of them was asked. */
const scripted = Effect.sync(() => {
  const walks: Array<{ readonly questions: ReadonlyArray<string>; readonly end: Deferred.Deferred<void> }> = []
  const ask = SharedWalk.make((questions: ReadonlyArray<string>) => {
    const end = Deferred.makeUnsafe<void>()
    const number = walks.push({ questions, end })
    return Effect.as(
      Deferred.await(end),
      questions.map((question) => `${question} of walk ${number}`),
    )
  })
  const end = (number: number, how: Effect.Effect<void> = Effect.void) =>
    Effect.suspend(() => {
      const walk = walks[number - 1]
      if (walk !== undefined) Deferred.doneUnsafe(walk.end, how)
      return settle
    })
  const fork = (question: string) => Effect.tap(Effect.forkChild(ask(question), { startImmediately: true }), settle)
  return { ask, asked: () => walks.map(({ questions }) => questions), end, fork }
})

describe("a shared walk", () => {
  it.effect("answers all that ask at the same moment", () =>
    Effect.gen(function* () {
      const { ask, asked, end } = yield* scripted
      const all = yield* Effect.forkChild(Effect.forEach(["a", "b", "c"], ask, { concurrency: "unbounded" }))
      yield* settle
      expect(asked()).toEqual([["a", "b", "c"]])
      yield* end(1)
      expect(yield* Fiber.join(all)).toEqual(["a of walk 1", "b of walk 1", "c of walk 1"])
    }),
  )

  it.effect("answers nothing that was asked after it started: the next one does", () =>
    Effect.gen(function* () {
      const { asked, end, fork } = yield* scripted
      const first = yield* fork("a")
      const second = yield* fork("b")
      const third = yield* fork("c")
      expect(asked()).toEqual([["a"]])
      yield* end(1)
      expect(yield* Fiber.join(first)).toBe("a of walk 1")
      expect([asked(), second.pollUnsafe()]).toEqual([[["a"], ["b", "c"]], undefined])
      yield* end(2)
      expect(yield* Fiber.joinAll([second, third])).toEqual(["b of walk 2", "c of walk 2"])
      const fourth = yield* fork("d")
      yield* end(3)
      expect(yield* Fiber.join(fourth)).toBe("d of walk 3")
    }),
  )

  it.effect("goes on for the others when the one that began it is interrupted", () =>
    Effect.gen(function* () {
      const { end, fork } = yield* scripted
      const first = yield* fork("a")
      const second = yield* fork("b")
      yield* Fiber.interrupt(first)
      yield* end(1)
      yield* end(2)
      expect(yield* Fiber.join(second)).toBe("b of walk 2")
    }),
  )

  it.effect("that dies fails those that share it, and no other", () =>
    Effect.gen(function* () {
      const { end, fork } = yield* scripted
      const first = yield* fork("a")
      const second = yield* fork("b")
      yield* end(1, Effect.die("the walk broke"))
      expect(Exit.isFailure(yield* Fiber.await(first))).toBe(true)
      yield* end(2)
      expect(yield* Fiber.join(second)).toBe("b of walk 2")
    }),
  )
})
