/** The three formats of the log. Events and annotations are the same in each; only the spelling differs. */
import { Cause, type Layer, Logger, LogLevel, References } from "effect"
import { escaped, printable } from "../files/Printable.ts"
import { logger as seawall } from "../sqlite/DatabaseName.ts"

export const logFormats = ["pretty", "logfmt", "json"] as const
export type LogFormat = (typeof logFormats)[number]

const colors: Readonly<Record<string, string>> = {
  Fatal: "\x1b[41;97m",
  Error: "\x1b[31m",
  Warn: "\x1b[33m",
  Info: "\x1b[32m",
  Debug: "\x1b[34m",
}

const isMeasured = (name: string) => /_(?:ms|seconds|percent)$/.test(name)

/** Three digits of a measured value are all that an eye compares. */
const roundForEyes = (name: string, value: number) => {
  if (!isMeasured(name)) return rounded(name, value)
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3))
}

/** Microseconds: what is below is noise of a clock. */
const rounded = (name: string, value: unknown) => {
  if (typeof value !== "number" || Number.isInteger(value) || !Number.isFinite(value)) return value
  return Number(value.toFixed(name.endsWith("_ms") ? 3 : 6))
}

/** The lines of a refused configuration, one a problem. Everything else that has line breaks comes from outside. */
const isOfConfiguration = (text: string) => /^the configuration in [^\n]+ was refused:\n/.test(text)

/** What continues a line never begins as one. */
const indented = (text: string) => text.split("\n").map(printable).join("\n  ")

const word = (name: string, value: unknown) => {
  if (typeof value === "number") return String(roundForEyes(name, value))
  if (typeof value !== "string") return escaped(JSON.stringify(value) ?? String(value))
  if (isOfConfiguration(value)) return indented(value)
  return value === "" || /[\s"=\p{Cc}]/u.test(value) ? escaped(JSON.stringify(value)) : escaped(value)
}

interface LoggingOptions {
  readonly colored: boolean
  /** How many databases the lines may be about: of the only one it is not said to eyes which it is. Default 1. */
  readonly databases?: number
  /** Whether a checkpoint by interval that went well is a line at INFO only where DEBUG is shown, too. Default no. */
  readonly isSummedUp?: boolean
}

/** One line a database and interval would hide what matters. */
const withoutRoutine = <A>(logger: Logger.Logger<unknown, A>): Logger.Logger<unknown, A | undefined> =>
  Logger.make((options) => {
    const isRoutine = options.logLevel === "Info" && [options.message].flat()[0] === "wal_checkpoint"
    const isShown = LogLevel.isLessThanOrEqualTo(options.fiber.getRef(References.MinimumLogLevel), "Debug")
    return isRoutine && !isShown ? undefined : logger.log(options)
  })

/** One line an event, made for eyes; the cause of a failure below it. What each line would say alike is left out. */
const pretty = ({ colored, databases = 1 }: LoggingOptions) =>
  Logger.make<unknown, string>(({ cause, date, fiber, logLevel, message }) => {
    const paint = (color: string, text: string) => (colored ? `${color}${text}\x1b[0m` : text)
    const words = (Array.isArray(message) ? message : [message]).map(String).join(" ")
    const annotations = Object.entries(fiber.getRef(References.CurrentLogAnnotations)).filter(
      ([name, value]) => !(name === "logger" && value === seawall) && !(name === "database" && databases === 1),
    )
    const line = [
      paint("\x1b[2m", date.toISOString().slice(11, 23)),
      paint(colors[logLevel] ?? "", logLevel.toUpperCase().padEnd(5)),
      paint("\x1b[1m", indented(words)),
      ...annotations.map(([key, value]) => `${paint("\x1b[2m", `${key}=`)}${word(key, value)}`),
    ].join(" ")
    return cause.reasons.length === 0 ? line : `${line}\n  ${indented(Cause.pretty(cause))}`
  })

/** One object a line, with every field at the top; none of them takes the place of what every line has. */
const json = Logger.make<unknown, string>(({ cause, date, fiber, logLevel, message }) => {
  const messages = Array.isArray(message) ? message : [message]
  const fields = Object.entries(fiber.getRef(References.CurrentLogAnnotations))
  const own = {
    timestamp: date.toISOString(),
    level: logLevel.toUpperCase(),
    fiber: `#${fiber.id}`,
    message: messages.length === 1 ? messages[0] : messages,
  }
  return escaped(
    JSON.stringify({
      ...own,
      ...Object.fromEntries(fields.map(([name, value]) => [name, rounded(name, value)])),
      ...own,
      ...(cause.reasons.length === 0 ? {} : { cause: Cause.pretty(cause) }),
    }),
  )
})

/** Key and value, quoted where that must be. */
export const logfmt = Logger.map(Logger.formatLogFmt, escaped)

/** Replaces the loggers. Lines go to standard output through the `Console` in force. */
export const layer = (format: LogFormat, options: LoggingOptions): Layer.Layer<never> => {
  const logger = {
    pretty: Logger.withConsoleLog(pretty(options)),
    logfmt: Logger.withConsoleLog(logfmt),
    json: Logger.withConsoleLog(json),
  }[format]
  return Logger.layer([options.isSummedUp === true ? withoutRoutine(logger) : logger])
}
