/**
 * The one time budget that all closing steps of a program share, and the record of how each of them ended.
 *
 * A step is attempted whatever happened to the steps before it. It gets what is left of the budget, says how it ended,
 * and never fails: a failure is an ERROR with its cause, and is kept, so that the exit code can show it.
 * What this does not do: cut a native call. A statement inside SQLite on this thread runs to its end.
 */
import { Cause, Clock, Config, Context, Duration, Effect, Exit, Fiber, Layer, Option, Ref } from "effect"
import * as OptionError from "../options/OptionError.ts"

/** How a step ended: `overdue` steps were interrupted at their bound and may still be running. */
export type StepEnd = "done" | "failed" | "overdue"

/** The budget, and the record of what did not succeed in it. */
export interface ShutdownService {
  /**
   * Starts this budget, or shortens the one that runs already to it; none is ever extended. Without one it starts that of
   * the layer when none runs yet, as the first step does. An infinite one has no deadline.
   */
  readonly begin: (budget?: Duration.Input) => Effect.Effect<void>
  /** The rest of the budget, never negative; infinite when the budget is. */
  readonly remaining: Effect.Effect<Duration.Duration>
  /** The part of the budget that is left: 1 before it has started and of an infinite one, 0 when it is over. */
  readonly remainingPart: Effect.Effect<number>
  /** Records that a closing step did not succeed. */
  readonly recordFailure: (step: string) => Effect.Effect<void>
  /** Records what cannot be stopped and still runs: a thread inside SQLite, for which an orderly exit would wait. */
  readonly leaveBehind: (what: string) => Effect.Effect<void>
  /** The steps that did not end. An orderly end of the process may wait for them without a bound. */
  readonly leftBehind: Effect.Effect<ReadonlyArray<string>>
  /** The steps that failed or were overdue, in the order in which they ended. */
  readonly failures: Effect.Effect<ReadonlyArray<string>>
  /** Adds to what the last line of a program says of its end (`notes`). */
  readonly note: (fields: Readonly<Record<string, unknown>>) => Effect.Effect<void>
  /** The notes, in the order in which their names first appeared. */
  readonly notes: Effect.Effect<Readonly<Record<string, unknown>>>
  /** How long the end has taken so far; zero before its first step. */
  readonly elapsed: Effect.Effect<Duration.Duration>
  /** A whole budget and an empty record again, when what has closed is followed by another of its kind. Steps that did not end stay. */
  readonly renew: Effect.Effect<void>
}

/** 10 s: what `docker stop` grants between SIGTERM and SIGKILL. */
export const defaultBudget = Duration.seconds(10)

/** 4 s: Windows kills a process about 5 s after its console window was closed, which Node reports as SIGHUP. */
export const hangupBudget = Duration.seconds(4)

/** A budget that runs. */
interface Running {
  readonly whole: Duration.Duration
  /** When the first budget began, on the monotonic clock. */
  readonly since: bigint
  /** On the monotonic clock; none when it is infinite. */
  readonly deadline: Option.Option<bigint>
}

const isEarlier = (one: Running["deadline"], other: Running["deadline"]) =>
  Option.isSome(one) && (Option.isNone(other) || one.value < other.value)

const make = (budget: Duration.Duration): Effect.Effect<ShutdownService> =>
  Effect.gen(function* () {
    const running = yield* Ref.make(Option.none<Running>())
    const failures = yield* Ref.make<ReadonlyArray<string>>([])
    const leftBehind = yield* Ref.make<ReadonlyArray<string>>([])
    const notes = yield* Ref.make<Readonly<Record<string, unknown>>>({})

    const begin = (input?: Duration.Input) =>
      Effect.gen(function* () {
        const current = yield* Ref.get(running)
        if (input === undefined && Option.isSome(current)) return
        const whole = input === undefined ? budget : Duration.fromInputUnsafe(input)
        const now = yield* Clock.monotonicTimeNanos
        const deadline = Option.map(Duration.toNanos(whole), (nanos) => now + nanos)
        if (Option.isSome(current) && !isEarlier(deadline, current.value.deadline)) return
        yield* Ref.set(
          running,
          Option.some({ whole, deadline, since: Option.isSome(current) ? current.value.since : now }),
        )
      })

    const left = Effect.fnUntraced(function* ({ deadline }: Running) {
      if (Option.isNone(deadline)) return Duration.infinity
      const nanos = deadline.value - (yield* Clock.monotonicTimeNanos)
      return Duration.nanos(nanos > 0n ? nanos : 0n)
    })

    return {
      begin,
      remaining: Effect.flatMap(Ref.get(running), Option.match({ onNone: () => Effect.succeed(budget), onSome: left })),
      remainingPart: Effect.gen(function* () {
        const current = yield* Ref.get(running)
        if (Option.isNone(current) || Option.isNone(current.value.deadline)) return 1
        const millis = Duration.toMillis(current.value.whole)
        return millis === 0 ? 0 : Duration.toMillis(yield* left(current.value)) / millis
      }),
      recordFailure: (step) => Ref.update(failures, (all) => [...all, step]),
      failures: Ref.get(failures),
      leaveBehind: (what) => Ref.update(leftBehind, (all) => [...all, what]),
      leftBehind: Ref.get(leftBehind),
      note: (fields) => Ref.update(notes, (before) => ({ ...before, ...fields })),
      notes: Ref.get(notes),
      elapsed: Effect.map(Effect.all([Ref.get(running), Clock.monotonicTimeNanos]), ([current, now]) =>
        Option.match(current, { onNone: () => Duration.zero, onSome: ({ since }) => Duration.nanos(now - since) }),
      ),
      renew: Effect.all([Ref.set(running, Option.none()), Ref.set(failures, []), Ref.set(notes, {})], {
        discard: true,
      }),
    }
  })

/**
 * The budget in force. Without the layer each step has the default budget for itself and nothing is recorded, so that
 * a program which only adds one layer of Seawall needs to know nothing of it.
 */
export const Shutdown = Context.Reference<ShutdownService>("seawall/shutdown/Shutdown", {
  defaultValue: () => ({
    begin: () => Effect.void,
    remaining: Effect.succeed(defaultBudget),
    remainingPart: Effect.succeed(1),
    recordFailure: () => Effect.void,
    failures: Effect.succeed([]),
    leaveBehind: () => Effect.void,
    leftBehind: Effect.succeed([]),
    note: () => Effect.void,
    notes: Effect.succeed({}),
    elapsed: Effect.succeed(Duration.zero),
    renew: Effect.void,
  }),
})

/** How long a shutdown may take. */
export interface ShutdownOptions {
  /** For all steps together; default 10 s (`defaultBudget`), infinite = each step is waited for as long as it takes. */
  readonly budget?: Duration.Input | undefined
}

/**
 * One budget forevery step that closes above this layer. It runs from the first step,
 * or from `begin`.
 */
export const layer: {
  (options: ShutdownOptions): Layer.Layer<never, OptionError.OptionError>
  (): Layer.Layer<never>
} = ({ budget = defaultBudget }: ShutdownOptions = {}) =>
  Layer.effect(Shutdown, Effect.flatMap(OptionError.time("budget", budget), make)) as Layer.Layer<never>

/** The same with options from the configuration: `layerConfig({ budget: Config.Duration("SHUTDOWN_BUDGET") })`. */
export const layerConfig = (
  options: Config.Wrap<ShutdownOptions>,
): Layer.Layer<never, OptionError.OptionError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layer))

/**
 * The end of every finalizer: nothing escapes it. What fails or dies there is an ERROR with its cause, and is recorded like a
 * step that failed, so that the exit code shows it.
 */
export const contained =
  (name: string) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<void, never, R> =>
    Effect.catchCause(Effect.asVoid(self), (cause) =>
      Effect.andThen(
        Effect.logError(`${name} failed`, cause),
        Effect.flatMap(Shutdown, (shutdown) => shutdown.recordFailure(name)),
      ),
    )

/**
 * Runs one closing step: bounded by what is left of the budget and by `atMost`, logged, and recorded if it did not
 * succeed. The step runs in a fiber of its own, so that even one that cannot be interrupted does not hold its
 * successors past the bound; it is then asked to stop and left behind.
 */
export const step = Effect.fnUntraced(function* <A, E, R>(
  name: string,
  self: Effect.Effect<A, E, R>,
  options?: { readonly atMost?: Duration.Input },
): Effect.fn.Return<StepEnd, never, R> {
  const shutdown = yield* Shutdown
  yield* shutdown.begin()
  const left = yield* shutdown.remaining
  const bound = options?.atMost === undefined ? left : Duration.min(left, Duration.fromInputUnsafe(options.atMost))
  const start = yield* Clock.monotonicTimeNanos

  const fiber = yield* Effect.interruptible(self).pipe(Effect.exit, Effect.forkDetach({ startImmediately: true }))
  const exit = yield* Fiber.join(fiber).pipe(Effect.timeoutOption(bound))
  const elapsed_ms = Number((yield* Clock.monotonicTimeNanos) - start) / 1e6

  const [end, report] = Option.match(exit, {
    onNone: () => ["overdue", Effect.logError("shutdown step overdue")] as const,
    onSome: Exit.match({
      onSuccess: () => ["done", Effect.logDebug("shutdown step")] as const,
      onFailure: (cause: Cause.Cause<E>) => ["failed", Effect.logError("shutdown step failed", cause)] as const,
    }),
  })
  if (end === "overdue") yield* Effect.forkDetach(Fiber.interrupt(fiber))
  if (end !== "done") yield* shutdown.recordFailure(name)
  yield* Effect.annotateLogs(report, { step: name, elapsed_ms })
  return end
})
