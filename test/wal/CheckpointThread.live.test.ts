/** Several databases on one checkpoint thread: the real one, or one that answers when the test says so. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import { SqlClient } from "effect/sql"
import { Worker } from "node:worker_threads"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import { CheckpointThread, makeUnsafe } from "../../src/wal/CheckpointThread.ts"
import * as GuardedDatabase from "../../src/wal/GuardedDatabase.ts"
import { list } from "../support/files.ts"

const real = () => new Worker(new URL("../../src/wal/checkpointWorker.ts", import.meta.url))

/** Takes its time, and answers with how many it was asked for at once. */
const counting = () =>
  new Worker(
    `const { parentPort } = require("node:worker_threads")
     let asked = 0
     const answer = ({ id }, value) =>
       parentPort.postMessage([1, { _tag: "Exit", requestId: id, exit: { _tag: "Success", value } }])
     const checkpoint = (request) => {
       answer(request, { mode: "PASSIVE", outcome: "Complete", busy: 0, walFrames: asked, checkpointedFrames: asked, elapsedMillis: 1, blockers: [] })
       asked -= 1
     }
     parentPort.on("message", ([kind, request]) => {
       if (kind === 1) process.exit()
       if (request.tag !== "Run") return answer(request, null)
       asked += 1
       setTimeout(checkpoint, 50, request)
     })
     parentPort.postMessage([0])`,
    { eval: true },
  )

/** Answers at once, and takes its time to end. */
const slowToEnd = () =>
  new Worker(
    `const { parentPort } = require("node:worker_threads")
     const done = { mode: "PASSIVE", outcome: "Complete", busy: 0, walFrames: 1, checkpointedFrames: 1, elapsedMillis: 1, blockers: [] }
     parentPort.on("message", ([kind, { id, tag } = {}]) => {
       if (kind === 1) return setTimeout(() => process.exit(), 200)
       const value = tag === "Run" ? done : null
       parentPort.postMessage([1, { _tag: "Exit", requestId: id, exit: { _tag: "Success", value } }])
     })
     parentPort.postMessage([0])`,
    { eval: true },
  )

/** Never says that it is ready, and does not end by itself: as a thread that still loads its modules. */
const loading = () => new Worker(`require("node:worker_threads").parentPort.on("message", () => {})`, { eval: true })

/** Opens and closes, and never answers a checkpoint. */
const hanging = () =>
  new Worker(
    `const { parentPort } = require("node:worker_threads")
     parentPort.on("message", ([kind, { id, tag } = {}]) => {
       if (kind === 1) process.exit()
       if (tag === "Run") return
       parentPort.postMessage([1, { _tag: "Exit", requestId: id, exit: { _tag: "Success", value: null } }])
     })
     parentPort.postMessage([0])`,
    { eval: true },
  )

/** Databases that share a thread, each in a scope of its own. */
const sharing = Effect.fnUntraced(function* (spawn: () => Worker) {
  const workers: Array<Worker> = []
  const thread = makeUnsafe(() => {
    const worker = spawn()
    workers.push(worker)
    return worker
  })
  const folder = yield* TemporaryDatabase.folder
  const below = Layer.mergeAll(TemporaryDatabase.quickDisk, Layer.succeed(CheckpointThread, thread))
  const log = yield* Layer.build(LogCapture.layer)
  const open = Effect.fnUntraced(function* (name: string) {
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
    const context = yield* GuardedDatabase.layer({ filename: `${folder}/${name}`, interval: 0 }).pipe(
      Layer.provide(below),
      Layer.buildWithScope(scope),
    )
    const sql = Context.get(context, SqlClient.SqlClient)
    yield* sql`CREATE TABLE t (a)`
    const { run, withTurn } = Context.get(context, Checkpointer.Checkpointer)
    return { sql, passive: Effect.provideContext(withTurn(run("PASSIVE")), log), close: Scope.close(scope, Exit.void) }
  }, Effect.provideContext(log))
  return {
    folder,
    open,
    thread,
    workers,
    log: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideContext(self, log),
  }
})

describe("databases of one process", () => {
  it.effect("are checkpointed by one thread, each on its own connection", () =>
    Effect.gen(function* () {
      const { folder, log, open, workers } = yield* sharing(real)
      const [a, b] = [yield* open("a.db"), yield* open("b.db")]
      yield* Effect.repeat(a.sql`INSERT INTO t VALUES (zeroblob(5000))`, { times: 9 })
      const [first, second] = [yield* a.passive, yield* b.passive]
      expect([first.outcome, second.outcome]).toEqual(["Complete", "Complete"])
      expect(first.checkpointedFrames).toBeGreaterThan(second.checkpointedFrames)
      expect(workers).toHaveLength(1)

      yield* a.close
      expect(yield* list(folder)).toEqual(["a.db", "b.db", "b.db-shm", "b.db-wal"])
      yield* b.sql`INSERT INTO t VALUES (1)`
      expect((yield* b.passive).outcome).toBe("Complete")
      yield* b.close
      expect(yield* list(folder)).toEqual(["a.db", "b.db"])
      expect(workers).toHaveLength(1)
      expect((yield* log(LogCapture.steps)).filter((step) => String(step).includes("checkpoint"))).toEqual([
        "close checkpoint connection",
        "close checkpoint thread",
      ])
    }),
  )

  it.effect("start a thread again when all of them have been closed", () =>
    Effect.gen(function* () {
      const { open, workers } = yield* sharing(real)
      for (const name of ["a.db", "b.db", "c.db"]) {
        const { close, passive } = yield* open(name)
        expect((yield* passive).outcome).toBe("Complete")
        yield* close
      }
      expect(workers).toHaveLength(3)
    }),
  )

  it.effect("close before the thread has started without waiting for it", () =>
    Effect.gen(function* () {
      const { folder, log, open, workers } = yield* sharing(loading)
      const [a, b] = [yield* open("a.db"), yield* open("b.db")]
      yield* Effect.repeat(Effect.yieldNow, { until: () => workers.length > 0 })
      yield* a.close
      yield* b.close
      expect(yield* list(folder)).toEqual(["a.db", "b.db"])
      expect(workers).toHaveLength(1)
      expect(yield* log(LogCapture.logged("checkpoint thread failed"))).toEqual([])
    }),
  )

  it.effect("do not lose their thread to the end of the one before", () =>
    Effect.gen(function* () {
      const { log, open, workers } = yield* sharing(slowToEnd)
      const a = yield* open("a.db")
      yield* a.passive
      const closing = yield* Effect.forkChild(a.close, { startImmediately: true })
      const b = yield* open("b.db")
      yield* Fiber.join(closing)
      expect((yield* b.passive).outcome).toBe("Complete")
      expect(yield* log(LogCapture.logged("checkpoint thread failed"))).toEqual([])
      expect(workers).toHaveLength(2)
    }),
  )

  it.effect("wait for their turn: no two checkpoints, and so no two syncs, at one moment", () =>
    Effect.gen(function* () {
      const { open } = yield* sharing(counting)
      const databases = yield* Effect.forEach(["a.db", "b.db", "c.db"], open)
      const done = yield* Effect.forEach(databases, ({ passive }) => passive, { concurrency: "unbounded" })
      expect(done.map(({ walFrames, outcome }) => [outcome, walFrames])).toEqual(
        databases.map(() => ["Complete", 1]), // asked for one at a time
      )
    }),
  )

  it.effect("are told that the checkpointer is busy when the checkpoint of another hangs", () =>
    Effect.gen(function* () {
      const { log, open } = yield* sharing(hanging)
      const [a, b] = [yield* open("a.db"), yield* open("b.db")]
      const first = yield* Effect.forkChild(a.passive, { startImmediately: true })
      const second = yield* Effect.forkChild(b.passive, { startImmediately: true })
      yield* TestClock.adjust("29 seconds")
      expect([first.pollUnsafe(), second.pollUnsafe()]).toEqual([undefined, undefined])
      yield* TestClock.adjust("1 second")
      expect([(yield* Fiber.join(first)).outcome, (yield* Fiber.join(second)).outcome]).toEqual([
        "CheckpointerBusy",
        "CheckpointerBusy",
      ])
      expect(yield* log(LogCapture.logged("checkpoint thread hangs"))).toHaveLength(1)
    }),
  )

  it.effect("do not suffer from one whose file the thread cannot open, and it is not made again", () =>
    Effect.gen(function* () {
      const { folder, log, open, thread, workers } = yield* sharing(real)
      const a = yield* open("a.db")
      const gone = yield* thread.attach({ path: `${folder}/gone.db`, identity: "1:1" })
      expect(yield* Effect.flip(gone.run("PASSIVE"))).toMatchObject({ _tag: "CheckpointError", reason: "Replaced" })
      expect((yield* a.passive).outcome).toBe("Complete")
      expect(workers).toHaveLength(1)
      expect(yield* log(LogCapture.logged("checkpoint thread failed"))).toEqual([])
      expect(yield* list(folder)).not.toContain("gone.db")
    }),
  )
})
