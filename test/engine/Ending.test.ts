/** What stores the end of a session: below the guard, after the guard has closed the `Writer`, and on a busy database. */
// @effect-diagnostics globalErrorInEffectFailure:off -- what a program fails with is its own
import { DatabaseSync } from "node:sqlite"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Scope } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import * as Ending from "../../src/engine/Ending.ts"
import * as EngineProgram from "../../src/engine/EngineProgram.ts"
import * as Halt from "../../src/engine/Halt.ts"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import * as Database from "../../src/sqlite/Database.ts"
import type { DatabaseControl } from "../../src/sqlite/DatabaseControl.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import { killed, type LifeCycle, lived, storedIn } from "../support/LifeCycle.ts"
import { writtenBefore } from "../support/StoredRows.ts"
import { settle } from "../support/ScriptedDisk.ts"

const signal = Halt.Halt.use((halt) => halt.request({ reason: Option.some("interrupted_sighup"), detail: "hung up" }))

/** Builds a chain that fails above the lower ending alone, closes it, and gives what was stored and logged. */
const belowOnly = Effect.fnUntraced(function* (
  file: string,
  above: Layer.Layer<never, unknown, Database.Database | DatabaseControl | SqlClient.SqlClient | Halt.Halt>,
) {
  const foundation = yield* Layer.build(
    Layer.mergeAll(Halt.layer, Shutdown.layer(), TemporaryDatabase.quickDisk).pipe(
      Layer.provideMerge(LogCapture.layer),
    ),
  )
  return yield* Effect.gen(function* () {
    const chain = above.pipe(
      Layer.provideMerge(Ending.below()),
      Layer.provideMerge(TemporaryDatabase.alone(Database.layer({ filename: file }))),
    )
    const exit = yield* Effect.exit(Effect.scoped(Layer.build(chain)))
    const { entries } = yield* LogCapture.LogCapture
    const { detail, reason, status } = storedIn(file)
    return {
      isFailure: Exit.isFailure(exit),
      stored: { reason, detail, status },
      settled: Option.getOrUndefined(yield* Halt.Halt.use((halt) => halt.settled)),
      failedSteps: yield* Shutdown.Shutdown.use(({ failures }) => failures),
      alarms: entries.filter(({ level }) => level === "Warn" || level === "Error"),
      steps: entries.filter(({ event }) => event === "shutdown step").map(({ fields }) => fields["step"]),
    }
  }).pipe(Effect.provideContext(foundation))
}, Effect.scoped)

const failures = {
  fails: [Effect.fail(new Error("no thread")), "startup_failure", "no thread"],
  dies: [Effect.die(new Error("no thread")), "startup_failure", "no thread"],
  "is interrupted": [Effect.interrupt, "interrupted_other", ""],
  "fails after a signal": [
    Effect.andThen(signal, Effect.fail(new Error("no thread"))),
    "interrupted_sighup",
    "hung up",
  ],
} as const

/** A guard that has started: its end drains and closes the `Writer`. */
const guard = WalGuard.layer().pipe(Layer.provideMerge(Checkpointer.layerInline()))

describe("what is right above the database", () => {
  for (const [how, [effect, reason, detail]] of Object.entries(failures)) {
    const broken = Layer.effectDiscard<never, unknown, Halt.Halt>(effect)
    for (const [where, above] of [
      ["below the guard", () => broken],
      ["after the guard has started", () => Layer.provide(broken, Layer.fresh(guard))],
    ] as const) {
      for (const [kind, script] of [
        ["a database that has no tables yet", ""],
        ["one that a crash left RUNNING", killed],
      ] as const) {
        it.effect(`and ${how} ${where} is stored in ${kind}`, () =>
          Effect.gen(function* () {
            const file = yield* TemporaryDatabase.file
            yield* writtenBefore(file, script)
            const ended = yield* belowOnly(file, above())
            expect(ended.isFailure).toBe(true)
            expect(ended.stored).toEqual({ reason, detail, status: "HALTED" })
            expect([ended.settled, ended.failedSteps, ended.alarms]).toEqual([reason, [], []])
            expect(ended.steps).toContain("halt.reason")
          }),
        )
      }
    }
  }

  it.effect("and fails with a long text is stored with its beginning", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const ended = yield* belowOnly(file, Layer.effectDiscard(Effect.fail(new Error(`${"x".repeat(5000)}\uD800`))))
      expect(ended.stored.detail).toBe("x".repeat(2000))
    }),
  )

  it.effect("and fails where nothing can be stored is one ERROR with the cause, and a step that failed", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* writtenBefore(
        file,
        `${killed} CREATE TRIGGER full BEFORE UPDATE ON engine_state BEGIN SELECT RAISE(ABORT, 'no room'); END;`,
      )
      const before = storedIn(file)
      const ended = yield* belowOnly(file, Layer.effectDiscard(Effect.fail(new Error("no thread"))))
      expect(ended.alarms.map(({ event, level }) => [level, event])).toEqual([["Error", "start failure not stored"]])
      expect(ended.alarms[0]?.cause).toContain("no room")
      expect(ended.failedSteps).toEqual(["halt.reason"])
      expect(storedIn(file)).toEqual(before)
    }),
  )
})

/** Another connection that holds the writer lock; the caller releases it. */
const lock = (file: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const database = new DatabaseSync(file)
      database.exec("BEGIN IMMEDIATE")
      return database
    }),
    (database) => Effect.sync(() => database.isOpen && database.close()),
  )

const turn = Effect.andThen(
  Effect.promise(() => new Promise((resolve) => setImmediate(resolve))),
  settle,
)

/** Lets virtual time pass in steps, with turns of the event loop between them. */
const passing = (millis: number) =>
  Effect.forEach(Array.from({ length: millis / 100 }), () => Effect.andThen(TestClock.adjust("100 millis"), turn), {
    discard: true,
  })

/** Time passes until it ends. */
const ending = <A, E>(living: Fiber.Fiber<A, E>) =>
  Effect.andThen(Effect.repeat(passing(100), { until: () => living.pollUnsafe() !== undefined }), Fiber.join(living))

const impatient = { busy_timeout_seconds: 0 }

/** Starts a session, and waits until its end has said who holds the lock, which is looked up in real time. */
const busy = Effect.fnUntraced(function* (make: (file: string) => Omit<LifeCycle, "file" | "log">, script = "") {
  const file = yield* TemporaryDatabase.file
  yield* writtenBefore(file, script)
  const log = yield* Deferred.make<ReadonlyArray<LogCapture.Entry>>()
  const living = yield* Effect.forkChild(lived({ file, engine: impatient, log, ...make(file) }))
  const entries = yield* Deferred.await(log)
  const isSaid = Effect.sync(() => entries.some(({ event }) => event === "database busy"))
  yield* Effect.repeat(turn, { until: () => isSaid })
  return { file, living }
})

/** A session that is asked to halt while another connection holds the writer lock. */
const busyEnd = Effect.gen(function* () {
  const scope = yield* Effect.scope
  const locked = yield* Deferred.make<DatabaseSync>()
  const act = (file: string) =>
    Effect.gen(function* () {
      yield* settle
      yield* Deferred.succeed(locked, yield* Scope.provide(lock(file), scope))
      yield* signal
    })
  const { file, living } = yield* busy((at) => ({ act: act(at) }))
  return { file, living, holder: yield* Deferred.await(locked) }
})

describe("an end on a busy database", () => {
  it.effect("waits for the lock, says once who holds it, and stores all of it", () =>
    Effect.gen(function* () {
      const { file, holder, living } = yield* busyEnd
      yield* passing(4000)
      expect(living.pollUnsafe()).toBeUndefined()
      holder.close()
      const ended = yield* ending(living)
      expect(storedIn(file)).toEqual({
        reason: "interrupted_sighup",
        detail: "hung up",
        status: "HALTED",
        sessions: [{ id: 1, ended: 1, reason: "interrupted_sighup", starting: 100, ending: 107 }],
      })
      expect([ended.alarms, ended.failedSteps]).toEqual([["database busy"], []])
      const line = ended.entries.find(({ event }) => event === "database busy")
      expect([line?.level, line?.fields["step"], line?.fields["held_by"]]).toEqual(["Warn", "halt.reason", "unknown"])
    }).pipe(Effect.scoped),
  )

  it.effect("gives each step half of what is left, and names every step that could not be stored", () =>
    Effect.gen(function* () {
      const { file, holder, living } = yield* busyEnd
      yield* passing(4900)
      expect(living.pollUnsafe()).toBeUndefined()
      const ended = yield* ending(living)
      const failed = ended.entries.filter(({ event }) => event === "shutdown step failed")
      expect(failed.slice(0, 3).map(({ fields }) => fields["step"])).toEqual([
        "halt.reason",
        "close session",
        "engine_status HALTED",
      ])
      const shares = failed.slice(0, 3).map(({ fields }) => Number(fields["elapsed_ms"]))
      expect(shares).toEqual([5000, 2500, 1300])
      expect(failed[0]?.cause).toContain("database is locked")
      expect(ended.alarms.filter((event) => event === "database busy")).toHaveLength(1)
      expect(ended.failedSteps.slice(0, 3)).toEqual(["halt.reason", "close session", "engine_status HALTED"])
      holder.close()
      expect(storedIn(file)).toMatchObject({ reason: "", status: "RUNNING" })
    }).pipe(Effect.scoped),
  )

  it.effect("of a start that failed waits, too", () =>
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      const locked = yield* Deferred.make<DatabaseSync>()
      const starting = (at: string) =>
        Effect.gen(function* () {
          yield* Deferred.succeed(locked, yield* Scope.provide(lock(at), scope))
          return yield* Effect.fail(new Error("no such market"))
        })
      const { file, living } = yield* busy(
        (at) => ({ program: Layer.effect(EngineProgram.EngineProgram, starting(at)) }),
        killed,
      )
      const holder = yield* Deferred.await(locked)
      yield* passing(3000)
      expect(living.pollUnsafe()).toBeUndefined()
      holder.close()
      const ended = yield* ending(living)
      expect(ended.returned).toBe("no such market")
      expect(storedIn(file)).toMatchObject({ reason: "startup_failure", detail: "no such market", status: "HALTED" })
      expect([ended.alarms, ended.failedSteps]).toEqual([["database busy"], []])
    }).pipe(Effect.scoped),
  )
})
