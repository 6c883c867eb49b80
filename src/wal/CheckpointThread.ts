/**
 * The thread on which checkpoints run: one for all databases of a process, with a connection of its own to each.
 *
 * It starts with the first database, ends with the last, and is asked through RPC. Databases take turns, so that no two
 * checkpoints sync at the same moment. While a request is unanswered its connection may still hold SQLite's checkpoint lock,
 * and every other request is `CheckpointerBusy`. A thread that crashes, or cannot start, fails the request with
 * `ThreadFailed` (`ThreadLife` starts it once more).
 * A database that closes has its connection closed; the last one ends the thread, which is terminated when it does not, and
 * at once while it still starts. A thread inside SQLite cannot be cut at all; the shutdown is told that it was left behind.
 */
import { Context, Duration, Effect, Exit, Fiber, Option, Ref, Scope, Semaphore } from "effect"
import { Worker } from "node:worker_threads"
import type { OpenedFiles } from "../files/DatabaseFile.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import { aboutAll } from "../sqlite/DatabaseName.ts"
import { type Checkpoint, CheckpointError, type CheckpointMode } from "./Checkpoint.ts"
import { notTried } from "./CheckpointRun.ts"
import type { Client } from "./ThreadClient.ts"
import * as ThreadLife from "./ThreadLife.ts"

/** 30 s: a checkpoint of a gigabyte takes two on a good disk; what is not answered by then hangs. */
const answerBound = Duration.seconds(30)

const script = new URL(
  import.meta.url.endsWith(".ts") ? "./checkpointWorker.ts" : "./checkpointWorker.js",
  import.meta.url,
)

/** What a database has of the thread. */
interface Attached {
  /** Waits until no other database is checkpointed on the thread. Call `run` within it. */
  readonly withTurn: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** One checkpoint. None when there is no thread any more. */
  readonly run: (mode: CheckpointMode) => Effect.Effect<Option.Option<Checkpoint>, CheckpointError>
  /** Gives the WAL's file room for so many frames, and answers for how many there is now. None when there is no thread. */
  readonly lengthen: (frames: number) => Effect.Effect<Option.Option<number>, unknown>
  /** Whether there is a thread, or can be. */
  readonly exists: Effect.Effect<boolean>
  /** Whether a checkpoint would have to wait until the thread has started; none is under way then. */
  readonly isStarting: Effect.Effect<boolean>
}

interface CheckpointThreadService {
  /** Opens the thread's connection to these files, until the scope closes. */
  readonly attach: (files: OpenedFiles) => Effect.Effect<Attached, never, Scope.Scope>
}

/** The requests to the thread, and the one that is not answered yet. */
const requests = (life: ThreadLife.ThreadLife) => {
  /** The path of the database whose checkpoint is under way. */
  const underWay = Ref.makeUnsafe(Option.none<string>())

  /** Runs on in a fiber of its own when the caller gives up, so that an answer that comes late is still noticed. */
  const request = Effect.fnUntraced(function* (client: Client, files: OpenedFiles, mode: CheckpointMode) {
    yield* Ref.set(underWay, Option.some(files.path))
    return yield* client
      .Run({ files, mode })
      .pipe(Effect.ensuring(Ref.set(underWay, Option.none())), Effect.forkDetach({ startImmediately: true }))
  })

  const run = Effect.fnUntraced(function* (files: OpenedFiles, mode: CheckpointMode) {
    if (Option.isSome(yield* Ref.get(underWay))) return Option.some(notTried(mode, "CheckpointerBusy"))
    const failed = (cause: unknown, number: number) =>
      Effect.andThen(
        life.lost(number, cause),
        Effect.fail(new CheckpointError({ mode, reason: "ThreadFailed", cause })),
      )
    yield* Effect.catch(life.start, (cause) => failed(cause, 0))
    const running = yield* life.running
    if (Option.isNone(running)) return Option.none()

    const { client, number } = running.value
    const fiber = yield* request(client, files, mode)
    const answer = yield* Effect.timeoutOption(Fiber.await(fiber), answerBound)
    if (Option.isNone(answer)) {
      yield* Effect.annotateLogs(Effect.logError("checkpoint thread hangs"), {
        mode,
        seconds: Duration.toSeconds(answerBound),
      })
      return Option.some(notTried(mode, "CheckpointerBusy"))
    }
    const done = yield* answer.value.pipe(Effect.catchTag("RpcClientError", (cause) => failed(cause, number)))
    return Option.some(done)
  })

  /** A step of no importance: what keeps it from being done is said by the next checkpoint. */
  const lengthen = Effect.fnUntraced(function* (files: OpenedFiles, frames: number) {
    const alive = Option.filter(yield* life.running, ({ hasStarted }) => hasStarted())
    if (Option.isNone(alive) || Option.isSome(yield* Ref.get(underWay))) return Option.none()
    return Option.some(yield* alive.value.client.Lengthen({ files, frames }))
  })

  const isStarting = Effect.gen(function* () {
    if (Option.isSome(yield* Ref.get(underWay))) return false
    const running = yield* life.running
    return Option.isSome(running) ? !running.value.hasStarted() : yield* life.exists
  })

  return { run, lengthen, isStarting, underWay }
}

export const makeUnsafe = (spawnWorker: () => Worker): CheckpointThreadService => {
  const turn = Semaphore.makeUnsafe(1)
  /** The files of all that are attached. */
  const attached = Ref.makeUnsafe<ReadonlyArray<OpenedFiles>>([])
  const life = ThreadLife.makeUnsafe(spawnWorker, attached)
  const { isStarting, lengthen, run, underWay } = requests(life)

  const closeConnection = Effect.fnUntraced(function* (files: OpenedFiles) {
    const running = yield* life.running
    if (Option.isNone(running) || !running.value.hasStarted()) return // it has no connection
    const closing = running.value.client.Close(files)
    // The thread does so after the checkpoint that is under way there, if that ever ends: no caller can wait for it.
    if (Option.contains(yield* Ref.get(underWay), files.path)) {
      yield* Effect.forkDetach(Effect.ignore(closing), { startImmediately: true })
      return
    }
    const atMost = Duration.divideUnsafe(yield* (yield* Shutdown.Shutdown).remaining, 2)
    yield* Shutdown.step("close checkpoint connection", closing, { atMost })
  })

  const end = Effect.gen(function* () {
    const running = yield* life.letGo
    if (Option.isNone(running)) return
    const hangs = Option.isSome(yield* Ref.getAndSet(underWay, Option.none())) // closing forgets what was asked
    const { hasStarted, scope, terminate } = running.value
    const close = Effect.suspend(() => {
      if (!hasStarted()) terminate()
      return Scope.close(scope, Exit.void)
    })
    const ended = yield* aboutAll(Shutdown.step("close checkpoint thread", close))
    if (ended === "done" || !hangs) return
    const shutdown = yield* Shutdown.Shutdown
    yield* shutdown.leaveBehind("checkpoint thread")
  })

  const attach = Effect.fnUntraced(function* (files: OpenedFiles) {
    const isSame = (other: OpenedFiles) => other.path === files.path && other.identity === files.identity
    yield* Effect.acquireRelease(
      Ref.update(attached, (all) => [...all, files]),
      () =>
        Ref.updateAndGet(attached, (all) => all.toSpliced(all.indexOf(files), 1)).pipe(
          Effect.flatMap((left) => {
            if (left.length === 0) return end
            return left.some(isSame) ? Effect.void : closeConnection(files)
          }),
          Shutdown.contained("close checkpoint thread"),
        ),
    )
    const running = yield* life.running
    // At once, while the file is surely the one that the program has open; a thread that starts does so when it has.
    if (Option.isNone(running)) yield* Effect.ignore(life.start, { log: "Error", message: "checkpoint thread failed" })
    else if (running.value.hasStarted()) {
      yield* Effect.forkScoped(Effect.ignore(running.value.client.Open(files)), { startImmediately: true })
    }
    const withTurn: Attached["withTurn"] = (self) =>
      Effect.flatMap(life.exists, (shared) => (shared ? turn.withPermit(self) : self))
    return {
      withTurn,
      run: (mode) => run(files, mode),
      lengthen: (frames) => lengthen(files, frames),
      exists: life.exists,
      isStarting,
    } satisfies Attached
  })
  return { attach }
}

/** Node 22 calls SQLite experimental; it has said so on the main thread, or was told not to. */
const quietly = () => ({
  ...process.env,
  NODE_OPTIONS: `${process.env["NODE_OPTIONS"] ?? ""} --disable-warning=ExperimentalWarning`,
})

/** The thread of the process. A test has another for itself: one that cannot start, crashes or hangs. */
export const CheckpointThread = Context.Reference<CheckpointThreadService>("seawall/wal/CheckpointThread", {
  defaultValue: () => makeUnsafe(() => new Worker(script, { env: quietly() })),
})
