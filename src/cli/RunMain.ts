/**
 * Runs the command as the main program of the process, and ends the process with its exit code.
 *
 * Node's own runner interrupts the main fiber on SIGINT and SIGTERM. A session must end by its own request to halt, so
 * here a signal interrupts only while nobody else listens to it. Standard input may still be open at the end (a feed),
 * hence the explicit exit.
 */
import { Effect, Runtime } from "effect"

const run = Runtime.makeRunMain(({ fiber, teardown }) => {
  fiber.addObserver((exit) => teardown(exit, (code) => process.exit(code)))
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (process.listenerCount(signal) === 1) fiber.interruptUnsafe(fiber.id)
    })
  }
})

/** The yield lets the listeners be there before the first synchronous piece of work starts. */
export const runMain = <A, E>(main: Effect.Effect<A, E>): void => run(Effect.andThen(Effect.yieldNow, main))
