import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, identity, Layer, Option, Ref, type Duration } from "effect"
import { constUndefined } from "effect/Function"
import { TestClock } from "effect/testing"
import type { Process } from "../../src/processes/Processes.ts"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import * as Database from "../../src/sqlite/Database.ts"
import { DatabaseControl } from "../../src/sqlite/DatabaseControl.ts"
import type { Stamp } from "../../src/sqlite/WalSync.ts"
import { Checkpoint, type WalFrames } from "../../src/wal/Checkpoint.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"

/** A WAL that another program writes: the test says what is in it, and a pass copies all but what `leaves` says. */
const foreign = (log: Ref.Ref<WalFrames>, leaves: number) =>
  Layer.succeed(Checkpointer.Checkpointer, {
    frames: Effect.asSome(Ref.get(log)),
    withTurn: identity,
    lengthen: () => Effect.succeedNone,
    concurrent: Effect.succeed(true),
    run: (mode) =>
      Effect.map(
        Ref.updateAndGet(log, (now) => ({ ...now, checkpointed: now.log - leaves })),
        (now) =>
          new Checkpoint({
            mode,
            outcome: leaves === 0 ? "Complete" : "ReaderBlocked",
            busy: 0,
            walFrames: now.log,
            checkpointedFrames: now.checkpointed,
            elapsedMillis: 1,
          }),
      ),
  })

/** What the system tells of the WAL: by default nothing, so that it is looked at at each beat. */
const others = (processes: ReadonlyArray<Process>, walStamp: () => Stamp | undefined) =>
  Layer.effectContext(
    Effect.gen(function* () {
      const lockHolders = processes.map(({ command, pid }) => ({ pid, command, lock: "write" as const }))
      return Context.make(Database.Database, {
        ...(yield* Database.Database),
        others: Effect.succeedSome(processes),
        lockHolders: Effect.succeedSome(lockHolders),
      }).pipe(Context.add(DatabaseControl, { ...(yield* DatabaseControl), syncFile: Effect.void, walStamp }))
    }),
  ).pipe(Layer.provideMerge(TemporaryDatabase.layer({ durability: "normal" })))

const guarded = (
  log: Ref.Ref<WalFrames>,
  {
    leaves = 0,
    processes = [],
    stamp = constUndefined,
    checkpointer = foreign(log, leaves),
  }: {
    leaves?: number
    processes?: ReadonlyArray<Process>
    stamp?: () => Stamp | undefined
    checkpointer?: Layer.Layer<Checkpointer.Checkpointer>
  } = {},
) =>
  WalGuard.layer({ interval: "1 hour", maxFrames: 1000, writers: "elsewhere" }).pipe(
    Layer.provideMerge(checkpointer),
    Layer.provideMerge(others(processes, stamp)),
    Layer.provideMerge(Shutdown.layer()),
    Layer.provideMerge(LogCapture.layer),
  )

const writer: Process = {
  pid: 4711,
  command: "/opt/app/writer --fast",
  words: ["/opt/app/writer", "--fast"],
  locks: ["write"],
  mayWrite: true,
  runningSince: Option.none(),
  has: "this",
}

describe("a WAL that other processes write", () => {
  it.effect("is copied when it is long, although nothing is committed here", () =>
    Effect.gen(function* () {
      const log = yield* Ref.make<WalFrames>({ log: 0, checkpointed: 0 })
      yield* Effect.gen(function* () {
        yield* Ref.set(log, { log: 600, checkpointed: 0 })
        yield* TestClock.adjust("1 second")
        expect(yield* Ref.get(log)).toEqual({ log: 600, checkpointed: 600 })
        expect(Option.isSome(yield* WalGuard.WalGuard.use(({ last }) => last))).toBe(true)
      }).pipe(Effect.provide(guarded(log)))
    }),
  )

  it.effect("is exposed to a power cut from when its growth is seen", () =>
    Effect.gen(function* () {
      const log = yield* Ref.make<WalFrames>({ log: 0, checkpointed: 0 })
      yield* Effect.gen(function* () {
        const { exposure } = yield* DatabaseControl
        yield* TestClock.adjust("1 second")
        expect(yield* exposure.seconds).toBe(0)
        yield* Ref.set(log, { log: 10, checkpointed: 0 })
        yield* TestClock.adjust("10 seconds")
        expect(yield* exposure.seconds).toBeGreaterThan(9.8)
      }).pipe(Effect.provide(guarded(log)))
    }),
  )

  it.effect("is said to be exposed nowhere, for its writer may sync each commit", () =>
    Effect.gen(function* () {
      const log = yield* Ref.make<WalFrames>({ log: 0, checkpointed: 0 })
      yield* Effect.gen(function* () {
        yield* Ref.set(log, { log: 10, checkpointed: 0 })
        yield* TestClock.adjust("10 seconds")
        const { exposureSeconds } = yield* WalGuard.WalGuard.use(({ status }) => status)
        expect(exposureSeconds).toEqual(Option.none())
      }).pipe(Effect.provide(guarded(log)))
    }),
  )

  it.effect("that grows although it is copied is said to be out of reach, once, and once that it is over", () =>
    Effect.gen(function* () {
      const log = yield* Ref.make<WalFrames>({ log: 0, checkpointed: 0 })
      yield* Effect.gen(function* () {
        for (let second = 0; second < 20; second++) {
          yield* Ref.update(log, (now) => ({ ...now, log: now.log + 1000 }))
          yield* TestClock.adjust("1 second")
        }
        const said = yield* LogCapture.logged("wal_checkpoint cannot bound the WAL")
        expect(said.map(({ level }) => level)).toEqual(["Warn"])
        expect(said[0]?.fields).toMatchObject({ outcome: "WriterBusy", writers: "writer --fast (pid 4711)" })
        yield* Ref.set(log, { log: 10, checkpointed: 0 })
        yield* TestClock.adjust("1 second")
        expect(yield* LogCapture.logged("wal_checkpoint bounds the WAL again")).toHaveLength(1)
      }).pipe(Effect.provide(guarded(log, { leaves: 3, processes: [writer] })))
    }),
  )

  it.effect("that restarts again and again is within reach, however often it was twice its bound for a second", () =>
    Effect.gen(function* () {
      const log = yield* Ref.make<WalFrames>({ log: 0, checkpointed: 0 })
      yield* Effect.gen(function* () {
        for (let second = 0; second < 20; second++) {
          yield* Ref.set(log, { log: second % 2 === 0 ? 2500 : 1500, checkpointed: 0 })
          yield* TestClock.adjust("1 second")
        }
        expect(yield* LogCapture.logged("wal_checkpoint cannot bound the WAL")).toEqual([])
      }).pipe(Effect.provide(guarded(log, { leaves: 3, processes: [writer] })))
    }),
  )

  it.effect("that is long, wholly copied and idle is said to be so once, and never to be out of reach", () =>
    Effect.gen(function* () {
      const log = yield* Ref.make<WalFrames>({ log: 0, checkpointed: 0 })
      yield* Effect.gen(function* () {
        const { filename: file } = yield* Database.Database
        yield* Ref.set(log, { log: 125_933, checkpointed: 0 })
        yield* TestClock.adjust("2 minutes")
        expect(yield* LogCapture.logged("wal_checkpoint cannot bound the WAL")).toEqual([])
        const said = yield* LogCapture.logged("wal_checkpoint left a long WAL")
        expect(said.map(({ level }) => level)).toEqual(["Info"])
        expect(said[0]?.fields).toMatchObject({ log_frames: 125_933, checkpointed_frames: 125_933 })
        expect(said[0]?.fields["advice"]).toContain(`seawall checkpoint --mode truncate ${file}`)
        // The next writes restart it, and leave it long again.
        yield* Ref.set(log, { log: 10, checkpointed: 0 })
        yield* TestClock.adjust("10 seconds")
        yield* Ref.set(log, { log: 130_000, checkpointed: 0 })
        yield* TestClock.adjust("1 minute")
        expect(yield* LogCapture.logged("wal_checkpoint left a long WAL")).toHaveLength(1)
        expect(yield* LogCapture.logged("wal_checkpoint bounds the WAL again")).toEqual([])
      }).pipe(Effect.provide(guarded(log, { processes: [writer] })))
    }),
  )

  it.effect("that grew once, long and copied, is not out of reach: it takes a writer that goes on", () =>
    Effect.gen(function* () {
      const log = yield* Ref.make<WalFrames>({ log: 0, checkpointed: 0 })
      yield* Effect.gen(function* () {
        yield* Ref.set(log, { log: 5000, checkpointed: 0 })
        for (let burst = 0; burst < 5; burst++) {
          yield* TestClock.adjust("20 seconds")
          yield* Ref.update(log, (now) => ({ ...now, log: now.log + 100 }))
        }
        expect(yield* LogCapture.logged("wal_checkpoint cannot bound the WAL")).toEqual([])
        for (let second = 0; second < 4; second++) {
          yield* Ref.update(log, (now) => ({ ...now, log: now.log + 100 }))
          yield* TestClock.adjust("1 second")
        }
        expect(yield* LogCapture.logged("wal_checkpoint cannot bound the WAL")).toHaveLength(1)
      }).pipe(Effect.provide(guarded(log, { leaves: 3, processes: [writer] })))
    }),
  )

  it.effect("is looked at ten times a second for a second after a write, and else once a minute", () =>
    Effect.gen(function* () {
      const log = yield* Ref.make<WalFrames>({ log: 0, checkpointed: 0 })
      const looks = yield* Ref.make(0)
      let mtimeMs = 0
      const counting = Layer.effect(
        Checkpointer.Checkpointer,
        Effect.map(Checkpointer.Checkpointer, (it) => ({
          ...it,
          frames: Effect.andThen(
            Ref.update(looks, (n) => n + 1),
            it.frames,
          ),
        })),
      ).pipe(Layer.provide(foreign(log, 0)))
      const looksIn = (duration: Duration.Input) => Effect.andThen(TestClock.adjust(duration), Ref.getAndSet(looks, 0))
      yield* Effect.gen(function* () {
        expect(yield* looksIn("1 second")).toBe(10) // the first sight of it counts as a write
        expect(yield* looksIn("2 minutes")).toBe(2)
        mtimeMs = 1
        expect(yield* looksIn("1 second")).toBe(10)
        expect(yield* looksIn("20 seconds")).toBe(0)
        const { exposure } = yield* DatabaseControl
        mtimeMs = 2
        yield* Ref.set(log, { log: 10, checkpointed: 0 })
        yield* TestClock.adjust("100 millis")
        expect(exposure.isExposed()).toBe(true)
      }).pipe(Effect.provide(guarded(log, { stamp: () => ({ size: 0, mtimeMs }), checkpointer: counting })))
    }),
  )

  it.effect("is emptied at the end when no other process has the database open", () =>
    Effect.gen(function* () {
      const log = yield* Ref.make<WalFrames>({ log: 0, checkpointed: 0 })
      const entries = yield* Effect.provide(LogCapture.LogCapture, guarded(log))
      expect(entries.entries.some(({ fields }) => fields["mode"] === "TRUNCATE")).toBe(true)
    }),
  )

  it.effect("is left as it is at the end when a process has, which is named", () =>
    Effect.gen(function* () {
      const log = yield* Ref.make<WalFrames>({ log: 0, checkpointed: 0 })
      const { entries } = yield* Effect.provide(LogCapture.LogCapture, guarded(log, { processes: [writer] }))
      expect(entries.some(({ fields }) => fields["mode"] === "TRUNCATE")).toBe(false)
      const skipped = entries.filter(({ event }) => event === "wal_checkpoint truncate skipped")
      expect(skipped.map(({ fields, level }) => [level, fields["reason"]])).toEqual([
        ["Info", "still open in writer --fast (pid 4711)"],
      ])
    }),
  )
})
