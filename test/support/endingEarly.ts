/** Every process that is started meanwhile ends with exit code 3 before it does anything. */
import { Effect } from "effect"

export const endingEarly = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const options = process.env["NODE_OPTIONS"]
      process.env["NODE_OPTIONS"] = "--import data:text/javascript,process.exit(3)"
      return options
    }),
    () => self,
    (options) =>
      Effect.sync(() => {
        if (options === undefined) delete process.env["NODE_OPTIONS"]
        else process.env["NODE_OPTIONS"] = options
      }),
  )
