/**
 * The life of the checkpoint thread: its start, its loss, and one start more.
 *
 * A thread that crashes, or cannot start, is started once more; after a second time there is none until all databases have
 * closed, and it says so. What is asked of it, and what comes of that, is `CheckpointThread`.
 */
import { Cause, Effect, Exit, Option, Ref, Scope, Semaphore } from "effect"
import type { Worker } from "node:worker_threads"
import type { OpenedFiles } from "../files/DatabaseFile.ts"
import { aboutAll } from "../sqlite/DatabaseName.ts"
import { open, type Thread } from "./ThreadClient.ts"

/** How often a thread is started: one respawn. */
const mostStarts = 2

/** A thread opens a connection to each of the files in `attached` when it has started. */
export const makeUnsafe = (spawnWorker: () => Worker, attached: Ref.Ref<ReadonlyArray<OpenedFiles>>) => {
  const oneStart = Semaphore.makeUnsafe(1)
  const starts = Ref.makeUnsafe(0)
  /** Counts all threads of this process, also those that ended. */
  const numbers = Ref.makeUnsafe(0)
  const thread = Ref.makeUnsafe(Option.none<Thread>())

  /** Whether there is a thread, or can be. */
  const exists = Effect.map(
    Effect.all([Ref.get(thread), Ref.get(starts)]),
    ([alive, started]) => Option.isSome(alive) || started < mostStarts,
  )

  /** Lets a thread that is lost go, without waiting for it, and says so: once, however many notice. */
  const lost = Effect.fnUntraced(function* (number: number, cause: unknown) {
    const gone = Option.filter(yield* Ref.get(thread), (it) => it.number === number)
    if (Option.isNone(gone)) return
    yield* Ref.set(thread, Option.none())
    yield* Effect.forkDetach(Scope.close(gone.value.scope, Exit.void))
    yield* Effect.annotateLogs(Effect.logError("checkpoint thread failed", Cause.fail(cause)), {
      next: (yield* exists) ? "the thread is started once more" : "checkpoints run inline until the program restarts",
    }).pipe(aboutAll)
  })

  const openConnections = Effect.fnUntraced(function* (number: number) {
    const running = Option.filter(yield* Ref.get(thread), (it) => it.number === number)
    if (Option.isNone(running)) return
    const { client } = running.value
    yield* Effect.forEach(yield* Ref.get(attached), (files) => Effect.ignore(client.Open(files)), {
      concurrency: "unbounded",
      discard: true,
    })
  })

  const start = Effect.gen(function* () {
    if (Option.isSome(yield* Ref.get(thread)) || (yield* Ref.get(starts)) >= mostStarts) return
    yield* Ref.update(starts, (n) => n + 1)
    const number = yield* Ref.updateAndGet(numbers, (n) => n + 1)
    const fork = Effect.runForkWith(yield* Effect.context())
    let worker: Worker | undefined
    let hasStarted = false
    const spawn = () => {
      worker = spawnWorker()
      // Its first message says that it has started; what was asked of it is sent from then on.
      worker.once("message", () => {
        hasStarted = true
        fork(openConnections(number))
      })
      // Noticed at once even when nothing was asked of it; after it was told to end there is nothing to lose.
      worker.once("exit", (code) => fork(lost(number, new Error(`the thread has ended with code ${code}`))))
      return worker
    }
    const opened = yield* open(number, spawn)
    const terminate = () => void worker?.terminate()
    yield* Ref.set(thread, Option.some({ ...opened, hasStarted: () => hasStarted, terminate }))
  }).pipe(oneStart.withPermit)

  return {
    exists,
    /** The thread, if there is one. */
    running: Ref.get(thread),
    start,
    lost,
    /** Lets the thread go to be ended by the caller; the next start is a first one again. */
    letGo: Effect.tap(Ref.getAndSet(thread, Option.none()), () => Ref.set(starts, 0)),
  }
}

export type ThreadLife = ReturnType<typeof makeUnsafe>
