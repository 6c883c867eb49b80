/** How a guard ends: the order, what goes wrong in it, and what it gives back. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import type { SqlClient } from "effect/sql"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import * as Database from "../../src/sqlite/Database.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import { scriptedDatabase, ScriptedDisk } from "../support/ScriptedDisk.ts"
import * as ScriptedCheckpointer from "../../src/testing/ScriptedCheckpointer.ts"
import { built, guarded, minute, starts } from "../support/guarded.ts"

const sequence = [
  "stop wal_checkpoint loop",
  "drain writes",
  "wal_checkpoint truncate",
  "restore autocheckpoint",
  "close database",
]

describe("the order of the end", () => {
  const whole = Effect.fnUntraced(function* (exit: Exit.Exit<unknown, unknown>) {
    const outer = yield* built(guarded(minute))
    yield* TestClock.adjust("60 seconds")
    yield* outer.close(exit)
    expect(yield* outer.inside(LogCapture.steps)).toEqual(sequence)
    expect(yield* outer.inside(LogCapture.events)).toEqual([
      "wal_checkpoint started",
      "wal_checkpoint",
      "wal_checkpoint aggregate",
      "wal_checkpoint",
    ])
    expect((yield* outer.inside(LogCapture.logged("wal_checkpoint")))[1]?.fields["mode"]).toBe("TRUNCATE")
  })

  it.effect("is kept at a normal end", () => whole(Exit.void))
  it.effect("is kept at a failure", () => whole(Exit.fail("broken")))
  it.effect("is kept at an interruption", () => whole(Exit.interrupt()))

  it.effect("is kept when the fiber that uses the layer is interrupted", () =>
    Effect.gen(function* () {
      const log = yield* Layer.build(LogCapture.layer)
      const ready = yield* Deferred.make<void>()
      const user = yield* Deferred.succeed(ready, undefined).pipe(
        Effect.andThen(Effect.never),
        Effect.provide(guardedBelow(minute)),
        Effect.provideContext(log),
        Effect.forkChild({ startImmediately: true }),
      )
      yield* Deferred.await(ready)
      yield* Fiber.interrupt(user)
      expect(yield* Effect.provideContext(LogCapture.steps, log)).toEqual(sequence)
    }),
  )

  it.effect("is kept when the start fails above the guard", () =>
    Effect.gen(function* () {
      const log = yield* Layer.build(LogCapture.layer)
      const failing = Layer.effectDiscard(Effect.fail("no such engine"))
      const exit = yield* Effect.void.pipe(
        Effect.provide(failing.pipe(Layer.provideMerge(guardedBelow(minute)))),
        Effect.provideContext(log),
        Effect.exit,
      )
      expect(Exit.isFailure(exit)).toBe(true)
      expect(yield* Effect.provideContext(LogCapture.steps, log)).toEqual(sequence)
    }),
  )

  const guardedBelow = (options: WalGuard.WalGuardOptions) =>
    WalGuard.layer(options).pipe(
      Layer.provideMerge(ScriptedCheckpointer.layer()),
      Layer.provideMerge(TemporaryDatabase.layer()),
    )

  it.effect("a TRUNCATE that fails is an ERROR, is remembered, and the database still closes", () =>
    Effect.gen(function* () {
      const { inside, close } = yield* built(guarded(minute, () => ({ failsWith: 10 })))
      yield* close()
      expect(
        (yield* inside(LogCapture.logged("shutdown step failed"))).map(({ level, fields }) => [level, fields["step"]]),
      ).toEqual([["Error", "wal_checkpoint truncate"]])
      expect(yield* inside(LogCapture.steps)).toEqual(sequence.filter((step) => step !== "wal_checkpoint truncate"))
      const shutdown = yield* inside(Shutdown.Shutdown)
      expect(yield* shutdown.failures).toEqual(["wal_checkpoint truncate"])
    }),
  )

  it.effect("a TRUNCATE that a reader blocked is a WARNING, and no failure", () =>
    Effect.gen(function* () {
      const { inside, close } = yield* built(guarded(minute, () => ({ row: { busy: 1, log: 7, checkpointed: 7 } })))
      yield* close()
      const [line] = yield* inside(LogCapture.logged("wal_checkpoint truncate incomplete"))
      expect([line?.level, line?.fields["outcome"]]).toEqual(["Warn", "ReaderBlocked"])
      expect(yield* Effect.flatMap(inside(Shutdown.Shutdown), (shutdown) => shutdown.failures)).toEqual([])
    }),
  )

  it.effect("a checkpoint that still runs after 5 s is left: TRUNCATE is skipped and says so, the rest runs", () =>
    Effect.gen(function* () {
      const { inside, close } = yield* built(guarded(minute, () => ({ hangs: true })))
      yield* TestClock.adjust("60 seconds")
      const closing = yield* Effect.forkChild(close(), { startImmediately: true })
      yield* TestClock.adjust("4999 millis")
      expect(yield* inside(LogCapture.events)).toEqual(["wal_checkpoint started"])
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing) // no virtual time passes any more: it ends at the bound
      expect(yield* inside(LogCapture.events)).toEqual([
        "wal_checkpoint started",
        "shutdown step overdue",
        "wal_checkpoint aggregate",
        "wal_checkpoint truncate skipped",
      ])
      expect(yield* inside(starts)).toEqual([60])
      expect(yield* inside(LogCapture.steps)).toEqual(["drain writes", "restore autocheckpoint", "close database"])
      expect((yield* inside(LogCapture.logged("wal_checkpoint truncate skipped")))[0]?.level).toBe("Error")
    }),
  )

  it.effect(
    "a checkpoint that hangs is not forgotten when the interval changes, or the guard was off for a while",
    () =>
      Effect.gen(function* () {
        const { inside, close } = yield* built(guarded(minute, () => ({ hangs: true })))
        const guard = yield* inside(WalGuard.WalGuard)
        yield* TestClock.adjust("60 seconds")
        yield* guard.setInterval("30 seconds")
        yield* guard.setInterval(0)
        yield* guard.setInterval("10 seconds")
        yield* TestClock.adjust("60 seconds")
        const closing = yield* Effect.forkChild(close(), { startImmediately: true })
        yield* TestClock.adjust("5 seconds")
        yield* Fiber.join(closing)
        expect(yield* inside(starts)).toEqual([60])
        expect(yield* inside(LogCapture.logged("wal_checkpoint truncate skipped"))).toHaveLength(1)
      }),
  )

  it.effect("a TRUNCATE that hangs ends with the budget, and the database still closes", () =>
    Effect.gen(function* () {
      const { inside, close } = yield* built(guarded(minute, () => ({ hangs: true })))
      const closing = yield* Effect.forkChild(close(), { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(closing)
      expect((yield* inside(LogCapture.logged("shutdown step overdue"))).map(({ fields }) => fields["step"])).toEqual([
        "wal_checkpoint truncate",
      ])
      expect((yield* inside(LogCapture.steps)).at(-1)).toBe("close database")
    }),
  )
})

describe("after a sync of the WAL that failed", () => {
  /** A database whose first sync fails; what would wait for the real disk does not. */
  const failing = (
    afterFailedSync: "refuse" | "resume",
    checkpointer: Layer.Layer<Checkpointer.Checkpointer, never, SqlClient.SqlClient>,
  ) => {
    const database = TemporaryDatabase.alone(scriptedDatabase({ durability: "normal", afterFailedSync }))
    return WalGuard.layer({ interval: "60 seconds", maxFrames: 0 }).pipe(
      Layer.provideMerge(checkpointer),
      Layer.provideMerge(database),
      Layer.provideMerge(LogCapture.layer),
    )
  }
  const write = Database.Database.use(({ sql }) => sql`CREATE TABLE IF NOT EXISTS t (a)`)
  let tables = 0
  const commit = Database.Database.use(({ sql }) => sql.unsafe(`CREATE TABLE t${++tables} (a)`))
  const fails = Effect.gen(function* () {
    const { durable } = yield* Database.Database
    yield* commit
    const waiting = yield* Effect.forkChild(Effect.exit(durable), { startImmediately: true })
    yield* ScriptedDisk.use(({ fail }) => fail)
    expect(Exit.isFailure(yield* Fiber.join(waiting))).toBe(true)
  })
  const isRefused = Effect.map(Effect.exit(write), Exit.isFailure)
  const blockedAtFirst: ScriptedCheckpointer.Script = (index) =>
    index === 0 ? { row: { busy: 0, log: 10, checkpointed: 5 } } : {}

  it.effect("writes are taken again once a checkpoint has copied all of it, with the option alone", () =>
    Effect.gen(function* () {
      yield* fails
      expect(yield* isRefused).toBe(true)
      yield* TestClock.adjust("60 seconds")
      expect(yield* isRefused).toBe(true) // the first checkpoint was blocked
      yield* TestClock.adjust("60 seconds")
      expect(yield* isRefused).toBe(false)
      expect((yield* LogCapture.logged("database writes resumed")).map(({ level }) => level)).toEqual(["Warn"])
    }).pipe(Effect.provide(failing("resume", ScriptedCheckpointer.layer(blockedAtFirst)))),
  )

  it.effect("the same with checkpoints inline, which have the connection to themselves", () =>
    Effect.gen(function* () {
      yield* fails
      yield* TestClock.adjust("60 seconds")
      expect(yield* isRefused).toBe(false)
    }).pipe(Effect.provide(failing("resume", Checkpointer.layerInline()))),
  )

  it.effect("a second failure is told again after the first has ended", () =>
    Effect.gen(function* () {
      const { durabilityLost } = yield* Database.Database
      yield* fails
      yield* durabilityLost
      yield* TestClock.adjust("60 seconds")
      const again = yield* Effect.forkChild(durabilityLost, { startImmediately: true })
      expect(again.pollUnsafe()).toBeUndefined()
      yield* fails
      yield* Fiber.join(again)
    }).pipe(Effect.provide(failing("resume", ScriptedCheckpointer.layer()))),
  )

  it.effect("nothing is written until the program restarts, without it", () =>
    Effect.gen(function* () {
      yield* fails
      yield* TestClock.adjust("10 minutes")
      expect(yield* isRefused).toBe(true)
    }).pipe(Effect.provide(failing("refuse", ScriptedCheckpointer.layer()))),
  )
})

describe("SQLite's own autocheckpoint", () => {
  const pages = Database.Database.use(({ sql }) =>
    Effect.map(sql`PRAGMA wal_autocheckpoint`.values, ([row]) => row?.[0]),
  )
  const busy: ScriptedCheckpointer.Script = () => ({ row: { busy: 1, log: -1, checkpointed: -1 } })

  it.effect("stands in for a checkpointer that is busy, and stays on when the guard stops meanwhile", () =>
    Effect.gen(function* () {
      const guard = yield* WalGuard.WalGuard
      expect(yield* pages).toBe(0)
      yield* TestClock.adjust("60 seconds")
      expect(yield* pages).toBe(1000)
      yield* guard.setInterval(0)
      expect(yield* pages).toBe(1000)
      yield* guard.setInterval("60 seconds")
      expect(yield* pages).toBe(0)
      yield* TestClock.adjust("60 seconds")
      expect(yield* pages).toBe(1000)
    }).pipe(Effect.provide(guarded({ ...minute, maxFrames: 0 }, busy))),
  )

  it.effect("stays off, and the guard goes on, when its stop is given up", () =>
    Effect.gen(function* () {
      const guard = yield* WalGuard.WalGuard
      const { sql } = yield* Database.Database
      const inside = yield* Deferred.make<void>()
      const holding = yield* Effect.forkChild(
        sql.withTransaction(Effect.andThen(Deferred.succeed(inside, undefined), Effect.never)),
      )
      yield* Deferred.await(inside)
      const stopping = yield* Effect.forkChild(guard.setInterval(0), { startImmediately: true })
      yield* Fiber.interrupt(stopping)
      yield* Fiber.interrupt(holding)
      expect(yield* pages).toBe(0)
      yield* TestClock.adjust("60 seconds")
      expect(yield* starts).toEqual([60])
      yield* guard.setInterval(0)
      expect(yield* pages).toBe(1000)
    }).pipe(Effect.provide(guarded({ ...minute, maxFrames: 0 }))),
  )

  for (const [before, options] of [
    ["was off", { interval: 0 }],
    ["ran", minute],
  ] as const) {
    it.effect(`is never touched by a guard that ${before} and whose layer has closed`, () =>
      Effect.gen(function* () {
        const { close, inside } = yield* built(guarded(options))
        const guard = yield* inside(WalGuard.WalGuard)
        yield* close()
        const said = yield* inside(LogCapture.events)
        yield* guard.setInterval("5 seconds")
        yield* TestClock.adjust("60 seconds")
        expect(yield* inside(LogCapture.events)).toEqual(said)
        expect(yield* inside(starts)).toHaveLength(before === "ran" ? 1 : 0) // TRUNCATE
      }),
    )
  }

  it.effect("is left alone by an interval that never ends", () =>
    Effect.gen(function* () {
      expect(yield* pages).toBe(1000)
      expect(yield* LogCapture.events).toEqual([])
    }).pipe(Effect.provide(guarded({ interval: "Infinity" }))),
  )

  it.effect("is turned off by a start that comes after one that was given up", () =>
    Effect.gen(function* () {
      const guard = yield* WalGuard.WalGuard
      const { sql } = yield* Database.Database
      yield* guard.setInterval(0)
      const inside = yield* Deferred.make<void>()
      const holding = yield* Effect.forkChild(
        sql.withTransaction(Effect.andThen(Deferred.succeed(inside, undefined), Effect.never)),
      )
      yield* Deferred.await(inside)
      const starting = yield* Effect.forkChild(guard.setInterval("60 seconds"), { startImmediately: true })
      yield* Fiber.interrupt(starting)
      yield* Fiber.interrupt(holding)
      expect(yield* pages).toBe(1000)
      yield* guard.setInterval("60 seconds")
      expect(yield* pages).toBe(0)
      expect(yield* LogCapture.logged("wal_checkpoint already started")).toEqual([])
    }).pipe(Effect.provide(guarded({ ...minute, maxFrames: 0 }))),
  )
})
