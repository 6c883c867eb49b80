/** The checkpoint thread, with the real thread unless a test needs one that fails. Waits for events, never for the clock. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Result, Scope } from "effect"
import { TestClock } from "effect/testing"
import { SqlClient } from "effect/sql"
import { Worker } from "node:worker_threads"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import * as Database from "../../src/sqlite/Database.ts"
import type { CheckpointMode } from "../../src/wal/Checkpoint.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import { CheckpointThread, makeUnsafe } from "../../src/wal/CheckpointThread.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import { checkpointerContract } from "./checkpointerContract.ts"
import { foreignConnection, foreignReader } from "../support/ForeignReader.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { list } from "../support/files.ts"
import { attributesOf, recordingTracer } from "../support/Spans.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"

const run = (mode: CheckpointMode) => Checkpointer.Checkpointer.use((checkpointer) => checkpointer.run(mode))

const write = SqlClient.SqlClient.use((sql) =>
  Effect.andThen(sql`CREATE TABLE IF NOT EXISTS t (a)`, sql`INSERT INTO t (a) VALUES (1)`),
)

const real = () => new Worker(new URL("../../src/wal/checkpointWorker.ts", import.meta.url))
const crashing = () => new Worker("process.exit(7)", { eval: true })
const missing = () => new Worker(new URL("./no-such-thread.ts", import.meta.url))
/** Says that it is ready, as the real one does, and answers nothing but the order to end. */
const hanging = () =>
  new Worker(
    `const { parentPort } = require("node:worker_threads")
     parentPort.on("message", ([kind]) => { if (kind === 1) process.exit() })
     parentPort.postMessage([0])`,
    { eval: true },
  )

/** Does not even end when it is told to. */
const deaf = () =>
  new Worker(
    `const { parentPort } = require("node:worker_threads")
     parentPort.on("message", () => {})
     parentPort.postMessage([0])`,
    { eval: true },
  )

/** Is ready, and ends at the first checkpoint that is asked of it. */
const failing = () =>
  new Worker(
    `const { parentPort } = require("node:worker_threads")
     parentPort.on("message", ([kind, request]) => {
       if (kind === 1) process.exit()
       if (request.tag === "Run") process.exit(9)
     })
     parentPort.postMessage([0])`,
    { eval: true },
  )

/** Never says that it is ready, and does not end by itself: as a thread that still loads its modules. */
const loading = () => new Worker(`require("node:worker_threads").parentPort.on("message", () => {})`, { eval: true })

/** Loads for a while, and answers each checkpoint as if it had taken 4711 ms. */
const late = () =>
  new Worker(
    `const { parentPort } = require("node:worker_threads")
     const done = { mode: "TRUNCATE", outcome: "Complete", busy: 0, walFrames: 0, checkpointedFrames: 0, elapsedMillis: 4711, blockers: [] }
     parentPort.on("message", ([kind, { id, tag } = {}]) => {
       if (kind === 1) process.exit()
       const value = tag === "Run" ? done : null
       parentPort.postMessage([1, { _tag: "Exit", requestId: id, exit: { _tag: "Success", value } }])
     })
     setTimeout(() => parentPort.postMessage([0]), 50)`,
    { eval: true },
  )

/** The n-th thread that is started is the n-th of these, the last one again and again. */
const oneAfterAnother = (...spawns: ReadonlyArray<() => Worker>) => {
  let started = 0
  const spawn = () => spawns[Math.min(started++, spawns.length - 1)]!()
  return { spawn, started: () => started }
}

const thread = (spawn = real) =>
  Checkpointer.layerThread().pipe(
    Layer.provide(Layer.succeed(CheckpointThread, makeUnsafe(spawn))),
    Layer.provideMerge(TemporaryDatabase.layer({ busyTimeout: "20 seconds" })),
    Layer.provideMerge(LogCapture.layer),
  )

checkpointerContract("on a thread", thread())

describe("a checkpoint on a thread", () => {
  it.effect("copies every frame, and empties the WAL with TRUNCATE", () =>
    Effect.gen(function* () {
      yield* write
      const passive = yield* run("PASSIVE")
      expect(passive.outcome).toBe("Complete")
      expect(passive.checkpointedFrames).toBeGreaterThan(0)
      const truncate = yield* run("TRUNCATE")
      expect([truncate.outcome, truncate.walFrames]).toEqual(["Complete", 0])
    }).pipe(Effect.provide(thread())),
  )

  it.effect("is one span, with nothing of what is asked of the thread", () => {
    const spans = recordingTracer()
    return Effect.gen(function* () {
      yield* Effect.withTracerEnabled(write, false)
      yield* run("PASSIVE")
      yield* run("TRUNCATE")
      expect(spans.names()).toEqual(["Checkpointer.run", "Checkpointer.run"])
      expect(attributesOf(spans.of("Checkpointer.run")[1])).toMatchObject({
        "db.namespace": (yield* Database.Database).filename,
        "seawall.checkpoint.mode": "TRUNCATE",
        "seawall.checkpoint.outcome": "Complete",
        "seawall.checkpoint.log_frames": 0,
      })
    }).pipe(Effect.provide(Layer.provideMerge(thread(), spans.layer)))
  })

  it.effect("goes on while a fiber of this program is inside a transaction", () =>
    Effect.gen(function* () {
      const { sql } = yield* Database.Database
      yield* write
      const inside = yield* Deferred.make<void>()
      const checkpoint = yield* Effect.forkChild(Effect.andThen(Deferred.await(inside), run("PASSIVE")))
      const done = yield* sql.withTransaction(
        write.pipe(Effect.andThen(Deferred.succeed(inside, undefined)), Effect.andThen(Fiber.join(checkpoint))),
      )
      expect(done.outcome).toBe("Complete")
      expect(done.checkpointedFrames).toBeGreaterThan(0)
    }).pipe(Effect.provide(thread())),
  )

  it.effect("is LockedInTransaction, at once, for a fiber inside a transaction", () =>
    Effect.gen(function* () {
      const { sql } = yield* Database.Database
      yield* write
      const [own, forked] = yield* sql.withTransaction(
        Effect.all([run("PASSIVE"), Effect.flatMap(Effect.forkChild(run("PASSIVE")), Fiber.join)]),
      )
      expect([own.outcome, forked.outcome]).toEqual(["LockedInTransaction", "LockedInTransaction"])
    }).pipe(Effect.provide(thread())),
  )

  it.effect("is ReaderBlocked under a foreign reader, and WriterBusy under a foreign writer", () =>
    Effect.gen(function* () {
      const { filename: file } = yield* Database.Database
      yield* write
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* foreignReader(file)
          yield* write
          expect((yield* run("PASSIVE")).outcome).toBe("ReaderBlocked")
          expect((yield* run("TRUNCATE")).outcome).toBe("ReaderBlocked")
        }),
      )
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* foreignConnection(file, ["BEGIN IMMEDIATE"])
          expect((yield* run("TRUNCATE")).outcome).toBe("WriterBusy")
        }),
      )
      expect((yield* run("TRUNCATE")).outcome).toBe("Complete")
    }).pipe(Effect.provide(thread())),
  )

  it.effect("leaves nothing behind when it closes", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const log = yield* Layer.build(LogCapture.layer)
      yield* Effect.andThen(write, run("PASSIVE")).pipe(
        Effect.provide(
          Checkpointer.layerThread().pipe(Layer.provideMerge(Database.layer({ filename: `${folder}/test.db` }))),
        ),
        Effect.provideContext(log),
      )
      expect(yield* list(folder)).toEqual(["test.db"])
      const steps = yield* Effect.provideContext(LogCapture.logged("shutdown step"), log)
      expect(steps.map(({ fields }) => fields["step"])).toEqual([
        "close checkpoint thread",
        "drain writes",
        "close database",
      ])
    }),
  )

  it.effect("refuses a SQLite that could corrupt the database, and says which versions are safe", () =>
    Effect.gen(function* () {
      const database = yield* Database.Database
      const result = yield* Layer.build(Checkpointer.layerThread()).pipe(
        Effect.provideService(Database.Database, { ...database, version: "3.51.2" }),
        Effect.result,
      )
      expect(Result.isFailure(result) && result.failure.message).toContain("3.51.3 or later")
    }).pipe(Effect.scoped, Effect.provide(TemporaryDatabase.layer())),
  )
})

describe("a program that ends before the thread has started", () => {
  it.effect("empties a short WAL by itself, waits for no thread and leaves one file", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const log = yield* Layer.build(LogCapture.layer)
      let worker: Worker | undefined
      yield* Effect.gen(function* () {
        yield* write
        yield* Effect.repeat(Effect.yieldNow, { until: () => worker !== undefined })
        const { walFrames, outcome } = yield* run("TRUNCATE")
        expect([outcome, walFrames]).toEqual(["Complete", 0])
      }).pipe(
        Effect.provide(
          Checkpointer.layerThread().pipe(
            Layer.provide(
              Layer.succeed(
                CheckpointThread,
                makeUnsafe(() => (worker = loading())),
              ),
            ),
            Layer.provideMerge(Database.layer({ filename: `${folder}/test.db` })),
          ),
        ),
        Effect.provideContext(log),
      )
      expect(yield* list(folder)).toEqual(["test.db"])
      const steps = yield* Effect.provideContext(LogCapture.logged("shutdown step"), log)
      expect(steps.map(({ fields }) => fields["step"])).toContain("close checkpoint thread")
      expect(yield* Effect.provideContext(LogCapture.logged("checkpoint thread failed"), log)).toEqual([])
    }),
  )

  it.effect("leaves a long WAL to the thread, so that the event loop does not wait for the copy", () =>
    Effect.gen(function* () {
      const { sql } = yield* Database.Database
      yield* sql`PRAGMA wal_autocheckpoint = 0`
      yield* write
      yield* sql`INSERT INTO t (a) VALUES (zeroblob(4500000))`
      expect((yield* run("TRUNCATE")).elapsedMillis).toBe(4711)
    }).pipe(Effect.provide(thread(late))),
  )

  it.effect("runs no second checkpoint beside one that waits for the thread", () =>
    Effect.gen(function* () {
      yield* write
      yield* Effect.forkChild(run("PASSIVE"), { startImmediately: true })
      expect((yield* run("TRUNCATE")).outcome).toBe("CheckpointerBusy")
    }).pipe(Effect.provide(thread(loading))),
  )
})

describe("a thread that fails", () => {
  const failure = Effect.map(Effect.result(run("PASSIVE")), (result) =>
    Result.isFailure(result) ? result.failure.reason : result.success.outcome,
  )

  for (const [name, broken] of [
    ["crashes", crashing],
    ["cannot start", missing],
    ["crashes in the middle of a request", failing],
  ] as const) {
    it.effect(`because it ${name} is a typed error, logged, and is started once more`, () => {
      const { spawn, started } = oneAfterAnother(broken, real)
      return Effect.gen(function* () {
        yield* write
        expect(yield* failure).toBe("ThreadFailed")
        expect(yield* failure).toBe("Complete")
        expect(started()).toBe(2)
        const lines = yield* LogCapture.logged("checkpoint thread failed")
        expect(lines.map(({ level, fields }) => [level, fields["next"]])).toEqual([
          ["Error", "the thread is started once more"],
        ])
      }).pipe(Effect.provide(thread(spawn)))
    })

    it.effect(`because it ${name} twice leaves checkpoints to run inline, and says so`, () => {
      const { spawn, started } = oneAfterAnother(broken)
      return Effect.gen(function* () {
        yield* write
        expect([yield* failure, yield* failure, yield* failure]).toEqual(["ThreadFailed", "ThreadFailed", "Complete"])
        expect((yield* run("TRUNCATE")).outcome).toBe("Complete")
        expect(started()).toBe(2)
        const lines = yield* LogCapture.logged("checkpoint thread failed")
        expect(lines.map(({ fields }) => fields["next"])).toEqual([
          "the thread is started once more",
          "checkpoints run inline until the program restarts",
        ])
      }).pipe(Effect.provide(thread(spawn)))
    })
  }

  it.effect("in the middle of its life is noticed without being asked", () => {
    let worker: Worker | undefined
    const spawn = () => (worker = real())
    return Effect.gen(function* () {
      yield* write
      yield* run("PASSIVE")
      const first = worker
      yield* Effect.promise(() => first!.terminate())
      const failed = yield* LogCapture.logged("checkpoint thread failed")
      expect(failed.map(({ fields }) => [fields["logger"], fields["database"]])).toEqual([["seawall", undefined]])
      yield* write
      expect((yield* run("PASSIVE")).outcome).toBe("Complete")
      expect(worker).not.toBe(first)
    }).pipe(Effect.provide(thread(spawn)))
  })

  it.effect("by hanging keeps all others out: nothing runs inline while it may hold the lock", () =>
    Effect.gen(function* () {
      yield* write
      const first = yield* Effect.forkChild(run("PASSIVE"), { startImmediately: true })
      expect((yield* run("PASSIVE")).outcome).toBe("CheckpointerBusy")
      yield* TestClock.adjust("30 seconds")
      expect((yield* Fiber.join(first)).outcome).toBe("CheckpointerBusy")
      const hangs = yield* LogCapture.logged("checkpoint thread hangs")
      expect(hangs.map(({ fields }) => fields["database"])).toEqual([(yield* Database.Database).filename])
      expect((yield* run("TRUNCATE")).outcome).toBe("CheckpointerBusy")
    }).pipe(Effect.provide(thread(hanging))),
  )

  it.live("and was terminated leaves a database that closes cleanly", () => {
    let worker: Worker | undefined
    const spawn = () => (worker = real())
    return Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      yield* Effect.gen(function* () {
        yield* write
        yield* run("PASSIVE")
        yield* write
        yield* Effect.promise(() => worker!.terminate())
      }).pipe(
        Effect.provide(
          Checkpointer.layerThread().pipe(
            Layer.provide(Layer.succeed(CheckpointThread, makeUnsafe(spawn))),
            Layer.provideMerge(Database.layer({ filename: `${folder}/test.db` })),
            Layer.provideMerge(LogCapture.layer),
          ),
        ),
      )
      expect(yield* list(folder)).toEqual(["test.db"])
    })
  })
})

describe("a guard with a thread that hangs", () => {
  it.effect("lets SQLite's autocheckpoint stand in, and leaves the thread behind within the budget", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* WalGuard.layer({ interval: "1 second" }).pipe(
        Layer.provideMerge(thread(deaf)),
        Layer.provideMerge(Shutdown.layer({ budget: "4 seconds" })),
        Layer.buildWithScope(scope),
      )
      const inside = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideContext(self, context)
      const { sql } = yield* inside(Database.Database)
      const pages = Effect.map(sql.unsafe("PRAGMA wal_autocheckpoint").values, (rows) => rows[0]?.[0])
      yield* inside(write)
      yield* TestClock.adjust("1 second")
      expect(yield* pages).toBe(0)
      yield* TestClock.adjust("30 seconds")
      expect(yield* pages).toBe(1000)

      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("4 seconds")
      yield* Fiber.join(closing)
      const shutdown = yield* inside(Shutdown.Shutdown)
      expect(yield* shutdown.leftBehind).toEqual(["checkpoint thread"])
      expect(yield* shutdown.failures).toContain("close checkpoint thread")
      yield* TestClock.adjust("5 seconds") // the thread is terminated after all
    }),
  )
})
