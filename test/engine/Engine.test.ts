import { describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Option, Ref, Scope } from "effect"
import { TestClock } from "effect/testing"
import { SqlClient } from "effect/sql"
import * as Ending from "../../src/engine/Ending.ts"
import * as Engine from "../../src/engine/Engine.ts"
import * as EngineProgram from "../../src/engine/EngineProgram.ts"
import * as Halt from "../../src/engine/Halt.ts"
import * as HaltReason from "../../src/engine/HaltReason.ts"
import * as Preflight from "../../src/engine/Preflight.ts"
import * as EngineConfig from "../../src/engine/EngineConfig.ts"
import { DatabaseSync } from "node:sqlite"
import * as Database from "../../src/sqlite/Database.ts"
import { Fdatasync } from "../../src/sqlite/WalSync.ts"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"

const options: Engine.EngineOptions = { tickInterval: "4 seconds", duration: 0, parentSessionId: Option.none() }

const reasons = HaltReason.define({ risk_stale_ledger: { exitCode: 3, isClean: false } })

/** An engine on a real database whose ticks do what the test says, or closes by hand what it is about. */
const started = Effect.fnUntraced(function* (
  tick: (n: number) => Effect.Effect<EngineProgram.TickResult, unknown>,
  overrides: Partial<Engine.EngineOptions> = {},
  disk: Layer.Layer<never> = TemporaryDatabase.quickDisk,
) {
  const count = yield* Ref.make(0)
  const program = Layer.succeed(EngineProgram.EngineProgram, {
    tick: () =>
      Effect.flatMap(
        Ref.updateAndGet(count, (n) => n + 1),
        tick,
      ),
    worth: Effect.succeedSome({ starting: 100, ending: 107 }),
    haltReasons: reasons,
  })
  const config = yield* EngineConfig.load({ source: "test", yaml: "" })
  const file = yield* TemporaryDatabase.file
  const scope = yield* Effect.acquireRelease(Scope.make(), (opened) => Scope.close(opened, Exit.void))
  // As in `Session`, without the guard; the context of what is below is kept even if the engine cannot start.
  const below = yield* Ending.above().pipe(
    Layer.provideMerge(Preflight.layer({ config, parentSessionId: Option.none() })),
    Layer.provideMerge(StateManager.layer()),
    Layer.provideMerge(Layer.provide(Database.layer({ filename: file }), disk)),
    Layer.provideMerge(Halt.layer),
    Layer.provideMerge(Shutdown.layer()),
    Layer.provideMerge(LogCapture.layer),
    Layer.buildWithScope(scope),
  )
  const above = yield* Scope.fork(scope)
  const inside = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideContext(self, below)
  const restart = (within: Scope.Scope) =>
    inside(Engine.layer({ ...options, ...overrides }).pipe(Layer.provide(program), Layer.buildWithScope(within)))
  const start = restart(above)
  return {
    restart,
    file,
    inside,
    ticks: Ref.get(count),
    start,
    /** Closes the engine and leaves the database open, for a look at what was stored. */
    stop: (exit: Exit.Exit<unknown, unknown> = Exit.void) => Scope.close(above, exit),
    close: (exit: Exit.Exit<unknown, unknown> = Exit.void) => Scope.close(scope, exit),
    stored: (key: string) =>
      inside(StateManager.StateManager.use((state) => Effect.map(state.get(key), Option.getOrUndefined))),
    session: inside(StateManager.StateManager.use((state) => Effect.map(state.lastSession, Option.getOrThrow))),
  }
})

const quiet = () => Effect.succeed(EngineProgram.noHalt)

const shutdown = ["stop ticking", "halt.reason", "close session", "engine_status HALTED"]

describe("an engine", () => {
  it.effect("knows how the session before it ended", () =>
    Effect.gen(function* () {
      const engine = yield* started(quiet)
      const first = Context.get(yield* engine.start, Engine.Engine)
      expect(first.lastHaltReason).toEqual(Option.none())
      yield* engine.inside(
        Halt.Halt.use((halt) => halt.request({ reason: Option.some("engine_requested_halt"), detail: "" })),
      )
      yield* engine.stop()
      const scope = yield* Scope.make()
      const again = yield* engine.restart(scope)
      expect(Context.get(again, Engine.Engine).lastHaltReason).toEqual(Option.some("engine_requested_halt"))
      yield* Scope.close(scope, Exit.void)
      yield* engine.close()
    }),
  )

  it.effect("ticks at once and then once an interval, counted from the end of a slow tick", () =>
    Effect.gen(function* () {
      const engine = yield* started((n) => Effect.as(Effect.sleep(n === 2 ? "3 seconds" : 0), EngineProgram.noHalt))
      yield* engine.start
      yield* TestClock.adjust("0 seconds")
      expect(yield* engine.ticks).toBe(1)
      yield* TestClock.adjust("10 seconds") // the second goes from 4 to 7, the third comes at 11
      expect(yield* engine.ticks).toBe(2)
      yield* TestClock.adjust("1 second")
      expect(yield* engine.ticks).toBe(3)
      yield* engine.stop()
    }),
  )

  it.effect("is RUNNING as the last step of its start, with an open session", () =>
    Effect.gen(function* () {
      const engine = yield* started(quiet)
      yield* engine.start
      expect(yield* engine.stored("engine_status")).toBe("RUNNING")
      const session = yield* engine.session
      expect([session.sessionId, Option.isNone(session.endedAt)]).toEqual([1, true])
      yield* engine.stop()
    }),
  )

  it.effect("asks to halt when its duration has elapsed", () =>
    Effect.gen(function* () {
      const engine = yield* started(quiet, { duration: "30 seconds" })
      yield* engine.start
      yield* TestClock.adjust("29 seconds")
      expect(Option.isNone(yield* engine.inside(Halt.Halt.use(({ requested }) => requested)))).toBe(true)
      yield* TestClock.adjust("1 second")
      const request = yield* engine.inside(Halt.Halt.use(({ awaitRequest }) => awaitRequest))
      expect(request.reason).toEqual(Option.some("duration_elapsed"))
      yield* engine.stop()
      expect(yield* engine.stored("halt.reason")).toBe("duration_elapsed")
    }),
  )

  it.effect("halts with the token that its tick has decided, and ticks no more", () =>
    Effect.gen(function* () {
      const engine = yield* started((n) =>
        Effect.succeed(n === 3 ? reasons.haltWith("risk_stale_ledger", "12 ledgers behind") : EngineProgram.noHalt),
      )
      yield* engine.start
      yield* TestClock.adjust("60 seconds")
      expect(yield* engine.ticks).toBe(3)
      yield* engine.inside(Halt.Halt.use(({ awaitRequest }) => awaitRequest))
      expect(yield* engine.stored("halt.reason")).toBe("risk_stale_ledger")
      yield* engine.stop()
      expect(yield* engine.stored("halt.reason")).toBe("risk_stale_ledger")
      expect(yield* engine.stored("halt.detail")).toBe("12 ledgers behind")
      expect((yield* engine.session).haltReason).toEqual(Option.some("risk_stale_ledger"))
      expect(yield* engine.inside(LogCapture.logged("halt reason unknown"))).toEqual([])
    }),
  )

  it.effect("makes the reasons of its program known below it, to any reader of why it ended", () =>
    Effect.gen(function* () {
      const engine = yield* started(quiet)
      const known = engine.inside(Halt.Halt.use((halt) => halt.reasons))
      expect(yield* known).toBe(HaltReason.lifeCycle)
      yield* engine.start
      expect(yield* known).toBe(reasons)
      yield* engine.close()
      expect(yield* known).toBe(reasons)
    }),
  )

  it.effect("stores a token that its program has not given it, and warns", () =>
    Effect.gen(function* () {
      const forgotten = HaltReason.define({ sensor_lost: { exitCode: 4, isClean: true } })
      const engine = yield* started(() => Effect.succeed(forgotten.haltWith("sensor_lost", "")))
      yield* engine.start
      yield* engine.inside(Halt.Halt.use(({ awaitRequest }) => awaitRequest))
      yield* engine.stop()
      expect(yield* engine.stored("halt.reason")).toBe("sensor_lost")
      const lines = yield* engine.inside(LogCapture.logged("halt reason unknown"))
      expect(lines.map(({ level, fields }) => [level, fields["halt_reason"]])).toEqual([["Warn", "sensor_lost"]])
    }),
  )

  it.effect("ends with a reason of its program that is asked for between two ticks", () =>
    Effect.gen(function* () {
      const engine = yield* started(quiet)
      yield* engine.start
      const reason = Option.some(reasons.token("risk_stale_ledger"))
      yield* engine.inside(Halt.Halt.use((halt) => halt.request({ reason, detail: "told by another fiber" })))
      yield* engine.stop()
      expect(yield* engine.stored("halt.reason")).toBe("risk_stale_ledger")
      expect(yield* engine.stored("halt.detail")).toBe("told by another fiber")
    }),
  )

  for (const [name, tick] of [
    ["dies", Effect.die(new Error("no such ledger"))],
    ["fails", Effect.fail("no such ledger")],
    ["is interrupted from inside", Effect.andThen(Effect.logWarning("no such ledger"), Effect.interrupt)],
  ] as const) {
    it.effect(`halts with unhandled_exception when a tick ${name}`, () =>
      Effect.gen(function* () {
        const engine = yield* started(() => tick)
        yield* engine.start
        yield* engine.inside(Halt.Halt.use(({ awaitRequest }) => awaitRequest))
        yield* engine.stop()
        expect(yield* engine.stored("halt.reason")).toBe("unhandled_exception")
        const [line] = yield* engine.inside(LogCapture.logged("tick failed"))
        expect(line?.level).toBe("Error")
        expect(line?.cause).not.toBe("")
      }),
    )
  }

  it.effect("closes in its order at a normal end, at a failure and at an interruption", () =>
    Effect.gen(function* () {
      for (const [exit, reason] of [
        [Exit.void, "unexpected_halt"],
        [Exit.fail("broken"), "unhandled_exception"],
        [Exit.interrupt(), "interrupted_other"],
      ] as const) {
        const engine = yield* started(quiet)
        yield* engine.start
        yield* engine.stop(exit)
        expect(yield* engine.inside(LogCapture.steps)).toEqual(shutdown)
        expect(yield* engine.stored("halt.reason")).toBe(reason)
        expect(yield* engine.stored("engine_status")).toBe("HALTED")
        const session = yield* engine.session
        expect(session.haltReason).toEqual(Option.some(reason))
        expect(Option.isSome(session.endedAt)).toBe(true)
        expect([session.startingValueRlusd, session.endingValueRlusd]).toEqual([Option.some(100), Option.some(107)])
      }
    }),
  )

  it.effect("keeps the reason that was asked for first", () =>
    Effect.gen(function* () {
      const engine = yield* started(quiet, { duration: "10 seconds" })
      yield* engine.start
      const ask = (reason: "interrupted_sigterm" | "interrupted_sigint") =>
        engine.inside(Halt.Halt.use((halt) => halt.request({ reason: Option.some(reason), detail: "" })))
      yield* ask("interrupted_sigterm")
      yield* ask("interrupted_sigint")
      yield* TestClock.adjust("10 seconds")
      yield* engine.stop(Exit.interrupt())
      expect(yield* engine.stored("halt.reason")).toBe("interrupted_sigterm")
    }),
  )

  it.effect("attempts every step of its end, whatever happened to the ones before", () =>
    Effect.gen(function* () {
      const engine = yield* started(quiet)
      yield* engine.start
      const sql = yield* engine.inside(SqlClient.SqlClient)
      yield* sql`DROP TABLE sessions`
      yield* engine.stop()
      const failed = yield* engine.inside(LogCapture.logged("shutdown step failed"))
      expect(failed.map(({ level, fields }) => [level, fields["step"]])).toEqual([["Error", "close session"]])
      expect(failed[0]?.cause).toContain("no such table: sessions")
      expect(yield* engine.inside(LogCapture.steps)).toEqual(shutdown.filter((step) => step !== "close session"))
      expect(yield* engine.stored("engine_status")).toBe("HALTED")
      expect(yield* engine.inside(Effect.flatMap(Shutdown.Shutdown, ({ failures }) => failures))).toEqual([
        "close session",
      ])
    }),
  )

  it.effect("does not wait longer than the budget for a tick that cannot be interrupted", () =>
    Effect.gen(function* () {
      const engine = yield* started(() => Effect.uninterruptible(Effect.never))
      yield* engine.start
      yield* TestClock.adjust("1 second")
      const stopping = yield* Effect.forkChild(engine.stop(), { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      expect(stopping.pollUnsafe()).toBeDefined()
      expect(
        (yield* engine.inside(LogCapture.logged("shutdown step overdue"))).map(({ fields }) => fields["step"]),
      ).toEqual(["stop ticking"])
      expect(yield* engine.stored("engine_status")).toBe("HALTED")
    }),
  )

  it.effect("that cannot start leaves startup_failure and HALTED, and never was RUNNING", () =>
    Effect.gen(function* () {
      const engine = yield* started(quiet)
      const sql = yield* engine.inside(SqlClient.SqlClient)
      yield* sql`DROP TABLE sessions`
      const exit = yield* Effect.exit(engine.start)
      expect(Exit.isFailure(exit)).toBe(true)
      yield* engine.stop(exit)
      yield* engine.close(exit)
      expect(yield* engine.inside(LogCapture.events)).not.toContain("engine running")
      expect(yield* engine.inside(LogCapture.steps)).toEqual(["halt.reason", "drain writes", "close database"])
      const left = new DatabaseSync(engine.file, { readOnly: true })
      const rows = left.prepare("SELECT key, value FROM engine_state ORDER BY key").all().map(Object.values)
      left.close()
      expect(rows).toEqual([
        ["engine_status", "HALTED"],
        ["halt.detail", "openSession failed: no such table: sessions"],
        ["halt.reason", "startup_failure"],
      ])
    }),
  )

  /** An engine whose start is interrupted while the row of its session is on its way to the disk. */
  const interrupting = Effect.gen(function* () {
    const isSlow = yield* Ref.make(false)
    const syncing = yield* Deferred.make<void>()
    const synced = yield* Deferred.make<void>()
    const slowDisk = Layer.succeed(Fdatasync, () =>
      Effect.gen(function* () {
        if (!(yield* Ref.get(isSlow))) return
        yield* Deferred.succeed(syncing, undefined)
        yield* Deferred.await(synced)
      }),
    )
    const engine = yield* started(quiet, {}, slowDisk)
    yield* Ref.set(isSlow, true)
    const starting = yield* Effect.forkChild(engine.start, { startImmediately: true })
    yield* Deferred.await(syncing)
    // What a start has acquired is released as soon as it is interrupted.
    const ending = yield* Effect.forkChild(Fiber.interrupt(starting), { startImmediately: true })
    return { engine, ending, endSync: Deferred.succeed(synced, undefined) }
  })

  it.effect("interrupted while its session is stored closes that session all the same", () =>
    Effect.gen(function* () {
      const { endSync, ending, engine } = yield* interrupting
      yield* endSync
      yield* Fiber.join(ending)
      const { endedAt, haltReason, sessionId } = yield* engine.session
      expect([sessionId, Option.isSome(endedAt), haltReason]).toEqual([1, true, Option.some("interrupted_other")])
      expect(yield* engine.inside(LogCapture.steps)).toEqual(shutdown.filter((step) => step !== "stop ticking"))
      expect(yield* engine.stored("engine_status")).toBe("HALTED")
      expect(yield* engine.inside(LogCapture.events)).not.toContain("engine running")
      yield* engine.close()
    }),
  )

  it.effect("interrupted while a disk that hangs stores its session ends within the budget", () =>
    Effect.gen(function* () {
      const { endSync, ending, engine } = yield* interrupting
      yield* TestClock.adjust("9 seconds")
      expect(ending.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust("1 second")
      expect(ending.pollUnsafe()).toBeDefined()
      yield* endSync
      yield* engine.close()
    }),
  )
})
