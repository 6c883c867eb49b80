/**
 * The main program of an engine, or of anything else that runs until it is asked to stop: signals, the one shutdown budget, an
 * exit code forevery way of ending, and as the last line a summary of the session. A thread that cannot be stopped does
 * not keep the process alive.
 *
 * Node's own runner interrupts the main fiber on SIGINT and SIGTERM. A session must end by its own request to halt, so
 * here a signal interrupts only while nothing else listens to it. Standard input may still be open at the end (a feed),
 * hence the explicit exit.
 */
import { type Cause, Deferred, Duration, Effect, Layer, Option, References, Runtime, Schema, type Scope } from "effect"
import { constVoid } from "effect/Function"
import * as Shutdown from "../shutdown/Shutdown.ts"
import { ofSeawall } from "../sqlite/DatabaseName.ts"
import * as Halt from "./Halt.ts"
import * as HaltReason from "./HaltReason.ts"
import * as Signals from "./Signals.ts"

/** What an error without a code of its own, and a step of the close that failed, end the process with. */
export const failed = 1

/** The code that an error carries (`Runtime.errorExitCode`), or 1. */
export const exitCodeOf = (error: unknown): number =>
  error instanceof Error && Runtime.errorExitCode in error ? Number(error[Runtime.errorExitCode]) : failed

/** Ends the process with a code, once everything there is to say was said. */
export class ExitWith extends Schema.TaggedError<ExitWith>()("ExitWith", { code: Schema.Int }) {
  override readonly [Runtime.errorExitCode] = this.code
  override readonly [Runtime.errorReported] = false
}

/** Succeeds for 0. */
export const exitWith = (code: number): Effect.Effect<void, ExitWith> =>
  code === 0 ? Effect.void : Effect.fail(new ExitWith({ code }))

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

/** For what stands on top of a session whose first tick already asks to halt. */
const startBound = "5 seconds"

/**
 * Runs an endless effect in a scope that closes with the halt, and gives the exit code of that end: of the reason that the
 * session was closed with; 0 of what has no session. A request during start-up cuts the start short, but for that of a
 * tick, whose session runs: it waits a while for `started`.
 */
export const untilHalt = <E, R>(running: Effect.Effect<never, E, R>, started: Effect.Effect<unknown> = Effect.void) =>
  Effect.flatMap(References.CurrentLogAnnotations, (own) =>
    Effect.gen(function* () {
      const halt = yield* Halt.Halt
      const shutdown = yield* Shutdown.Shutdown
      const byReason = Effect.gen(function* () {
        return Option.match(yield* halt.settled, {
          onNone: () => 0,
          onSome: HaltReason.exitCodeOf(yield* halt.reasons),
        })
      })
      const asked = Effect.tap(halt.awaitRequest, ({ reason }) =>
        Option.isNone(reason) ? Effect.timeoutOption(started, startBound) : Effect.void,
      )
      const asCaller = Effect.provideService(running, References.CurrentLogAnnotations, own)
      /** A session that is followed by another, until one is not, or the process is asked to end. */
      const sessions: Effect.Effect<number, E, Exclude<R, Scope.Scope>> = Effect.gen(function* () {
        yield* Effect.scoped(Effect.raceFirst(asCaller, asked))
        if (!Option.exists(yield* halt.requested, ({ again = false }) => again)) return yield* byReason
        const meanwhile = Option.flatMap(yield* halt.ofProcess, ({ reason }) => reason)
        if (Option.isSome(meanwhile)) return HaltReason.exitCodeOf()(meanwhile.value)
        yield* Effect.logInfo("session given up")
        yield* halt.renew
        yield* shutdown.renew
        return yield* sessions
      })
      const code = yield* sessions.pipe(
        Effect.catch((error: E) =>
          Effect.as(
            Effect.annotateLogs(Effect.logError("start failed"), { error: messageOf(error) }),
            exitCodeOf(error),
          ),
        ),
        Effect.catchCause((cause: Cause.Cause<never>) => Effect.as(Effect.logFatal("run failed", cause), failed)),
      )
      const leftBehind = yield* shutdown.leftBehind
      const failures = yield* shutdown.failures
      if (failures.length > 0) {
        yield* Effect.annotateLogs(Effect.logError("shutdown incomplete"), { steps: failures.join(", ") })
      }
      const exitCode = leftBehind.length > 0 ? 137 : failures.length > 0 ? failed : code
      if (leftBehind.length > 0) {
        yield* Effect.annotateLogs(Effect.logFatal("forced exit"), { still_running: leftBehind.join(", ") })
      }
      const settled = yield* halt.settled
      if (Option.isSome(settled)) {
        yield* Effect.annotateLogs(Effect.logInfo("session ended"), {
          halt_reason: settled.value,
          ...(yield* shutdown.notes),
          shutdown_ms: Math.round(Duration.toMillis(yield* shutdown.elapsed)),
          exit_code: exitCode,
        })
      }
      // An orderly exit would wait for a thread that is inside SQLite, for as long as that takes.
      if (leftBehind.length > 0) process.kill(process.pid, "SIGKILL")
      return exitCode
    }).pipe(ofSeawall),
  )

/**
 * A terminal that has gone away fails every write, and what is said then is said to no one: that must not end the process
 * before everything is closed. For good, because the last words come after every layer.
 */
export const outliveTerminal = Effect.sync(() => {
  for (const stream of [process.stdout, process.stderr]) stream.on("error", constVoid)
})

const run = Runtime.makeRunMain(({ fiber, teardown }) => {
  fiber.addObserver((exit) => teardown(exit, (code) => process.exit(code)))
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (process.listenerCount(signal) === 1) fiber.interruptUnsafe(fiber.id)
    })
  }
})

/** Runs an effect as the main program. The yield lets the listeners be there before the first synchronous piece of work starts. */
export const runEffect = <A, E>(main: Effect.Effect<A, E>): void => run(Effect.andThen(Effect.yieldNow, main))

/** What runs, and how long its end may take. */
export interface MainOptions<A, E> {
  /** Such as `Session.layer`, with whatever stands on top of it. */
  readonly session: Layer.Layer<A, E, Halt.Halt>
  /** For all closing steps together; default 10 s, `Shutdown.defaultBudget`. */
  readonly budget?: Duration.Input
}

/** Builds the session, waits until it is asked to halt, closes it, and ends the process. For the last line of a program. */
export const runMain = <A, E>({ budget, session }: MainOptions<A, E>): void => {
  const foundation = Signals.layer.pipe(Layer.provideMerge(Halt.layer), Layer.provideMerge(Shutdown.layer({ budget })))
  const main = Effect.gen(function* () {
    yield* outliveTerminal
    const started = yield* Deferred.make<void>()
    const running = Layer.build(session).pipe(
      Effect.andThen(Deferred.succeed(started, undefined)),
      Effect.andThen(Effect.never),
    )
    yield* exitWith(yield* Effect.provide(untilHalt(running, Deferred.await(started)), foundation))
  })
  runEffect(main)
}
