import { describe, expect, it } from "@effect/vitest"
import { Config, ConfigProvider, Deferred, Duration, Effect, Exit, Fiber, Layer, Option, Ref, Scope } from "effect"
import { TestClock } from "effect/testing"
import type { SqlClient } from "effect/unstable/sql"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import { Database } from "../../src/sqlite/Database.ts"
import { Checkpointer } from "../../src/wal/Checkpointer.ts"
import { LatencyWindow } from "../../src/wal/LatencyWindow.ts"
import { WalGuard, type WalGuardOptions } from "../../src/wal/WalGuard.ts"
import { temporaryDatabase } from "../../src/testing/TemporaryDatabase.ts"
import { events, LogCapture, logged, steps } from "../../src/testing/LogCapture.ts"
import { scriptedDatabase, ScriptedDisk } from "../support/ScriptedDisk.ts"
import { Recording, type Script, scripted } from "../../src/testing/ScriptedCheckpointer.ts"

/** In virtual time nothing may wait for what is real: the sync of the file, and a look at who holds locks. */
const withoutDisk = <A, E>(database: Layer.Layer<A | Database, E>) =>
  Layer.effect(
    Database,
    Effect.map(Database, (real) => ({ ...real, syncFile: Effect.void, lockHolders: Effect.succeed([]) })),
  ).pipe(Layer.provideMerge(database))

/** A guard on a scripted checkpointer; its log and its recording are seen by the test. */
const guarded = (options: WalGuardOptions, script?: Script) =>
  WalGuard.layer(options).pipe(
    Layer.provideMerge(LatencyWindow.layer()),
    Layer.provideMerge(scripted(script)),
    Layer.provideMerge(withoutDisk(temporaryDatabase())),
    Layer.provideMerge(Shutdown.layer()),
    Layer.provideMerge(LogCapture.layer),
  )

const minute: WalGuardOptions = { interval: "60 seconds" }

/** The script of a disk that is slow with PASSIVE; the TRUNCATE at the end of a test takes no time. */
const slow =
  (takes: Duration.Input): Script =>
  (_, mode) =>
    mode === "PASSIVE" ? { takes } : {}

const recording = Effect.flatMap(Recording, Ref.get)
const starts = Effect.map(recording, (all) => all.filter(({ what }) => what === "start").map(({ seconds }) => seconds))

/** Builds the layer in a scope of its own, so that the test can close it and look at what was left behind. */
const built = <A, E, R>(layer: Layer.Layer<A, E, R>) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const context = yield* Layer.buildWithScope(layer, scope)
    const inside = <B, F, Q>(self: Effect.Effect<B, F, Q>) => Effect.provideContext(self, context)
    return { inside, close: (exit: Exit.Exit<unknown, unknown> = Exit.void) => Scope.close(scope, exit) }
  })

describe("the cadence", () => {
  it.effect("runs first after one interval, and three times in 180 s", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("59 seconds")
      expect(yield* starts).toEqual([])
      yield* TestClock.adjust("121 seconds")
      expect(yield* starts).toEqual([60, 120, 180])
      expect(yield* logged("wal_checkpoint")).toHaveLength(3)
    }).pipe(Effect.provide(guarded(minute))),
  )

  it.effect("counts the interval from the end of a slow run, and never overlaps", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("256 seconds")
      expect(yield* starts).toEqual([60, 145, 230])
      const seen = yield* recording
      expect(seen.map(({ what }) => what)).toEqual(["start", "end", "start", "end", "start", "end"])
    }).pipe(Effect.provide(guarded(minute, slow("25 seconds")))),
  )

  it.effect("honours an interval far below a second", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("100 millis")
      expect(yield* starts).toHaveLength(10)
    }).pipe(Effect.provide(guarded({ interval: "10 millis" }))),
  )

  it.effect("says its interval when it starts, once", () =>
    Effect.gen(function* () {
      const lines = yield* logged("wal_checkpoint started")
      expect(lines.map(({ level, fields }) => [level, fields])).toEqual([["Info", { interval_seconds: 60 }]])
    }).pipe(Effect.provide(guarded(minute))),
  )

  it.effect("goes on with a new interval, counted from the change", () =>
    Effect.gen(function* () {
      const guard = yield* WalGuard
      yield* TestClock.adjust("70 seconds")
      yield* guard.setInterval("10 seconds")
      yield* TestClock.adjust("25 seconds")
      expect(yield* starts).toEqual([60, 80, 90])
      yield* guard.setInterval("60 seconds")
      yield* TestClock.adjust("60 seconds")
      expect(yield* starts).toEqual([60, 80, 90, 155])
    }).pipe(Effect.provide(guarded(minute))),
  )

  it.effect("lets a run in flight end before the changed interval begins", () =>
    Effect.gen(function* () {
      const guard = yield* WalGuard
      yield* TestClock.adjust("70 seconds") // the first run goes from 60 to 90
      yield* guard.setInterval("10 seconds")
      yield* TestClock.adjust("30 seconds")
      const seen = yield* recording
      expect(seen.map(({ what, seconds }) => [what, seconds])).toEqual([
        ["start", 60],
        ["end", 90],
        ["start", 100],
        ["end", 100],
      ])
    }).pipe(Effect.provide(guarded(minute, (run) => (run === 0 ? { takes: "30 seconds" } : {})))),
  )

  it.effect("stops at interval zero and starts again at a positive one", () =>
    Effect.gen(function* () {
      const guard = yield* WalGuard
      const { autocheckpoint } = yield* Database
      yield* guard.setInterval(0)
      yield* TestClock.adjust("1 hour")
      expect(yield* starts).toEqual([])
      expect(yield* autocheckpoint(1000)).toBe(1000)
      yield* guard.setInterval("60 seconds")
      yield* TestClock.adjust("60 seconds")
      expect(yield* starts).toHaveLength(1)
      expect(yield* autocheckpoint(0)).toBe(0)
    }).pipe(Effect.provide(guarded(minute))),
  )
})

describe("starting", () => {
  it.effect("twice warns and runs one loop", () =>
    Effect.gen(function* () {
      const guard = yield* WalGuard
      yield* guard.start
      yield* TestClock.adjust("120 seconds")
      expect(yield* starts).toEqual([60, 120])
      expect((yield* logged("wal_checkpoint already started")).map(({ level }) => level)).toEqual(["Warn"])
    }).pipe(Effect.provide(guarded(minute))),
  )

  it.effect("a second guard on the same database warns and runs no loop of its own", () =>
    Effect.gen(function* () {
      const second = yield* Effect.forkChild(
        Effect.gen(function* () {
          yield* Layer.build(Layer.fresh(WalGuard.layer(minute)))
          return yield* Effect.never
        }).pipe(Effect.scoped),
        { startImmediately: true },
      )
      yield* TestClock.adjust("60 seconds")
      yield* Fiber.interrupt(second)
      yield* TestClock.adjust("60 seconds")
      expect(yield* starts).toEqual([60, 120])
      expect(yield* logged("wal_checkpoint already started")).toHaveLength(1)
      expect(yield* logged("wal_checkpoint aggregate")).toHaveLength(0)
    }).pipe(Effect.provide(guarded(minute))),
  )

  for (const [name, interval] of [
    ["zero", 0],
    ["a negative interval", "-5 seconds"],
  ] as const) {
    it.effect(`${name} means off: no loop, no line, no checkpoint at the end`, () =>
      Effect.gen(function* () {
        const { inside, close } = yield* built(guarded({ interval: Duration.fromInputUnsafe(interval) }))
        yield* TestClock.adjust("1 hour")
        yield* close()
        expect(yield* inside(starts)).toEqual([])
        expect(yield* inside(events)).toEqual([])
        expect(yield* inside(steps)).toEqual(["drain writes", "close database"])
      }),
    )
  }

  it.effect("turns SQLite's autocheckpoint off, and the end of the guard restores it", () =>
    Effect.gen(function* () {
      const { autocheckpoint } = yield* Database
      const { close } = yield* built(Layer.fresh(WalGuard.layer(minute)))
      const before = yield* autocheckpoint(0)
      yield* close()
      expect([before, yield* autocheckpoint(1000)]).toEqual([0, 1000])
    }).pipe(
      Effect.provide(
        scripted().pipe(
          Layer.provideMerge(LatencyWindow.layer()),
          Layer.provideMerge(temporaryDatabase()),
          Layer.provideMerge(LogCapture.layer),
        ),
      ),
    ),
  )
})

describe("what is logged", () => {
  it.effect("five fields, exactly", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("61 seconds")
      const lines = yield* logged("wal_checkpoint")
      expect(lines.map(({ level, fields }) => [level, fields])).toEqual([
        ["Info", { mode: "PASSIVE", busy: 0, log_frames: 10, checkpointed_frames: 10, elapsed_ms: 12 }],
      ])
    }).pipe(Effect.provide(guarded(minute, slow("12 millis")))),
  )

  for (const [millis, warnings] of [
    [200, 0],
    [200.001, 1],
    [250, 1],
  ] as const) {
    it.effect(`a run of ${millis} ms logs ${warnings} warning(s) with the same fields`, () =>
      Effect.gen(function* () {
        yield* TestClock.adjust("61 seconds")
        const [line] = yield* logged("wal_checkpoint")
        const slow = yield* logged("wal_checkpoint slow")
        expect(slow).toHaveLength(warnings)
        expect(line?.fields["elapsed_ms"]).toBe(millis)
        for (const { level, fields } of slow) expect([level, fields]).toEqual(["Warn", line?.fields])
      }).pipe(Effect.provide(guarded(minute, slow(Duration.nanos(BigInt(Math.round(millis * 1e6))))))),
    )
  }

  it.effect("the aggregate covers the last 512 interval runs and not TRUNCATE", () =>
    Effect.gen(function* () {
      const { inside, close } = yield* built(guarded(minute, (_, mode) => ({ takes: mode === "TRUNCATE" ? 900 : 5 })))
      yield* inside(
        Effect.flatMap(LatencyWindow, (window) =>
          Ref.set(
            window,
            Array.from({ length: 512 }, () => 400),
          ),
        ),
      )
      yield* TestClock.adjust("61 seconds")
      const closing = yield* Effect.forkChild(close(), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
      const [aggregate, ...more] = yield* inside(logged("wal_checkpoint aggregate"))
      expect(more).toEqual([])
      expect(aggregate?.fields).toEqual({ n: 512, p50_ms: 400, p95_ms: 400, max_ms: 400 })
    }),
  )

  it.effect("an aggregate without samples has no figures", () =>
    Effect.gen(function* () {
      const { inside, close } = yield* built(guarded(minute))
      yield* close()
      expect((yield* inside(logged("wal_checkpoint aggregate"))).map(({ fields }) => fields)).toEqual([{ n: 0 }])
    }),
  )
})

describe("a run that goes wrong", () => {
  it.effect("an error is logged with its cause, and the loop goes on", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("180 seconds")
      expect(yield* starts).toEqual([60, 120, 180])
      const [line, ...more] = yield* logged("wal_checkpoint failed")
      expect(more).toEqual([])
      expect(line?.level).toBe("Error")
      expect(line?.cause).toContain("wal_checkpoint(PASSIVE) failed: disk I/O error")
      expect((yield* logged("wal_checkpoint recovered")).map(({ fields }) => fields)).toEqual([{ failures: 1 }])
    }).pipe(Effect.provide(guarded(minute, (run) => (run === 0 ? { failsWith: 10 } : {})))),
  )

  it.effect("a defect is logged with its cause, and the loop goes on", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("120 seconds")
      expect(yield* starts).toEqual([60, 120])
      expect((yield* logged("wal_checkpoint failed"))[0]?.cause).toContain("no such thing")
    }).pipe(Effect.provide(guarded(minute, (run) => (run === 0 ? { diesWith: "no such thing" } : {})))),
  )

  it.effect("failures that repeat are logged ever more rarely, and their end once", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("3100 seconds")
      expect((yield* logged("wal_checkpoint failed")).map(({ fields }) => fields["failures"])).toEqual([1, 2, 4, 8, 16])
      yield* TestClock.adjust("100 seconds")
      expect((yield* logged("wal_checkpoint recovered")).map(({ fields }) => fields)).toEqual([{ failures: 31 }])
    }).pipe(Effect.provide(guarded({ interval: "100 seconds" }, (run) => (run < 31 ? { failsWith: 10 } : {})))),
  )

  it.effect("a failed run does not enter the window", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("60 seconds")
      expect(yield* Effect.flatMap(LatencyWindow, Ref.get)).toEqual([])
    }).pipe(Effect.provide(guarded(minute, () => ({ failsWith: 10 })))),
  )
})

/** The database below also records that it closes, so that the sequence is whole. */
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
    expect(yield* outer.inside(steps)).toEqual(sequence)
    expect(yield* outer.inside(events)).toEqual([
      "wal_checkpoint started",
      "wal_checkpoint",
      "wal_checkpoint aggregate",
      "wal_checkpoint",
    ])
    expect((yield* outer.inside(logged("wal_checkpoint")))[1]?.fields["mode"]).toBe("TRUNCATE")
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
      expect(yield* Effect.provideContext(steps, log)).toEqual(sequence)
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
      expect(yield* Effect.provideContext(steps, log)).toEqual(sequence)
    }),
  )

  const guardedBelow = (options: WalGuardOptions) =>
    WalGuard.layer(options).pipe(
      Layer.provideMerge(LatencyWindow.layer()),
      Layer.provideMerge(scripted()),
      Layer.provideMerge(temporaryDatabase()),
    )

  it.effect("a TRUNCATE that fails is an ERROR, is remembered, and the database still closes", () =>
    Effect.gen(function* () {
      const { inside, close } = yield* built(guarded(minute, () => ({ failsWith: 10 })))
      yield* close()
      expect(
        (yield* inside(logged("shutdown step failed"))).map(({ level, fields }) => [level, fields["step"]]),
      ).toEqual([["Error", "wal_checkpoint truncate"]])
      expect(yield* inside(steps)).toEqual(sequence.filter((step) => step !== "wal_checkpoint truncate"))
      const shutdown = yield* inside(Shutdown.Shutdown)
      expect(yield* shutdown.failures).toEqual(["wal_checkpoint truncate"])
    }),
  )

  it.effect("a TRUNCATE that a reader blocked is a WARNING, and no failure", () =>
    Effect.gen(function* () {
      const { inside, close } = yield* built(guarded(minute, () => ({ row: { busy: 1, log: 7, checkpointed: 7 } })))
      yield* close()
      const [line] = yield* inside(logged("wal_checkpoint truncate incomplete"))
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
      expect(yield* inside(events)).toEqual(["wal_checkpoint started"])
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing) // no virtual time passes any more: it ends at the bound
      expect(yield* inside(events)).toEqual([
        "wal_checkpoint started",
        "shutdown step overdue",
        "wal_checkpoint aggregate",
        "wal_checkpoint truncate skipped",
      ])
      expect(yield* inside(starts)).toEqual([60])
      expect(yield* inside(steps)).toEqual(["drain writes", "restore autocheckpoint", "close database"])
      expect((yield* inside(logged("wal_checkpoint truncate skipped")))[0]?.level).toBe("Error")
    }),
  )

  it.effect(
    "a checkpoint that hangs is not forgotten when the interval changes, or the guard was off for a while",
    () =>
      Effect.gen(function* () {
        const { inside, close } = yield* built(guarded(minute, () => ({ hangs: true })))
        const guard = yield* inside(WalGuard)
        yield* TestClock.adjust("60 seconds")
        yield* guard.setInterval("30 seconds")
        yield* guard.setInterval(0)
        yield* guard.setInterval("10 seconds")
        yield* TestClock.adjust("60 seconds")
        const closing = yield* Effect.forkChild(close(), { startImmediately: true })
        yield* TestClock.adjust("5 seconds")
        yield* Fiber.join(closing)
        expect(yield* inside(starts)).toEqual([60])
        expect(yield* inside(logged("wal_checkpoint truncate skipped"))).toHaveLength(1)
      }),
  )

  it.effect("a TRUNCATE that hangs ends with the budget, and the database still closes", () =>
    Effect.gen(function* () {
      const { inside, close } = yield* built(guarded(minute, () => ({ hangs: true })))
      const closing = yield* Effect.forkChild(close(), { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(closing)
      expect((yield* inside(logged("shutdown step overdue"))).map(({ fields }) => fields["step"])).toEqual([
        "wal_checkpoint truncate",
      ])
      expect((yield* inside(steps)).at(-1)).toBe("close database")
    }),
  )
})

describe("after a sync of the log that failed", () => {
  /** A database whose first sync fails; what would wait for the real disk does not. */
  const failing = (
    afterFailedSync: "refuse" | "resume",
    checkpointer: Layer.Layer<Checkpointer, never, SqlClient.SqlClient>,
  ) => {
    const database = withoutDisk(scriptedDatabase({ durability: "normal", afterFailedSync }))
    return WalGuard.layer({ interval: "60 seconds", maxFrames: 0 }).pipe(
      Layer.provideMerge(LatencyWindow.layer()),
      Layer.provideMerge(checkpointer),
      Layer.provideMerge(database),
      Layer.provideMerge(LogCapture.layer),
    )
  }
  const write = Database.use(({ sql }) => sql`CREATE TABLE IF NOT EXISTS t (a)`)
  let tables = 0
  const commit = Database.use(({ sql }) => sql.unsafe(`CREATE TABLE t${++tables} (a)`))
  const fails = Effect.gen(function* () {
    const { durable } = yield* Database
    yield* commit
    const waiting = yield* Effect.forkChild(Effect.exit(durable), { startImmediately: true })
    yield* ScriptedDisk.use(({ fail }) => fail)
    expect(Exit.isFailure(yield* Fiber.join(waiting))).toBe(true)
  })
  const isRefused = Effect.map(Effect.exit(write), Exit.isFailure)
  const blockedAtFirst: Script = (index) => (index === 0 ? { row: { busy: 0, log: 10, checkpointed: 5 } } : {})

  it.effect("writes are taken again once a checkpoint has copied all of it, with the option alone", () =>
    Effect.gen(function* () {
      yield* fails
      expect(yield* isRefused).toBe(true)
      yield* TestClock.adjust("60 seconds")
      expect(yield* isRefused).toBe(true) // the first checkpoint was blocked
      yield* TestClock.adjust("60 seconds")
      expect(yield* isRefused).toBe(false)
      expect((yield* logged("database takes writes again")).map(({ level }) => level)).toEqual(["Warn"])
    }).pipe(Effect.provide(failing("resume", scripted(blockedAtFirst)))),
  )

  it.effect("the same with checkpoints inline, which have the connection to themselves", () =>
    Effect.gen(function* () {
      yield* fails
      yield* TestClock.adjust("60 seconds")
      expect(yield* isRefused).toBe(false)
    }).pipe(Effect.provide(failing("resume", Checkpointer.layerInline()))),
  )

  it.effect("a second failure is told again after the first was mended", () =>
    Effect.gen(function* () {
      const { durabilityLost } = yield* Database
      yield* fails
      yield* durabilityLost
      yield* TestClock.adjust("60 seconds")
      const again = yield* Effect.forkChild(durabilityLost, { startImmediately: true })
      expect(again.pollUnsafe()).toBeUndefined()
      yield* fails
      yield* Fiber.join(again)
    }).pipe(Effect.provide(failing("resume", scripted()))),
  )

  it.effect("nothing is written until the program restarts, without it", () =>
    Effect.gen(function* () {
      yield* fails
      yield* TestClock.adjust("10 minutes")
      expect(yield* isRefused).toBe(true)
    }).pipe(Effect.provide(failing("refuse", scripted()))),
  )
})

describe("SQLite's own autocheckpoint", () => {
  const pages = Database.use(({ sql }) => Effect.map(sql`PRAGMA wal_autocheckpoint`.values, ([row]) => row?.[0]))
  const busy: Script = () => ({ row: { busy: 1, log: -1, checkpointed: -1 } })

  it.effect("stands in for a checkpointer that is busy, and stays on when the guard stops meanwhile", () =>
    Effect.gen(function* () {
      const guard = yield* WalGuard
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

  it.effect("is turned off by a start that comes after one that was given up", () =>
    Effect.gen(function* () {
      const guard = yield* WalGuard
      const { sql } = yield* Database
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
      expect(yield* logged("wal_checkpoint already started")).toEqual([])
    }).pipe(Effect.provide(guarded({ ...minute, maxFrames: 0 }))),
  )
})

describe("options from the configuration", () => {
  const layers = WalGuard.layerConfig({ interval: Config.Duration("WAL_INTERVAL") }).pipe(
    Layer.provideMerge(LatencyWindow.layer()),
    Layer.provideMerge(scripted()),
    Layer.provideMerge(temporaryDatabase()),
    Layer.provideMerge(LogCapture.layer),
  )
  const configured = (env: Readonly<Record<string, string>>) =>
    Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))

  it.effect("are used", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("25 seconds")
      expect(yield* starts).toEqual([10, 20])
    }).pipe(Effect.provide(layers), configured({ WAL_INTERVAL: "10 seconds" })),
  )

  it.effect("that are missing are an error of the layer, and of the database's", () =>
    Effect.gen(function* () {
      expect(yield* Effect.flip(Effect.scoped(Layer.build(layers)))).toMatchObject({ _tag: "ConfigError" })
      const database = Database.layerConfig({ file: Config.String("DATABASE") })
      expect(yield* Effect.flip(Effect.scoped(Layer.build(database)))).toMatchObject({ _tag: "ConfigError" })
    }).pipe(configured({})),
  )
})

describe("what a guard knows", () => {
  const observed = WalGuard.use((guard) => guard.observed)

  it.effect("are its last checkpoints, with what asked for them, and the log as it was seen then", () =>
    Effect.gen(function* () {
      expect(yield* observed).toMatchObject({ frames: Option.none(), finished: [], failures: 0 })
      yield* TestClock.adjust("120 seconds")
      const { failures, finished, frames, incident, interval } = yield* observed
      expect(finished).toEqual([
        { number: 1, at: 60_000, mode: "PASSIVE", why: "interval", outcome: "Complete", elapsedMillis: 0 },
        { number: 2, at: 120_000, mode: "PASSIVE", why: "interval", outcome: "Complete", elapsedMillis: 0 },
      ])
      expect(frames).toEqual(Option.some({ log: 10, checkpointed: 10 }))
      expect([failures, incident, Duration.toSeconds(interval)]).toEqual([0, Option.none(), 60])
      yield* WalGuard.use((guard) => guard.setInterval(0))
      expect(Duration.isZero((yield* observed).interval)).toBe(true)
    }).pipe(Effect.provide(guarded(minute))),
  )

  it.effect("are at most 512 of them", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("10 minutes")
      const { finished } = yield* observed
      expect([finished.length, finished[0]?.number, finished.at(-1)?.number]).toEqual([512, 89, 600])
    }).pipe(Effect.provide(guarded({ interval: "1 second" }))),
  )

  it.effect("are the failures in a row, until one succeeds", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("120 seconds")
      const failing = yield* observed
      expect([failing.failures, failing.finished.map(({ outcome }) => outcome)]).toEqual([2, ["Failed", "Failed"]])
      yield* TestClock.adjust("60 seconds")
      expect((yield* observed).failures).toBe(0)
    }).pipe(Effect.provide(guarded(minute, (run) => (run < 2 ? { failsWith: 10 } : {})))),
  )
})
