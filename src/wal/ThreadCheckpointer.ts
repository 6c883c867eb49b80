/**
 * Checkpoints on a thread with a connection of its own, so that the event loop never waits for the disk because of one.
 *
 * The thread starts with the layer and is asked through RPC. One request is under way at a time: while an earlier one is
 * unanswered, its connection may still hold SQLite's checkpoint lock, and every other request is `CheckpointerBusy`.
 * A thread that crashes, or cannot start, fails the request with `ThreadFailed` and is started once more; after a second
 * time, checkpoints run inline until the program restarts, and it says so.
 * Closes before the main connection does: the thread closes its connection when it is told to, and is terminated when it
 * does not end. A thread inside SQLite cannot be cut at all; the shutdown is told that it was left behind.
 */
import * as NodeWorker from "@effect/platform-node/NodeWorker"
import { Cause, Duration, Effect, Exit, Fiber, Layer, Option, Ref, Scope } from "effect"
import { RpcClient, type RpcClientError, RpcWorker } from "effect/unstable/rpc"
import { Worker } from "node:worker_threads"
import * as Shutdown from "../shutdown/Shutdown.ts"
import { Database } from "../sqlite/Database.ts"
import { insideTransaction } from "../sqlite/SafeClient.ts"
import { UnsafeSqliteError, verdict } from "../sqlite/SqliteVersion.ts"
import { type Checkpoint, CheckpointError, type CheckpointMode, count, counted, notTried } from "./Checkpoint.ts"
import { CheckpointRpcs, ThreadOptions } from "./CheckpointRpcs.ts"
import { Checkpointer, framesOf, runOn } from "./Checkpointer.ts"

/** 30 s: a checkpoint of a gigabyte takes two on a good disk; what is not answered by then hangs. */
const answerBound = Duration.seconds(30)

/** How often a thread is started: one respawn. */
const mostStarts = 2

const script = new URL(
  import.meta.url.endsWith(".ts") ? "./checkpointThread.ts" : "./checkpointThread.js",
  import.meta.url,
)

type Client = RpcClient.FromGroup<typeof CheckpointRpcs, RpcClientError.RpcClientError>

interface Thread {
  /** The how-manieth it is: what is heard of an earlier one must not be taken for news of this. */
  readonly number: number
  readonly client: Client
  readonly scope: Scope.Closeable
}

/** How the thread is made; tests make one that cannot start, crashes or hangs. */
export interface ThreadCheckpointerOptions {
  readonly spawn?: () => Worker
}

const open = Effect.fnUntraced(function* (file: string, number: number, spawn: () => Worker) {
  const scope = yield* Scope.make()
  const protocol = RpcClient.layerProtocolWorker({ size: 1, concurrency: 1 }).pipe(
    Layer.provide(RpcWorker.layerInitialMessage(ThreadOptions, Effect.succeed({ file }))),
    Layer.provide(NodeWorker.layer(spawn)),
  )
  const context = yield* Layer.buildWithScope(protocol, scope)
  const client: Client = yield* RpcClient.make(CheckpointRpcs).pipe(
    Effect.provideContext(context),
    Scope.provide(scope),
  )
  return { number, client, scope } satisfies Thread
})

const make = Effect.fnUntraced(function* (options: ThreadCheckpointerOptions) {
  const database = yield* Database
  const safety = verdict(database.version)
  if (safety === "Unsafe") return yield* new UnsafeSqliteError({ version: database.version })
  if (safety === "Withdrawn") {
    yield* Effect.annotateLogs(Effect.logWarning("sqlite version withdrawn"), { version: database.version })
  }

  const fork = Effect.runForkWith(yield* Effect.context())
  const inline = runOn(database.sql)
  const starts = yield* Ref.make(0)
  const thread = yield* Ref.make(Option.none<Thread>())
  /** Whether there is a request that is not answered yet. */
  const underWay = yield* Ref.make(false)

  /** Lets a thread that is lost go, without waiting for it, and says so: once, however many notice. */
  const lost = Effect.fnUntraced(function* (number: number, cause: unknown) {
    const gone = Option.filter(yield* Ref.get(thread), (it) => it.number === number)
    if (Option.isNone(gone)) return
    yield* Ref.set(thread, Option.none())
    yield* Effect.forkDetach(Scope.close(gone.value.scope, Exit.void))
    const last = (yield* Ref.get(starts)) >= mostStarts
    yield* Effect.annotateLogs(Effect.logError("checkpoint thread failed", Cause.fail(cause)), {
      next: last ? "checkpoints run inline until the program restarts" : "the thread is started once more",
    })
  })

  const spawn = (number: number) => () => {
    const worker = (options.spawn ?? (() => new Worker(script)))()
    // Noticed at once even when nothing was asked of it; after the layer has closed it there is nothing to lose.
    worker.once("exit", (code) => fork(lost(number, new Error(`the thread has ended with code ${code}`))))
    return worker
  }
  const start = Effect.gen(function* () {
    const number = yield* Ref.updateAndGet(starts, (n) => n + 1)
    yield* Ref.set(thread, Option.some(yield* open(database.file, number, spawn(number))))
  })

  /** Runs on in a fiber of its own when the caller gives up, so that an answer that comes late is still noticed. */
  const request = Effect.fnUntraced(function* (client: Client, mode: CheckpointMode) {
    yield* Ref.set(underWay, true)
    return yield* client
      .Run({ mode })
      .pipe(Effect.ensuring(Ref.set(underWay, false)), Effect.forkDetach({ startImmediately: true }))
  })

  const run = Effect.fn("Checkpointer.run")(function* (
    mode: CheckpointMode,
  ): Effect.fn.Return<Checkpoint, CheckpointError> {
    if (yield* insideTransaction(database.sql)) return yield* notTried(mode, "LockedInTransaction")
    if (yield* Ref.get(underWay)) return yield* notTried(mode, "CheckpointerBusy")
    const failed = (cause: unknown, number: number) =>
      Effect.andThen(lost(number, cause), Effect.fail(new CheckpointError({ mode, reason: "ThreadFailed", cause })))
    if (Option.isNone(yield* Ref.get(thread)) && (yield* Ref.get(starts)) < mostStarts) {
      yield* Effect.catch(start, (cause) => failed(cause, 0))
    }
    const running = yield* Ref.get(thread)
    if (Option.isNone(running)) return yield* inline(mode)

    const fiber = yield* request(running.value.client, mode)
    const answer = yield* Effect.timeoutOption(Fiber.await(fiber), answerBound)
    if (Option.isNone(answer)) {
      yield* Effect.annotateLogs(Effect.logError("checkpoint thread hangs"), {
        mode,
        seconds: Duration.toSeconds(answerBound),
      })
      return yield* notTried(mode, "CheckpointerBusy")
    }
    const { number } = running.value
    return yield* answer.value.pipe(
      Effect.tap(counted),
      Effect.tapError(() => count(mode, "Failed")),
      Effect.catchTag("RpcClientError", (cause) => failed(cause, number)),
    )
  })

  yield* Effect.ignore(start, { log: "Error", message: "checkpoint thread failed" })
  yield* Effect.addFinalizer(() => close(thread, underWay))
  return Checkpointer.of({
    run,
    frames: framesOf(database.sql, database.version),
    concurrent: Effect.map(
      Effect.all([Ref.get(thread), Ref.get(starts)]),
      ([alive, started]) => Option.isSome(alive) || started < mostStarts,
    ),
  })
})

const close = Effect.fnUntraced(
  function* (thread: Ref.Ref<Option.Option<Thread>>, underWay: Ref.Ref<boolean>) {
    const running = yield* Ref.getAndSet(thread, Option.none())
    if (Option.isNone(running)) return
    const hangs = yield* Ref.get(underWay) // closing forgets what was asked
    const end = yield* Shutdown.step("close checkpoint thread", Scope.close(running.value.scope, Exit.void))
    if (end === "done" || !hangs) return
    const shutdown = yield* Shutdown.Shutdown
    yield* shutdown.leaveBehind("checkpoint thread")
  },
  Effect.ignoreCause({ log: "Error", message: "close checkpoint thread failed" }),
)

/**
 * Checkpoints on a thread, beside the `Database` in reach. Refuses a SQLite whose log reset can corrupt a database that
 * two connections use.
 */
export const layer = (
  options: ThreadCheckpointerOptions = {},
): Layer.Layer<Checkpointer, UnsafeSqliteError, Database> => Layer.effect(Checkpointer, make(options))
