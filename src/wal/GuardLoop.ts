/**
 * The loop of a guard: it starts with the lease of autocheckpoint, changes its interval between two ticks, stops at zero, and ends once, with
 * its scope. Two guards of one database never make two loops.
 */
import { Duration, Effect, Fiber, identity, Option, Ref, Schedule } from "effect"
import type * as Database from "../sqlite/Database.ts"
import type * as AutocheckpointLease from "./AutocheckpointLease.ts"
import * as GuardEnd from "./GuardEnd.ts"

/** What runs while the guard does: the interval, which can be changed, and what watches the WAL, which cannot. */
interface Running {
  readonly ticking: Fiber.Fiber<unknown>
  readonly watching: ReadonlyArray<Fiber.Fiber<unknown>>
}

/** Databases with a running guard: starting twice, through one guard or two, must not make two loops. */
const guarded = new WeakSet<object>()

const saysReadOnly = Effect.annotateLogs(Effect.logInfo("wal_checkpoint not started"), {
  reason: "the database was opened to be read alone",
})

interface GuardLoopOptions {
  readonly database: Database.Database["Service"]
  readonly autocheckpoint: Effect.Success<ReturnType<typeof AutocheckpointLease.make>>
  readonly tick: Effect.Effect<unknown>
  /** What watches the WAL as long as the loop runs. */
  readonly watchers: ReadonlyArray<Effect.Effect<unknown>>
  readonly end: Effect.Success<ReturnType<typeof GuardEnd.make>>
  readonly first: Duration.Duration
}

export const make = Effect.fnUntraced(function* (options: GuardLoopOptions) {
  const { autocheckpoint, database, end, first, tick, watchers } = options
  const interval = yield* Ref.make(first)
  const running = yield* Ref.make(Option.none<Running>())

  const startTicking = (every: Duration.Duration, after: Effect.Effect<unknown>) =>
    after.pipe(
      Effect.andThen(Effect.schedule(tick, Schedule.spaced(every))),
      Effect.forkDetach({ startImmediately: true }),
    )
  const startWatching = Effect.forEach(watchers, (loop) => Effect.forkDetach(loop, { startImmediately: true }))

  /** The layer closes, or has closed: what asks to start then would go on forever. */
  let isClosed = false

  const forget = Effect.suspend(() => {
    guarded.delete(database)
    return Ref.set(running, Option.none())
  })

  const stop = ({ ticking, watching }: Running) => Fiber.interruptAll([ticking, ...watching])

  const start = Effect.gen(function* () {
    const every = yield* Ref.get(interval)
    if (isClosed || Duration.isZero(every)) return
    if (database.readonly) {
      return yield* saysReadOnly
    }
    if (guarded.has(database)) return yield* Effect.logWarning("wal_checkpoint already started")
    guarded.add(database)
    yield* Effect.onError(autocheckpoint.take, () => forget)
    if (isClosed) return yield* Effect.ensuring(autocheckpoint.giveBack(identity), forget)
    const ticking = yield* startTicking(every, Effect.void)
    yield* Ref.set(running, Option.some({ ticking, watching: yield* startWatching }))
    yield* Effect.annotateLogs(Effect.logInfo("wal_checkpoint started"), {
      interval_seconds: Duration.toSeconds(every),
    })
  })

  const setInterval = Effect.fnUntraced(function* (every: Duration.Duration) {
    if (isClosed) return
    const current = yield* Ref.get(running)
    if (Option.isSome(current) && Duration.isZero(every)) {
      return yield* Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          yield* Effect.andThen(autocheckpoint.giveBack(restore), forget)
          yield* Ref.set(interval, every)
          yield* Effect.forkDetach(stop(current.value), { startImmediately: true })
          yield* Effect.logInfo("wal_checkpoint stopped")
        }),
      )
    }
    yield* Ref.set(interval, every)
    if (Option.isNone(current)) return yield* start
    const ticking = yield* startTicking(every, Fiber.interrupt(current.value.ticking))
    yield* Ref.set(running, Option.some({ ...current.value, ticking }))
    yield* Effect.annotateLogs(Effect.logInfo("wal_checkpoint interval changed"), {
      interval_seconds: Duration.toSeconds(every),
    })
  })

  yield* Effect.addFinalizer(() => {
    isClosed = true
    return Effect.flatMap(
      Ref.get(running),
      Option.match({
        onNone: () => Effect.void,
        onSome: (current) => end({ stop: stop(current), forget }),
      }),
    ).pipe(GuardEnd.contained)
  })

  return {
    start,
    setInterval,
    isRunning: () => Option.isSome(Ref.getUnsafe(running)),
    interval: () => Ref.getUnsafe(interval),
  }
})
