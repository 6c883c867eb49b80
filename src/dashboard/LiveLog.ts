/**
 * The last lines of the log, kept in memory beside the loggers that print them, for the dashboard.
 *
 * Bounded three ways: so many lines, so many characters in all, and each text cut at a length. A line is numbered, so that
 * a reader asks for what came after the last one it has; what it missed by then is gone, and it can tell.
 */
import { Cause, Context, Effect, Layer, Logger, References, Result } from "effect"
import { logger as seawall } from "../sqlite/DatabaseName.ts"

/** One line of log; what is longer than the bound of its kind is cut. */
export interface LogLine {
  /** Counts up from 1. */
  readonly number: number
  /** In milliseconds since 1970. */
  readonly at_ms: number
  /** In capitals: `INFO`, `WARN`, ... */
  readonly level: string
  /** The message. */
  readonly event: string
  /** The annotations, as text. */
  readonly fields: ReadonlyArray<readonly [name: string, value: string]>
  /** The cause of a failure; empty without one. */
  readonly cause: string
}

/** Half an hour of a quiet session, some seconds of a bad one. */
export const mostLines = 500

/** 256 Ki: what a page is sent at once when it connects. */
const mostCharacters = 256 * 1024

/** Longest text of an event, a field and a cause; and how many fields a line can have. */
const longest = { event: 200, field: 500, cause: 4000, fields: 32 } as const

/** The log that a `Dashboard` shows. */
export class LiveLog extends Context.Service<
  LiveLog,
  {
    /** The number of the last line; 0 before the first. */
    readonly last: () => number
    /** The lines after this number that are still there, oldest first. */
    readonly after: (number: number) => ReadonlyArray<LogLine>
  }
>()("seawall/dashboard/LiveLog") {}

/** Listens beside the loggers in force below this layer, which go on as before. */
export const layer = Layer.unwrap(
  Effect.sync(() => {
    const { logger, service } = make()
    return Layer.merge(Logger.layer([logger], { mergeWithExisting: true }), Layer.succeed(LiveLog, service))
  }),
)

const cut = (text: string, length: number) => (text.length > length ? `${text.slice(0, length - 1)}…` : text)

/** A logger must not fail its caller, and some values cannot be written as JSON. */
const textOf = (value: unknown): string =>
  typeof value === "string"
    ? value
    : Result.getOrElse(
        Result.try(() => (typeof value === "object" ? JSON.stringify(value) : String(value))),
        () => "(not printable)",
      )

const sizeOf = ({ cause, event, fields }: LogLine) =>
  fields.reduce((sum, [name, value]) => sum + name.length + value.length, event.length + cause.length)

const make = () => {
  let lines: ReadonlyArray<LogLine> = []
  let characters = 0
  let last = 0

  const append = (line: LogLine) => {
    const all = [...lines, line]
    characters += sizeOf(line)
    let dropped = 0
    while (all.length - dropped > mostLines || (characters > mostCharacters && all.length - dropped > 1)) {
      characters -= sizeOf(all[dropped]!)
      dropped++
    }
    lines = dropped === 0 ? all : all.slice(dropped)
  }

  const logger = Logger.make<unknown, void>(({ cause, date, fiber, logLevel, message }) => {
    const annotations = Object.entries(fiber.getRef(References.CurrentLogAnnotations))
      .filter(([name, value]) => name !== "logger" || value !== seawall)
      .slice(0, longest.fields)
    append({
      number: ++last,
      at_ms: date.getTime(),
      level: logLevel.toUpperCase(),
      event: cut((Array.isArray(message) ? message : [message]).map(textOf).join(" "), longest.event),
      fields: annotations.map(([name, value]) => [cut(name, longest.event), cut(textOf(value), longest.field)]),
      cause: cause.reasons.length === 0 ? "" : cut(Cause.pretty(cause), longest.cause),
    })
  })

  return {
    logger,
    service: LiveLog.of({
      last: () => last,
      after: (number) => (number >= last ? [] : lines.filter((line) => line.number > number)),
    }),
  }
}
