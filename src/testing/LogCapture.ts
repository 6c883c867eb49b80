/** Keeps what is logged, as data, in place of printing it. */
import { Cause, Context, Effect, Layer, Logger, References } from "effect"

export interface Entry {
  readonly level: string
  readonly event: string
  readonly fields: Readonly<Record<string, unknown>>
  readonly cause: string
}

export class LogCapture extends Context.Service<LogCapture, { readonly entries: ReadonlyArray<Entry> }>()(
  "test/LogCapture",
) {
  static readonly layer = Layer.unwrap(
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
      return Layer.merge(Logger.layer([logger]), Layer.succeed(LogCapture, { entries }))
    }),
  )
}

/** The entries whose event is exactly this. */
export const logged = (event: string) =>
  LogCapture.use(({ entries }) => Effect.sync(() => entries.filter((entry) => entry.event === event)))

/** All events in order, without the `shutdown step` lines between them. */
export const events = LogCapture.use(({ entries }) =>
  Effect.sync(() => entries.map(({ event }) => event).filter((event) => event !== "shutdown step")),
)

/** The steps of the shutdown, in the order in which they ended. */
export const steps = Effect.map(logged("shutdown step"), (entries) => entries.map(({ fields }) => fields["step"]))
