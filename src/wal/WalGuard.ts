/**
 * Keeps the WAL of the `Database` in the context short: a PASSIVE checkpoint every interval, a TRUNCATE at the end.
 *
 * While its loop runs, SQLite's own autocheckpoint is off, so that no commit pays for a checkpoint; it is restored when
 * the loop stops. Nothing starts without this layer, and an interval of zero or less means off: no loop, no line.
 * Closes as `GuardEnd` says; the Database below closes after that.
 * https://www.sqlite.org/wal.html#avoiding_excessively_large_wal_files
 */
import { Config, Context, Duration, Effect, Layer, Option, type Scope, Semaphore, Tracer } from "effect"
import type { SqlError } from "effect/sql"
import * as OptionError from "../options/OptionError.ts"
import * as Database from "../sqlite/Database.ts"
import { DatabaseControl } from "../sqlite/DatabaseControl.ts"
import { about } from "../sqlite/DatabaseName.ts"
import * as AutocheckpointLease from "./AutocheckpointLease.ts"
import type { Checkpoint } from "./Checkpoint.ts"
import * as Checkpointer from "./Checkpointer.ts"
import * as ForeignWriters from "./ForeignWriters.ts"
import * as GuardEnd from "./GuardEnd.ts"
import * as GuardLoop from "./GuardLoop.ts"
import * as GuardTick from "./GuardTick.ts"
import * as GuardedCheckpoint from "./GuardedCheckpoint.ts"
import * as LatencyWindow from "./LatencyWindow.ts"
import type { GuardStatus } from "./GuardStatus.ts"
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
  const watchers = [
    ...(maxFrames > 0 ? [WalBound.loop({ database, control, checkpointer, checkpoint, maxFrames })] : []),
    ...(writers === "elsewhere" || !control.seesCommits
      ? [ForeignWriters.watch({ database, control, checkpoint, maxFrames })]
      : []),
  ]
  const tick = yield* GuardTick.make({ checkpoint, checkpointer, control, writers })
  const end = yield* GuardEnd.make({ database, control, checkpoint, autocheckpoint, writers })
  const { isRunning, setInterval, start, interval } = yield* GuardLoop.make({
    database,
    autocheckpoint,
    tick,
    watchers,
    end,
    first,
  })

  yield* start
  // Nothing of what has the name now is checkpointed, truncated or counted.
  yield* Effect.forkScoped(Effect.andThen(database.replaced, lock.withPermit(setInterval(Duration.zero))))
  const named = about(database.filename)
  return {
    start: named(lock.withPermit(start)),
    setInterval: (input: Duration.Input) =>
      named(Effect.flatMap(intervalOf(input), (every) => lock.withPermit(setInterval(every)))),
    last: checkpoint.last,
    status: Effect.map(checkpoint.status, (it) => ({
      ...it,
      maxFrames,
      writers,
      interval: isRunning() ? interval() : Duration.zero,
    })),
  }
})
