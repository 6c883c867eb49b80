/**
 * What commands share that run until somebody asks them to stop: signals, the one shutdown budget, the log with its status
 * line, and an exit code for every way of ending. A thread that cannot be stopped does not keep the process alive.
 */
import * as NodeStdio from "@effect/platform-node/NodeStdio"
import { type Cause, Effect, Layer, Option } from "effect"
import { constVoid } from "effect/Function"
import { Flag } from "effect/cli"
import { LiveLog } from "../dashboard/LiveLog.ts"
import { Halt } from "../engine/Halt.ts"
import * as Signals from "../engine/Signals.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import { ofSeawall } from "../sqlite/DatabaseName.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Logging from "./Logging.ts"
import * as OneShot from "./OneShot.ts"
import * as StatusLine from "./StatusLine.ts"

export const logFormat = Flag.Literals("log-format", Logging.logFormats).pipe(
  Flag.withDescription("Format of the log; default pretty on a terminal, logfmt elsewhere"),
  Flag.optional,
)

interface UntilHaltOptions<E, R> {
  readonly logFormat: Option.Option<Logging.LogFormat>
  /** How many databases the log is about; default 1. */
  readonly databases?: number
  /** Starts what is to run, in the scope that closes with the halt, and goes on for ever or fails. */
  readonly running: Effect.Effect<never, E, R>
  /** The exit code after a halt that closed in order, by the reason that was settled. */
  readonly exitCode: (reason: Option.Option<string>) => number
}

/** A request during start-up cuts the start short. */
const untilRequest = <E extends Error, R>(running: Effect.Effect<never, E, R>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const halt = yield* Halt
      yield* Effect.raceFirst(running, halt.awaitRequest)
    }),
  )

const toExitCode = Effect.fnUntraced(function* <E extends Error, R>({ exitCode, running }: UntilHaltOptions<E, R>) {
  const halt = yield* Halt
  const shutdown = yield* Shutdown.Shutdown
  const code = yield* untilRequest(running).pipe(
    Effect.andThen(halt.settled),
    Effect.map(exitCode),
    Effect.catch((error) =>
      Effect.as(
        Effect.annotateLogs(Effect.logError("start failed"), { error: error.message }),
        OneShot.exitCodeOf(error),
      ),
    ),
    Effect.catchCause((cause: Cause.Cause<never>) => Effect.as(Effect.logFatal("run failed", cause), ExitCode.failed)),
  )
  const leftBehind = yield* shutdown.leftBehind
  if (leftBehind.length > 0) {
    yield* Effect.annotateLogs(Effect.logFatal("hard end"), { still_running: leftBehind.join(", ") })
    // An orderly exit would wait for a thread that is inside SQLite, for as long as that takes.
    process.kill(process.pid, "SIGKILL")
  }
  const failures = yield* shutdown.failures
  if (failures.length === 0) return code
  yield* Effect.annotateLogs(Effect.logError("shutdown incomplete"), { steps: failures.join(", ") })
  return ExitCode.failed
})

/**
 * A terminal that has gone away fails every write, and what is said then is said to nobody: that must not end the process
 * before everything is closed. For good, because the last words come after every layer.
 */
const outliveTerminal = Effect.sync(() => {
  for (const stream of [process.stdout, process.stderr]) stream.on("error", constVoid)
})

/** Runs it to its exit code. */
export const run = Effect.fnUntraced(function* <E extends Error, R>(options: UntilHaltOptions<E, R>) {
  yield* outliveTerminal
  const terminal = process.stdout
  const format = Option.getOrElse(options.logFormat, () => (terminal.isTTY ? "pretty" : "logfmt"))
  const foundation = Signals.layer.pipe(
    Layer.provideMerge(Halt.layer),
    Layer.provideMerge(Shutdown.layer()),
    Layer.provideMerge(StatusLine.layer(terminal)),
    Layer.provideMerge(LiveLog.layer),
    Layer.provideMerge(
      Logging.layer(format, {
        colored: terminal.isTTY && terminal.hasColors(),
        databases: options.databases ?? 1,
      }),
    ),
    Layer.provideMerge(NodeStdio.layer),
  )
  yield* Effect.flatMap(Effect.provide(ofSeawall(toExitCode(options)), foundation), ExitCode.exitWith)
})
