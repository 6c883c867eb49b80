import { describe, expect, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Option, Runtime, Schema, Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as Ending from "../../src/engine/Ending.ts"
import * as EngineConfig from "../../src/engine/EngineConfig.ts"
import * as Halt from "../../src/engine/Halt.ts"
import * as Preflight from "../../src/engine/Preflight.ts"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"

/** Of an invented program: what must hold is asked of its own section and of the engine's. */
const Tank = EngineConfig.make({
  sections: {
    tank: Schema.Struct({
      low: EngineConfig.withDefault(Schema.Finite, 1),
      high: EngineConfig.withDefault(Schema.Finite, 2),
    }),
  },
  invariants: ({ engine, tank }) => [
    ...(tank.low < tank.high ? [] : [`expected tank.low to be less than tank.high (${tank.high}), got ${tank.low}`]),
    ...(engine.tick_interval_seconds < 60 ? [] : [`expected a tick a minute, got ${engine.tick_interval_seconds} s`]),
  ],
})
const { invariants } = Tank
const defaults = Schema.decodeSync(Tank.schema)({})

/** Two invariants, each of them broken. */
const broken = Schema.decodeSync(Tank.schema)({ engine: { tick_interval_seconds: 60 }, tank: { low: 3 } })
const problemsOfBroken = [
  "expected tank.low to be less than tank.high (2), got 3",
  "expected a tick a minute, got 60 s",
]

/** What stands below the preflight, and outlives it: the test looks at what was stored after it has closed. */
const below = () =>
  Layer.mergeAll(StateManager.layer(), Halt.layer, Shutdown.layer()).pipe(
    Layer.provideMerge(TemporaryDatabase.layer()),
    Layer.provideMerge(LogCapture.layer),
  )

const fresh = Option.none<number>()
const recovery = Option.some(1)

/** The preflight between the two that store how a start ended, as in `Session`. */
const preflight = (options: Preflight.PreflightOptions<typeof defaults>) =>
  Ending.above().pipe(Layer.provideMerge(Preflight.layer(options)), Layer.provideMerge(Ending.below()))

/** Builds the preflight, with what stands above it, in a scope of its own. */
const started = Effect.fnUntraced(function* <A, E, R>(
  options: Preflight.PreflightOptions<typeof defaults>,
  above: Layer.Layer<A, E, R>,
) {
  const scope = yield* Scope.make()
  if (Option.contains(options.parentSessionId, 1)) {
    yield* StateManager.StateManager.use((state) => state.openSession({ parentSessionId: fresh }))
  }
  const built = yield* above.pipe(
    Layer.provideMerge(preflight(options)),
    Layer.buildWithScope(scope),
    Effect.onExit((exit) => (Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void)),
    Effect.exit,
  )
  return { built, close: (exit: Exit.Exit<unknown, unknown>) => Scope.close(scope, exit) }
})

const keys = ["halt.reason", "halt.detail", "engine_status"]

/** What an operator finds. */
const stored = StateManager.StateManager.use((state) =>
  Effect.map(
    Effect.forEach(keys, (key) => state.get(key)),
    (values) => Object.fromEntries(values.map((value, i) => [keys[i]!, Option.getOrElse(value, () => "")])),
  ),
)

/** Left by a session that was killed after an operator had stopped it once. */
const storedBefore = StateManager.StateManager.use((state) =>
  state.setMany({ "halt.reason": "kill_switch", "halt.detail": "by hand", engine_status: "RUNNING", other: "1" }),
)

describe("a parent session", () => {
  it.effect("that is none of this database is refused", () =>
    Effect.gen(function* () {
      const problemOf = Effect.fnUntraced(function* (id: number) {
        const { built } = yield* started(
          { config: defaults, invariants, parentSessionId: Option.some(id) },
          Layer.empty,
        )
        return Exit.isFailure(built) ? String(Cause.squash(built.cause)) : "none"
      })
      expect(yield* problemOf(7)).toContain("one of this database (it has none yet), got 7")
      expect(yield* problemOf(1)).toBe("none")
      expect(yield* problemOf(2)).toContain("one of this database (1 to 1), got 2")
      yield* storedBefore
      const before = yield* stored
      expect(yield* problemOf(0)).toContain("got 0")
      expect(yield* stored).toEqual(before)
    }).pipe(Effect.provide(below())),
  )
})

describe("a configuration that is refused", () => {
  for (const [kind, parentSessionId] of [
    ["a fresh session", fresh],
    ["a recovery restart", recovery],
  ] as const) {
    it.effect(`of ${kind} is stored with every problem, and then fails the start`, () =>
      Effect.gen(function* () {
        yield* storedBefore
        const { built } = yield* started({ config: broken, invariants, parentSessionId }, Layer.empty)
        if (Exit.isSuccess(built)) throw new Error("expected a refusal")
        const error = Cause.squash(built.cause)
        if (!(error instanceof Preflight.PreflightError)) throw new Error(`expected a refusal, got ${String(error)}`)
        expect(error.problems).toEqual(problemsOfBroken)
        expect(error[Runtime.errorExitCode]).toBe(78)
        for (const problem of problemsOfBroken) expect(error.message).toContain(problem)

        expect(yield* stored).toEqual({
          "halt.reason": "config_mismatch",
          "halt.detail": problemsOfBroken.join("; "),
          engine_status: "HALTED",
        })
        expect(yield* Halt.Halt.use((halt) => halt.settled)).toEqual(Option.some("config_mismatch"))
      }).pipe(Effect.provide(below())),
    )
  }

  it.effect("is stored before it fails, and starts nothing above", () =>
    Effect.gen(function* () {
      let reached = false
      const above = Layer.effectDiscard(Effect.sync(() => (reached = true)))
      const { built } = yield* started({ config: broken, invariants, parentSessionId: fresh }, above)
      expect([Exit.isFailure(built), reached]).toEqual([true, false])
      expect((yield* stored)["halt.reason"]).toBe("config_mismatch")
    }).pipe(Effect.provide(below())),
  )

  it.effect("is stored as a whole or not at all", () =>
    Effect.gen(function* () {
      yield* storedBefore
      yield* SqlClient.SqlClient.use((sql) =>
        sql.unsafe(
          `CREATE TRIGGER no_detail BEFORE UPDATE ON engine_state WHEN new.value LIKE 'expected%'
           BEGIN SELECT RAISE(ABORT, 'no room for details'); END`,
        ),
      )
      const { built } = yield* started({ config: broken, invariants, parentSessionId: recovery }, Layer.empty)
      if (Exit.isSuccess(built)) throw new Error("expected a failure")
      expect(String(Cause.squash(built.cause))).toContain("no room for details")
      expect(yield* stored).toEqual({
        "halt.reason": "startup_failure",
        "halt.detail": "setMany failed: no room for details",
        engine_status: "HALTED",
      })
    }).pipe(Effect.provide(below())),
  )
})

describe("a session that may start", () => {
  it.effect("forgets how the session before it ended, when it is fresh, and nothing else", () =>
    Effect.gen(function* () {
      yield* storedBefore
      const { built } = yield* started({ config: defaults, invariants, parentSessionId: fresh }, Layer.empty)
      expect(Exit.isSuccess(built)).toBe(true)
      expect(yield* stored).toEqual({ "halt.reason": "", "halt.detail": "", engine_status: "RUNNING" })
      expect(yield* StateManager.StateManager.use((state) => state.get("other"))).toEqual(Option.some("1"))
    }).pipe(Effect.provide(below())),
  )

  it.effect("forgets nothing when it recovers another one", () =>
    Effect.gen(function* () {
      yield* storedBefore
      const { built } = yield* started({ config: defaults, invariants, parentSessionId: recovery }, Layer.empty)
      expect(Exit.isSuccess(built)).toBe(true)
      expect(yield* stored).toEqual({
        "halt.reason": "kill_switch",
        "halt.detail": "by hand",
        engine_status: "RUNNING",
      })
    }).pipe(Effect.provide(below())),
  )

  it.effect("leaves what the engine has written when it closes", () =>
    Effect.gen(function* () {
      const { close } = yield* started({ config: defaults, invariants, parentSessionId: fresh }, Layer.empty)
      yield* Halt.Halt.use((halt) => halt.settle("duration_elapsed"))
      yield* StateManager.StateManager.use((state) =>
        state.setMany({ "halt.reason": "duration_elapsed", engine_status: "HALTED" }),
      )
      yield* close(Exit.fail("something else"))
      expect(yield* stored).toEqual({ "halt.reason": "duration_elapsed", "halt.detail": "", engine_status: "HALTED" })
      expect(yield* LogCapture.logged("shutdown step")).toEqual([])
    }).pipe(Effect.provide(below())),
  )
})

describe("a start that ends before the engine ran", () => {
  const failing = [
    ["a failure", Effect.fail("no such market"), "no such market"],
    ["a defect", Effect.die(new Error("no such thing")), "no such thing"],
  ] as const

  for (const [what, effect, detail] of failing) {
    it.effect(`with ${what} above is startup_failure and HALTED`, () =>
      Effect.gen(function* () {
        yield* StateManager.StateManager.use((state) => state.set("engine_status", "RUNNING")) // left by a crash long ago
        const { built } = yield* started(
          { config: defaults, invariants, parentSessionId: fresh },
          Layer.effectDiscard(effect),
        )
        expect(Exit.isFailure(built)).toBe(true)
        expect(yield* stored).toEqual({
          "halt.reason": "startup_failure",
          "halt.detail": detail,
          engine_status: "HALTED",
        })
        expect(yield* Halt.Halt.use((halt) => halt.settled)).toEqual(Option.some("startup_failure"))
        const lines = yield* LogCapture.logged("shutdown step")
        expect(lines.map(({ fields }) => fields["step"])).toEqual(["halt.reason"])
      }).pipe(Effect.provide(below())),
    )
  }

  it.effect("is startup_failure for a recovery restart, too, whatever the session before it stored", () =>
    Effect.gen(function* () {
      yield* storedBefore
      const above = Layer.effectDiscard(Effect.fail("no such market"))
      yield* started({ config: defaults, invariants, parentSessionId: recovery }, above)
      expect(yield* stored).toEqual({
        "halt.reason": "startup_failure",
        "halt.detail": "no such market",
        engine_status: "HALTED",
      })
    }).pipe(Effect.provide(below())),
  )

  /** A start that hangs above the preflight, and is interrupted there. */
  const interrupted = Effect.fnUntraced(function* (before: Effect.Effect<unknown, never, Halt.Halt>) {
    const reached = yield* Deferred.make<void>()
    const hanging = Layer.effectDiscard(Effect.andThen(Deferred.succeed(reached, undefined), Effect.never))
    const starting = yield* Effect.never.pipe(
      Effect.provide(Layer.provideMerge(hanging, preflight({ config: defaults, invariants, parentSessionId: fresh }))),
      Effect.forkChild({ startImmediately: true }),
    )
    yield* Deferred.await(reached)
    yield* before
    yield* Fiber.interrupt(starting)
  })

  for (const token of ["interrupted_sigterm", "interrupted_sighup"] as const) {
    it.effect(`with an interruption that was asked for is ${token}, as it was asked for`, () =>
      Effect.gen(function* () {
        yield* interrupted(Halt.Halt.use((halt) => halt.request({ reason: Option.some(token), detail: "" })))
        expect(yield* stored).toEqual({ "halt.reason": token, "halt.detail": "", engine_status: "HALTED" })
      }).pipe(Effect.provide(below())),
    )
  }

  it.effect("with an interruption without a request is interrupted_other", () =>
    Effect.gen(function* () {
      yield* interrupted(Effect.void)
      expect((yield* stored)["halt.reason"]).toBe("interrupted_other")
    }).pipe(Effect.provide(below())),
  )

  it.effect("keeps the token of the signal when the start fails on its way down", () =>
    Effect.gen(function* () {
      const above = Layer.effectDiscard(
        Halt.Halt.use((halt) => halt.request({ reason: Option.some("interrupted_sigint"), detail: "" })).pipe(
          Effect.andThen(Effect.fail("connection closed")),
        ),
      )
      yield* started({ config: defaults, invariants, parentSessionId: fresh }, above)
      expect((yield* stored)["halt.reason"]).toBe("interrupted_sigint")
    }).pipe(Effect.provide(below())),
  )

  it.effect("is unexpected_halt when everything above closes without having run or failed", () =>
    Effect.gen(function* () {
      const { close } = yield* started({ config: defaults, invariants, parentSessionId: fresh }, Layer.empty)
      yield* close(Exit.void)
      expect(yield* stored).toEqual({ "halt.reason": "unexpected_halt", "halt.detail": "", engine_status: "HALTED" })
    }).pipe(Effect.provide(below())),
  )

  it.effect("is an ERROR, and remembered as a failed step, when it cannot be stored", () =>
    Effect.gen(function* () {
      yield* SqlClient.SqlClient.use((sql) => sql.unsafe("DROP TABLE engine_state"))
      const above = Layer.effectDiscard(Effect.fail("no such market"))
      const { built } = yield* started({ config: defaults, invariants, parentSessionId: recovery }, above)
      expect(Exit.isFailure(built) && Cause.squash(built.cause)).toBe("no such market")
      const [line, ...more] = yield* LogCapture.logged("shutdown step failed")
      expect(more).toEqual([])
      expect([line?.level, line?.fields["step"]]).toEqual(["Error", "halt.reason"])
      expect(line?.cause).toContain("no such table: engine_state")
      const shutdown = yield* Shutdown.Shutdown
      expect(yield* shutdown.failures).toEqual(["halt.reason"])
    }).pipe(Effect.provide(below())),
  )
})
