/**
 * What commands share that run until they are asked to stop (`engine/Main`): the log with its format, the status line, and what
 * a dashboard shows of the log.
 */
import * as NodeStdio from "@effect/platform-node/NodeStdio"
import { Effect, Layer, Option } from "effect"
import { Flag } from "effect/cli"
import * as LiveLog from "../dashboard/LiveLog.ts"
import * as Halt from "../engine/Halt.ts"
import * as Main from "../engine/Main.ts"
import * as Signals from "../engine/Signals.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import { ofSeawall } from "../sqlite/DatabaseName.ts"
import * as Logging from "./Logging.ts"
import * as StatusLine from "./StatusLine.ts"

export const logFormat = Flag.Literals("log-format", Logging.logFormats).pipe(
  Flag.withDescription("Format of the log; default pretty on a terminal, logfmt elsewhere"),
  Flag.optional,
)

interface LongRunningOptions<E, R> {
  readonly logFormat: Option.Option<Logging.LogFormat>
  /** How many databases the log is about; default 1. */
  readonly databases?: number
  /** Whether another line sums up what went well, so that each checkpoint by interval is a line of DEBUG. Default no. */
  readonly isSummedUp?: boolean
  /** Starts what is to run, in the scope that closes with the halt, and goes on forever or fails. */
  readonly running: Effect.Effect<never, E, R>
}

/** Runs it to its exit code. */
export const run = Effect.fnUntraced(function* <E extends Error, R>(options: LongRunningOptions<E, R>) {
  yield* Main.outliveTerminal
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
        isSummedUp: options.isSummedUp ?? false,
      }),
    ),
    Layer.provideMerge(NodeStdio.layer),
  )
  yield* Effect.flatMap(Effect.provide(Main.untilHalt(ofSeawall(options.running)), foundation), Main.exitWith)
})
