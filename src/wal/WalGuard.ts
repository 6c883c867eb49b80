/**
 * Keeps the WAL of the `Database` in the context short: a PASSIVE checkpoint every interval, a TRUNCATE at the end.
 *
 * While its loop runs, SQLite's own autocheckpoint is off, so that no commit pays for a checkpoint; it is restored when
 * the loop stops. Nothing starts without this layer, and an interval of zero or less means off: no loop, no line.
 * Closes as `GuardEnd` says; the Database below closes after that.
 * https://www.sqlite.org/wal.html#avoiding_excessively_large_wal_files
 */
import {
  Config,
  Context,
  Duration,
  Effect,
  Fiber,
  identity,
  Layer,
  Option,
  Ref,
  Schedule,
  type Scope,
  Semaphore,
  Tracer,
} from "effect"
import type { SqlError } from "effect/sql"
import * as OptionError from "../options/OptionError.ts"
import * as Database from "../sqlite/Database.ts"
import { DatabaseControl } from "../sqlite/DatabaseControl.ts"
import { about } from "../sqlite/DatabaseName.ts"
import * as AutocheckpointLease from "./AutocheckpointLease.ts"
import type { Checkpoint, CheckpointMode } from "./Checkpoint.ts"
import * as Checkpointer from "./Checkpointer.ts"
import * as ForeignWriters from "./ForeignWriters.ts"
import * as GuardEnd from "./GuardEnd.ts"
import * as GuardedCheckpoint from "./GuardedCheckpoint.ts"
import * as LatencyWindow from "./LatencyWindow.ts"
import type { GuardStatus } from "./GuardStatus.ts"
import * as OvergrownFile from "./OvergrownFile.ts"
import * as WalBound from "./WalBound.ts"

export type { Incident, SeenHolder } from "./BlockedWatch.ts"
export type { FinishedCheckpoint } from "./GuardStatus.ts"
export type { GuardStatus }

/** 60 s: at 10 commits a second that is a WAL of a few megabytes, and a checkpoint of a few milliseconds. */
export const defaultInterval = Duration.seconds(60)

/** When the WAL is checkpointed, and whom that may hold back; everything has a default. */
export interface WalGuardOptions {
  /** Time from the end of one checkpoint to the start of the next; default 60 s, zero or less = off, at least 1 ms. */
  readonly interval?: Duration.Input | undefined
  /**
   * The length of the WAL, in frames, that the guard holds beside its interval; default 4000, 0 = off. With a
   * checkpointer on a thread writers wait for a few milliseconds at most; an inline one stops the event loop for about
   * 50 ms per 4000 frames. Nothing can hold it while a reader pins the WAL.
   */
  readonly maxFrames?: number | undefined
  /**
   * The writers. `here` (default): this program, through the `Database`. `elsewhere`: other processes, which nothing here
   * can hold back: the WAL of one that leaves gaps is bounded, that of one that never pauses is not, and the guard says
   * so. At the end, TRUNCATE then runs only when no other process has the database open. Their commits may be synced, which
   * cannot be seen from outside, so no exposure is claimed.
   */
  readonly writers?: "here" | "elsewhere" | undefined
}

/** The guard of one database: its loop runs for the life of the layer, or until it is set to zero. */
export class WalGuard extends Context.Service<
  WalGuard,
  {
    /** Starts the loop. The layer has done so already; a second start warns and changes nothing. */
    readonly start: Effect.Effect<void, SqlError.SqlError>
    /** Changes the interval of a running guard: the next checkpoint comes one new interval from now. Zero or less stops it. */
    readonly setInterval: (interval: Duration.Input) => Effect.Effect<void, SqlError.SqlError | OptionError.OptionError>
    /** The last checkpoint that ended, if there was one. */
    readonly last: Effect.Effect<Option.Option<Checkpoint>>
    /** What the guard knows right now; asks nothing of SQLite. */
    readonly status: Effect.Effect<GuardStatus>
  }
>()("seawall/wal/WalGuard") {}

/** What a guard stands on. */
type Required = Database.Database | DatabaseControl | Checkpointer.Checkpointer

/** Starts the loop, which runs until the scope closes or it is set to zero. */
export const make = (
  options: WalGuardOptions = {},
): Effect.Effect<
  WalGuard["Service"],
  SqlError.SqlError | OptionError.OptionError,
  Required | LatencyWindow.LatencyWindow | Scope.Scope
> => Effect.flatMap(Database.Database, ({ filename }) => about(filename)(asRoot(guardOf(options))))

/**
 * Starts the loop with the layer, with a latency window of its own. Fails when SQLite refuses to turn its autocheckpoint off, and with an option that makes no sense.
 */
export const layer = (
  options: WalGuardOptions = {},
): Layer.Layer<WalGuard | LatencyWindow.LatencyWindow, SqlError.SqlError | OptionError.OptionError, Required> =>
  Layer.provideMerge(layerWith(options), LatencyWindow.layer())

/** The same with the latency window in the context, for one that is shared, or kept. */
export const layerWith = (
  options: WalGuardOptions = {},
): Layer.Layer<WalGuard, SqlError.SqlError | OptionError.OptionError, Required | LatencyWindow.LatencyWindow> =>
  Layer.effect(WalGuard, make(options))

/** `layer` with options from the configuration: `layerConfig({ interval: Config.Duration("WAL_INTERVAL") })`. */
export const layerConfig = (
  options: Config.Wrap<WalGuardOptions>,
): Layer.Layer<
  WalGuard | LatencyWindow.LatencyWindow,
  SqlError.SqlError | OptionError.OptionError | Config.ConfigError,
  Required
> => Layer.unwrap(Effect.map(Config.unwrap(options), layer))

/** A checkpoint of the guard is a trace of its own: what started the guard has ended long before. */
const asRoot = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.updateContext(
    self,
    (context: Context.Context<R>) => Context.omit(Tracer.ParentSpan)(context) as typeof context,
  )

/** What runs while the guard does: the interval, which can be changed, and what watches the WAL, which cannot. */
interface Running {
  readonly ticking: Fiber.Fiber<unknown>
  readonly watching: ReadonlyArray<Fiber.Fiber<unknown>>
}

/** Databases with a running guard: starting twice, through one guard or two, must not make two loops. */
const guarded = new WeakSet<object>()

/** Negative is off; so is a time without an end. */
const intervalOf = (input: Duration.Input) =>
  Effect.map(OptionError.interval("interval", input), (it) => (Duration.isFinite(it) ? it : Duration.zero))

const guardOf = Effect.fnUntraced(function* (options: WalGuardOptions) {
  const database = yield* Database.Database
  const control = yield* DatabaseControl
  const checkpointer = yield* Checkpointer.Checkpointer
  const { writers = "here" } = options
  const maxFrames = yield* OptionError.count("maxFrames", options.maxFrames ?? WalBound.defaultMaxFrames)
  const first = yield* intervalOf(options.interval ?? defaultInterval)
  const autocheckpoint = yield* AutocheckpointLease.make(control)
  const checkpoint = yield* GuardedCheckpoint.make(
    autocheckpoint,
    // At FULL every commit of a program is on disk, and from outside its level cannot be seen.
    writers === "here" ? Effect.asSome(database.exposure.seconds) : Effect.succeedNone,
  )
  const lock = yield* Semaphore.make(1)
  const interval = yield* Ref.make(first)
  const running = yield* Ref.make(Option.none<Running>())

  const passive = checkpoint.run("PASSIVE", "interval")
  const gated = Effect.fnUntraced(function* (mode: CheckpointMode) {
    // Inline it has the connection to itself anyway, and would wait under the gate for its keeper.
    return (yield* checkpointer.concurrent)
      ? yield* checkpoint.runGated(mode, "interval")
      : Option.some(yield* checkpoint.run(mode, "interval"))
  })
  const overgrown = yield* OvergrownFile.make(control)
  const cut = Effect.gen(function* () {
    return writers === "here" && (yield* overgrown) ? yield* gated("TRUNCATE") : Option.none()
  })
  /** After a sync of the WAL failed, only a copy of all of it is trusted, made while no write runs. */
  const recovering = Effect.fnUntraced(function* (resume: Effect.Effect<void>) {
    const done = yield* gated("PASSIVE")
    if (Option.isNone(done) || done.value.outcome !== "Complete") return
    yield* Effect.andThen(control.syncFile, resume)
    yield* Effect.logWarning("database takes writes again")
  })
  const tick = checkpoint.lookForOthers.pipe(
    Effect.andThen(control.resume),
    Effect.flatMap(Option.match({ onNone: () => passive, onSome: recovering })),
    Effect.andThen(cut),
    Effect.catchCause(checkpoint.failed),
    Effect.uninterruptible, // the loop ends between two checkpoints, never with one in flight
    checkpoint.withTurn, // but waiting for its turn it ends at once
  )

  const startTicking = (every: Duration.Duration, after: Effect.Effect<unknown>) =>
    after.pipe(
      Effect.andThen(Effect.schedule(tick, Schedule.spaced(every))),
      Effect.forkDetach({ startImmediately: true }),
    )
  const watchers = [
    ...(maxFrames > 0 ? [WalBound.loop({ database, control, checkpointer, checkpoint, maxFrames })] : []),
    ...(writers === "elsewhere" || !control.seesCommits
      ? [ForeignWriters.watch({ database, control, checkpoint, maxFrames })]
      : []),
  ]
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
      return yield* Effect.annotateLogs(Effect.logInfo("wal_checkpoint not started"), {
        reason: "the database was opened to be read alone",
      })
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

  const setInterval = Effect.fnUntraced(function* (input: Duration.Input) {
    if (isClosed) return
    const every = yield* intervalOf(input)
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

  const end = yield* GuardEnd.make({ database, control, checkpoint, autocheckpoint, writers })
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

  yield* start
  // Nothing of what has the name now is checkpointed, truncated or counted.
  yield* Effect.forkScoped(Effect.andThen(database.replaced, lock.withPermit(setInterval(Duration.zero))))
  const named = about(database.filename)
  return {
    start: named(lock.withPermit(start)),
    setInterval: (input: Duration.Input) => named(lock.withPermit(setInterval(input))),
    last: checkpoint.last,
    status: Effect.map(checkpoint.status, (it) => ({
      ...it,
      maxFrames,
      writers,
      interval: Option.isSome(Ref.getUnsafe(running)) ? Ref.getUnsafe(interval) : Duration.zero,
    })),
  }
})
