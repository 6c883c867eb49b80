/**
 * What commands share that answer one question and end: the answer goes to standard output, as a table for eyes or as JSON,
 * everything else to standard error. A failure is one line that says what to do, and an exit code; never a stack trace.
 */
import { Console, Effect, Layer, Logger, References } from "effect"
import { Argument, Flag } from "effect/cli"
import { EngineConfigError } from "../engine/EngineConfig.ts"
import * as Main from "../engine/Main.ts"
import { printable } from "../files/Printable.ts"
import * as Logging from "./Logging.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"

/** What commands that answer about several are asked about. */
export const databases = Argument.String("db").pipe(
  Argument.withDescription("SQLite databases, and folders that hold some; must exist"),
  Argument.withMetavar("DB"),
  Argument.variadic({ min: 1 }),
)

/** The database that the question is about. */
export const database = Argument.String("db").pipe(
  Argument.withDescription("SQLite database; must exist"),
  Argument.withMetavar("DB"),
)

export const json = Flag.Boolean("json").pipe(Flag.withDescription("Print JSON"), Flag.withDefault(false))

/** Columns that stand below each other; one of numbers, and `-` for none, below its head to the right. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const shown = rows.map((row) => row.map(printable))
  const isNumber = (cell: string) => cell !== "" && Number.isFinite(Number(cell))
  const isOfNumbers = (cells: ReadonlyArray<string>) =>
    cells.every((cell) => cell === "-" || isNumber(cell)) && !cells.every((cell) => cell === "-")
  const columns = Array.from({ length: Math.max(0, ...rows.map((row) => row.length)) }, (_, column) => {
    const cells = shown.map((row) => row[column] ?? "")
    return { width: Math.max(...cells.map((cell) => cell.length)), isRight: isOfNumbers(cells.slice(1)) }
  })
  const fit = (cell: string, { isRight, width }: (typeof columns)[number]) =>
    isRight ? cell.padStart(width) : cell.padEnd(width)
  return shown
    .map((row) =>
      columns
        .map((column, index) => fit(row[index] ?? "", column))
        .join("  ")
        .trimEnd(),
    )
    .join("\n")
}

interface OneShotOptions {
  /** It may take long: on a terminal, lines at INFO say how far it is. */
  readonly progress?: boolean
}

/** Only what an operator must see, on standard error: warnings and errors. */
const logging = ({ progress = false }: OneShotOptions) =>
  Layer.provideMerge(
    Logger.layer([Logger.withConsoleError(Logging.logfmt)]),
    Layer.effect(
      References.MinimumLogLevel,
      Effect.map(References.MinimumLogLevel, (level) =>
        level === "Info" && !(progress && process.stderr.isTTY) ? "Warn" : level,
      ),
    ),
  )

/** A refused configuration has a line for each problem; every other line break comes from outside. */
const inLines = (error: Error) =>
  error instanceof EngineConfigError ? error.message.split("\n").map(printable).join("\n") : printable(error.message)

/** Says why there is no answer, and gives the exit code of that. */
export const refuse = (command: string, error: Error) =>
  Effect.as(Console.error(`seawall ${command}: ${inLines(error)}`), Main.exitCodeOf(error))

/** Runs the command to its exit code. A step of a close that failed is a failure, too. */
export const run = <E extends Error, R>(
  command: string,
  self: Effect.Effect<number, E, R>,
  options: OneShotOptions = {},
) =>
  Effect.gen(function* () {
    const shutdown = yield* Shutdown.Shutdown
    const code = yield* Effect.catch(self, (error) => refuse(command, error))
    const failures = yield* shutdown.failures
    if (failures.length > 0) yield* Console.error(`seawall ${command}: the close failed: ${failures.join(", ")}`)
    yield* Main.exitWith(failures.length > 0 ? Main.failed : code)
  }).pipe(Effect.provide(Layer.merge(logging(options), Shutdown.layer())))
