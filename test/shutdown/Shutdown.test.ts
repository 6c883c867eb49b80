import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Ref } from "effect"
import { TestClock } from "effect/testing"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"

const withBudget = Layer.merge(Shutdown.layer({ budget: "10 seconds" }), LogCapture.layer)

const overdue = Effect.map(LogCapture.logged("shutdown step overdue"), (entries) =>
  entries.map(({ fields }) => fields["step"]),
)

describe("the steps of a shutdown", () => {
  it.effect("share one budget: each gets what the ones before it have left", () =>
    Effect.gen(function* () {
      const shutdown = yield* Shutdown.Shutdown
      const closing = yield* Effect.forkChild(
        Effect.all([
          Shutdown.step("first", Effect.sleep("7 seconds")),
          Shutdown.step("second", Effect.sleep("7 seconds")),
          Shutdown.step("third", Effect.sleep("1 second")),
          Shutdown.step("fourth", Effect.void),
        ]),
        { startImmediately: true },
      )
      yield* TestClock.adjust("10 seconds")
      expect(yield* Fiber.join(closing)).toEqual(["done", "overdue", "overdue", "done"])
      expect(yield* overdue).toEqual(["second", "third"])
      expect(yield* shutdown.failures).toEqual(["second", "third"])
      expect(Duration.toMillis(yield* shutdown.remaining)).toBe(0)
    }).pipe(Effect.provide(withBudget)),
  )

  it.effect("end on time even if they cannot be interrupted", () =>
    Effect.gen(function* () {
      const stuck = Effect.uninterruptible(Effect.sleep("1 hour"))
      const closing = yield* Effect.forkChild(Shutdown.step("stuck", stuck, { atMost: "5 seconds" }), {
        startImmediately: true,
      })
      yield* TestClock.adjust("5 seconds")
      expect(yield* Fiber.join(closing)).toBe("overdue")
    }).pipe(Effect.provide(withBudget)),
  )

  it.effect("are interrupted at their bound", () =>
    Effect.gen(function* () {
      const interrupted = yield* Ref.make(false)
      const work = Effect.never.pipe(Effect.onInterrupt(() => Ref.set(interrupted, true)))
      const closing = yield* Effect.forkChild(Shutdown.step("work", work, { atMost: "5 seconds" }), {
        startImmediately: true,
      })
      yield* TestClock.adjust("5 seconds")
      expect(yield* Fiber.join(closing)).toBe("overdue")
      expect(yield* Ref.get(interrupted)).toBe(true)
    }).pipe(Effect.provide(withBudget)),
  )

  it.effect("log a failure and a defect at ERROR with the cause, and let the next step run", () =>
    Effect.gen(function* () {
      const shutdown = yield* Shutdown.Shutdown
      expect(yield* Shutdown.step("fails", Effect.fail("no disk"))).toBe("failed")
      expect(yield* Shutdown.step("dies", Effect.die(new Error("no memory")))).toBe("failed")
      expect(yield* Shutdown.step("runs", Effect.void)).toBe("done")
      const lines = yield* LogCapture.logged("shutdown step failed")
      expect(lines.map(({ level, fields }) => [level, fields["step"]])).toEqual([
        ["Error", "fails"],
        ["Error", "dies"],
      ])
      expect(lines[0]?.cause).toContain("no disk")
      expect(lines[1]?.cause).toContain("no memory")
      expect(yield* LogCapture.steps).toEqual(["runs"])
      expect(yield* shutdown.failures).toEqual(["fails", "dies"])
    }).pipe(Effect.provide(withBudget)),
  )

  it.effect("work in a finalizer of an interrupted fiber", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.addFinalizer(() => Shutdown.step("close", Effect.sleep("1 second"))).pipe(
        Effect.andThen(Effect.never),
        Effect.scoped,
        Effect.forkChild({ startImmediately: true }),
      )
      const stopping = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(stopping)
      expect(Exit.hasInterrupts(yield* Fiber.await(fiber))).toBe(true)
      expect(yield* LogCapture.steps).toEqual(["close"])
    }).pipe(Effect.provide(withBudget)),
  )
})

describe("the budget", () => {
  const remaining = Effect.flatMap(Shutdown.Shutdown, (shutdown) => Effect.map(shutdown.remaining, Duration.toSeconds))

  it.effect("runs from the first step", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("1 hour")
      expect(yield* remaining).toBe(10)
      yield* Shutdown.step("first", Effect.void)
      yield* TestClock.adjust("3 seconds")
      expect(yield* remaining).toBe(7)
    }).pipe(Effect.provide(withBudget)),
  )

  it.effect("can be shortened by a hangup, and is never extended", () =>
    Effect.gen(function* () {
      const shutdown = yield* Shutdown.Shutdown
      yield* shutdown.begin()
      yield* TestClock.adjust("1 second")
      yield* shutdown.begin(Shutdown.hangupBudget)
      expect(yield* remaining).toBe(4)
      yield* shutdown.begin("1 hour")
      expect(yield* remaining).toBe(4)
    }).pipe(Effect.provide(withBudget)),
  )

  it.effect("is not shortened to that of the layer by a step, when a longer one runs", () =>
    Effect.gen(function* () {
      const shutdown = yield* Shutdown.Shutdown
      yield* shutdown.begin("1 hour")
      yield* Shutdown.step("first", Effect.void)
      expect(yield* remaining).toBe(3600)
    }).pipe(Effect.provide(withBudget)),
  )

  const endless = Layer.merge(Shutdown.layer({ budget: Duration.infinity }), LogCapture.layer)
  const longStep = (atMost?: Duration.Input) =>
    Effect.forkChild(Shutdown.step("long", Effect.sleep("1 day"), atMost === undefined ? {} : { atMost }), {
      startImmediately: true,
    })

  it.effect("may be infinite: a step then has as long as it takes", () =>
    Effect.gen(function* () {
      const shutdown = yield* Shutdown.Shutdown
      const closing = yield* longStep()
      yield* TestClock.adjust("1 day")
      expect(yield* Fiber.join(closing)).toBe("done")
      expect([yield* remaining, yield* shutdown.remainingPart]).toEqual([Infinity, 1])
      expect(yield* shutdown.failures).toEqual([])
    }).pipe(Effect.provide(endless)),
  )

  it.effect("that is infinite leaves each step its own bound", () =>
    Effect.gen(function* () {
      const closing = yield* longStep("5 seconds")
      yield* TestClock.adjust("5 seconds")
      expect(yield* Fiber.join(closing)).toBe("overdue")
      expect(yield* remaining).toBe(Infinity)
    }).pipe(Effect.provide(endless)),
  )

  it.effect("that is infinite can be begun in place of the layer's, and shortened", () =>
    Effect.gen(function* () {
      const shutdown = yield* Shutdown.Shutdown
      yield* shutdown.begin(Duration.infinity)
      const closing = yield* longStep()
      yield* TestClock.adjust("1 hour")
      expect(closing.pollUnsafe()).toBeUndefined()
      yield* shutdown.begin(Shutdown.hangupBudget)
      expect([yield* remaining, yield* shutdown.remainingPart]).toEqual([4, 1])
      yield* TestClock.adjust("1 second")
      expect([yield* remaining, yield* shutdown.remainingPart]).toEqual([3, 3 / 4])
      yield* Fiber.interrupt(closing)
    }).pipe(Effect.provide(withBudget)),
  )

  it.effect("that runs is not extended by an infinite one", () =>
    Effect.gen(function* () {
      const shutdown = yield* Shutdown.Shutdown
      yield* shutdown.begin()
      yield* shutdown.begin(Duration.infinity)
      expect(yield* remaining).toBe(10)
    }).pipe(Effect.provide(withBudget)),
  )

  it.effect("is each step's own without the layer", () =>
    Effect.gen(function* () {
      const closing = yield* Effect.forkChild(
        Effect.all([
          Shutdown.step("first", Effect.sleep("9 seconds")),
          Shutdown.step("second", Effect.sleep("9 seconds")),
        ]),
        { startImmediately: true },
      )
      yield* TestClock.adjust("18 seconds")
      expect(yield* Fiber.join(closing)).toEqual(["done", "done"])
    }).pipe(Effect.provide(LogCapture.layer)),
  )
})

describe("a finalizer", () => {
  it.effect("that fails or dies outside of its steps is an ERROR, and counts as a step that failed", () =>
    Effect.gen(function* () {
      const shutdown = yield* Shutdown.Shutdown
      const closes = (name: string, self: Effect.Effect<void, string>) =>
        Effect.scoped(Effect.addFinalizer(() => self.pipe(Shutdown.contained(name))))
      yield* closes("fails", Effect.fail("no disk"))
      yield* closes(
        "dies",
        Effect.sync(() => {
          throw new RangeError("0.5 cannot be converted to a BigInt")
        }),
      )
      yield* closes("runs", Effect.void)
      expect(yield* shutdown.failures).toEqual(["fails", "dies"])
      expect((yield* LogCapture.logged("fails failed")).map(({ level }) => level)).toEqual(["Error"])
      expect((yield* LogCapture.logged("dies failed"))[0]?.cause).toContain("RangeError")
    }).pipe(Effect.provide(withBudget)),
  )
})
