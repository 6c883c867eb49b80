/** The three formats of the log. Events and annotations are the same in each; only the spelling differs. */
import { Cause, type Layer, Logger, References } from "effect"
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

const word = (value: unknown) => {
  const text = typeof value === "string" ? value : JSON.stringify(value)
  return typeof value === "string" && (text === "" || /[\s"=]/.test(text)) && !text.includes("\n")
    ? JSON.stringify(text)
    : text
}

export interface LoggingOptions {
  readonly colored: boolean
  /** How many databases the lines may be about: of the only one it is not said to eyes which it is. Default 1. */
  readonly databases?: number
}

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
      paint("\x1b[1m", words),
      ...annotations.map(([key, value]) => `${paint("\x1b[2m", `${key}=`)}${word(value)}`),
    ].join(" ")
    return cause.reasons.length === 0 ? line : `${line}\n${Cause.pretty(cause)}`
  })

/** Replaces the loggers. Lines go to standard output through the `Console` in force. */
export const layer = (format: LogFormat, options: LoggingOptions): Layer.Layer<never> =>
  Logger.layer([
    {
      pretty: Logger.withConsoleLog(pretty(options)),
      logfmt: Logger.consoleLogFmt,
      json: Logger.consoleJson,
    }[format],
  ])
