/** Keeps what is logged, as data, in place of printing it: all of it down to DEBUG, for the life of the layer. */
import { Cause, Context, Effect, Layer, Logger, References } from "effect"

/** One line of log. */
export interface Entry {
  /** As Effect spells it: `Info`, `Warn`, `Error`, ... */
  readonly level: string
  /** The message. */
  readonly event: string
  /** The annotations. */
  readonly fields: Readonly<Record<string, unknown>>
  /** The cause of a failure, printed; empty without one. */
  readonly cause: string
}

/** The lines of the log, oldest first; the array grows while it is read. */
export class LogCapture extends Context.Service<LogCapture, { readonly entries: ReadonlyArray<Entry> }>()(
  "seawall/testing/LogCapture",
) {}

/** In place of all loggers in force; put it below what is to be heard. */
export const layer = Layer.unwrap(
  Effect.sync(() => {
    const entries: Array<Entry> = []
    const logger = Logger.make<unknown, void>(({ cause, fiber, logLevel, message }) => {
      entries.push({
        level: logLevel,
        event: (Array.isArray(message) ? message : [message]).map(String).join(" "),
        fields: fiber.getRef(References.CurrentLogAnnotations),
        cause: cause.reasons.length === 0 ? "" : Cause.pretty(cause),
      })
    })
    return Layer.mergeAll(
      Logger.layer([logger]),
      Layer.succeed(References.MinimumLogLevel, "Debug"),
      Layer.succeed(LogCapture, { entries }),
    )
  }),
)

/** The entries whose event is exactly this, up to now. */
export const logged = (event: string) =>
  LogCapture.use(({ entries }) => Effect.sync(() => entries.filter((entry) => entry.event === event)))

/** All events in order, without the `shutdown step` lines between them. */
export const events = LogCapture.use(({ entries }) =>
  Effect.sync(() => entries.map(({ event }) => event).filter((event) => event !== "shutdown step")),
)

/** The steps of the shutdown that succeeded, in the order in which they ended. */
export const steps = Effect.map(logged("shutdown step"), (entries) => entries.map(({ fields }) => fields["step"]))
