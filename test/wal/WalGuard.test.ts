import { describe, expect, it } from "@effect/vitest"
import { Config, ConfigProvider, Duration, Effect, Fiber, Layer, Option, Ref } from "effect"
import { TestClock } from "effect/testing"
import * as Database from "../../src/sqlite/Database.ts"
import { DatabaseControl } from "../../src/sqlite/DatabaseControl.ts"
import * as LatencyWindow from "../../src/wal/LatencyWindow.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as ScriptedCheckpointer from "../../src/testing/ScriptedCheckpointer.ts"
import { built, guarded, minute, recording, slow, starts } from "../support/guarded.ts"
import { ownFields } from "../support/labels.ts"

describe("the cadence", () => {
  it.effect("runs first after one interval, and three times in 180 s", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("59 seconds")
      expect(yield* starts).toEqual([])
      yield* TestClock.adjust("121 seconds")
      expect(yield* starts).toEqual([60, 120, 180])
      expect(yield* LogCapture.logged("wal_checkpoint")).toHaveLength(3)
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
      const lines = yield* LogCapture.logged("wal_checkpoint started")
      expect(lines.map((line) => [line.level, ownFields(line)])).toEqual([["Info", { interval_seconds: 60 }]])
    }).pipe(Effect.provide(guarded(minute))),
  )

  it.effect("goes on with a new interval, counted from the change", () =>
    Effect.gen(function* () {
      const guard = yield* WalGuard.WalGuard
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
      const guard = yield* WalGuard.WalGuard
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
      const guard = yield* WalGuard.WalGuard
      const { autocheckpoint } = yield* DatabaseControl
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
      const guard = yield* WalGuard.WalGuard
      yield* guard.start
      yield* TestClock.adjust("120 seconds")
      expect(yield* starts).toEqual([60, 120])
      expect((yield* LogCapture.logged("wal_checkpoint already started")).map(({ level }) => level)).toEqual(["Warn"])
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
      expect(yield* LogCapture.logged("wal_checkpoint already started")).toHaveLength(1)
      expect(yield* LogCapture.logged("wal_checkpoint aggregate")).toHaveLength(0)
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
        expect(yield* inside(LogCapture.events)).toEqual([])
        expect(yield* inside(LogCapture.steps)).toEqual(["drain writes", "close database"])
      }),
    )
  }

  it.effect("turns SQLite's autocheckpoint off, and the end of the guard restores it", () =>
    Effect.gen(function* () {
      const { autocheckpoint } = yield* DatabaseControl
      const { close } = yield* built(Layer.fresh(WalGuard.layer(minute)))
      const before = yield* autocheckpoint(0)
      yield* close()
      expect([before, yield* autocheckpoint(1000)]).toEqual([0, 1000])
    }).pipe(
      Effect.provide(
        ScriptedCheckpointer.layer().pipe(
          Layer.provideMerge(TemporaryDatabase.layer()),
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
      const lines = yield* LogCapture.logged("wal_checkpoint")
      expect(lines.map((line) => [line.level, ownFields(line)])).toEqual([
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
        const [line] = yield* LogCapture.logged("wal_checkpoint")
        const slow = yield* LogCapture.logged("wal_checkpoint slow")
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
        Effect.flatMap(LatencyWindow.LatencyWindow, (window) =>
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
      const [aggregate, ...more] = yield* inside(LogCapture.logged("wal_checkpoint aggregate"))
      expect(more).toEqual([])
      expect(ownFields(aggregate!)).toEqual({
        runs: "interval",
        n: 512,
        p50_ms: 400,
        p95_ms: 400,
        max_ms: 400,
        all_n: 1,
        all_p50_ms: 5,
        all_p95_ms: 5,
        all_max_ms: 5,
        all_slow: 0,
      })
    }),
  )

  it.effect("an aggregate without samples has no figures", () =>
    Effect.gen(function* () {
      const { inside, close } = yield* built(guarded(minute))
      yield* close()
      expect((yield* inside(LogCapture.logged("wal_checkpoint aggregate"))).map(ownFields)).toEqual([
        { runs: "interval", n: 0, all_n: 0, all_slow: 0 },
      ])
    }),
  )
})

describe("a run that goes wrong", () => {
  it.effect("an error is logged with its cause, and the loop goes on", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("180 seconds")
      expect(yield* starts).toEqual([60, 120, 180])
      const [line, ...more] = yield* LogCapture.logged("wal_checkpoint failed")
      expect(more).toEqual([])
      expect(line?.level).toBe("Error")
      expect(line?.cause).toContain("wal_checkpoint(PASSIVE) failed: disk I/O error")
      expect((yield* LogCapture.logged("wal_checkpoint recovered")).map(ownFields)).toEqual([{ failures: 1 }])
    }).pipe(Effect.provide(guarded(minute, (run) => (run === 0 ? { failsWith: 10 } : {})))),
  )

  it.effect("a defect is logged with its cause, and the loop goes on", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("120 seconds")
      expect(yield* starts).toEqual([60, 120])
      expect((yield* LogCapture.logged("wal_checkpoint failed"))[0]?.cause).toContain("no such thing")
    }).pipe(Effect.provide(guarded(minute, (run) => (run === 0 ? { diesWith: "no such thing" } : {})))),
  )

  it.effect("failures that repeat are logged ever more rarely, and their end once", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("3100 seconds")
      expect((yield* LogCapture.logged("wal_checkpoint failed")).map(({ fields }) => fields["failures"])).toEqual([
        1, 2, 4, 8, 16,
      ])
      yield* TestClock.adjust("100 seconds")
      expect((yield* LogCapture.logged("wal_checkpoint recovered")).map(ownFields)).toEqual([{ failures: 31 }])
    }).pipe(Effect.provide(guarded({ interval: "100 seconds" }, (run) => (run < 31 ? { failsWith: 10 } : {})))),
  )

  it.effect("a failed run does not enter the window", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("60 seconds")
      expect(yield* Effect.flatMap(LatencyWindow.LatencyWindow, Ref.get)).toEqual([])
    }).pipe(Effect.provide(guarded(minute, () => ({ failsWith: 10 })))),
  )
})

/** The database below also records that it closes, so that the sequence is whole. */
describe("options from the configuration", () => {
  const layers = WalGuard.layerConfig({ interval: Config.Duration("WAL_INTERVAL") }).pipe(
    Layer.provideMerge(ScriptedCheckpointer.layer()),
    Layer.provideMerge(TemporaryDatabase.layer()),
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
      const database = Database.layerConfig({ filename: Config.String("DATABASE") })
      expect(yield* Effect.flip(Effect.scoped(Layer.build(database)))).toMatchObject({ _tag: "ConfigError" })
    }).pipe(configured({})),
  )
})

describe("what a power cut could still take", () => {
  const partly: ScriptedCheckpointer.Script = (_, mode) =>
    mode === "PASSIVE" ? { row: { busy: 0, log: 60, checkpointed: 50 } } : {}

  it.effect("is not covered by a checkpoint of which it is unknown whether it copied anything", () =>
    Effect.gen(function* () {
      const { sql } = yield* Database.Database
      const { exposure } = yield* DatabaseControl
      yield* sql`CREATE TABLE t (a)`
      yield* TestClock.adjust("60 seconds")
      expect(exposure.isExposed()).toBe(true)
    }).pipe(
      Effect.provide(
        WalGuard.layer(minute).pipe(
          Layer.provide([LatencyWindow.layer(), ScriptedCheckpointer.layer(partly)]),
          Layer.provideMerge(TemporaryDatabase.layer({ durability: "normal" })),
          Layer.provide(LogCapture.layer),
        ),
      ),
    ),
  )
})

describe("what a guard knows", () => {
  const status = WalGuard.WalGuard.use((guard) => guard.status)

  it.effect("are its last checkpoints, with what asked for them, and the WAL as it was seen then", () =>
    Effect.gen(function* () {
      expect(yield* status).toMatchObject({ frames: Option.none(), finished: [], failures: 0 })
      yield* TestClock.adjust("120 seconds")
      const { failures, finished, frames, incident, interval } = yield* status
      expect(finished).toEqual([
        { number: 1, at: 60_000, mode: "PASSIVE", why: "interval", outcome: "Complete", elapsedMillis: 0 },
        { number: 2, at: 120_000, mode: "PASSIVE", why: "interval", outcome: "Complete", elapsedMillis: 0 },
      ])
      expect(frames).toEqual(Option.some({ log: 10, checkpointed: 10 }))
      expect([failures, incident, Duration.toSeconds(interval)]).toEqual([0, Option.none(), 60])
      yield* WalGuard.WalGuard.use((guard) => guard.setInterval(0))
      expect(Duration.isZero((yield* status).interval)).toBe(true)
    }).pipe(Effect.provide(guarded(minute))),
  )

  it.effect("are at most 512 of them", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("10 minutes")
      const { finished } = yield* status
      expect([finished.length, finished[0]?.number, finished.at(-1)?.number]).toEqual([512, 89, 600])
    }).pipe(Effect.provide(guarded({ interval: "1 second" }))),
  )

  it.effect("are the failures in a row, until one succeeds", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("120 seconds")
      const failing = yield* status
      expect([failing.failures, failing.finished.map(({ outcome }) => outcome)]).toEqual([2, ["Failed", "Failed"]])
      yield* TestClock.adjust("60 seconds")
      expect((yield* status).failures).toBe(0)
    }).pipe(Effect.provide(guarded(minute, (run) => (run < 2 ? { failsWith: 10 } : {})))),
  )
})
