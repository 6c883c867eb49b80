/**
 * Signals as requests to halt. The first one halts, with its token; later ones, the same or another, change nothing.
 *
 * SIGHUP is how Node reports a closed console window on Windows, where the process is killed about 5 s later: it
 * shortens the shutdown budget to 4 s. SIGBREAK is Windows' Ctrl+Break. SIGKILL cannot be heard.
 * https://nodejs.org/api/process.html#signal-events
 */
import { Effect, Layer, Option } from "effect"
import * as Shutdown from "../shutdown/Shutdown.ts"
import * as Halt from "./Halt.ts"
import type { HaltReason } from "./HaltReason.ts"

const tokens = {
  SIGINT: "interrupted_sigint",
  SIGTERM: "interrupted_sigterm",
  SIGHUP: "interrupted_sighup",
  SIGBREAK: "interrupted_sigbreak",
} as const satisfies Partial<Record<NodeJS.Signals, HaltReason>>

type Signal = keyof typeof tokens

const signals = Object.keys(tokens) as ReadonlyArray<Signal>

/**
 * Listens as long as the layer lives. Put it below everything that must be closed when a signal comes; it asks `Halt`,
 * and ends nothing itself. While it listens, Node does not end the process at any of the four.
 */
export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const halt = yield* Halt.Halt
    const shutdown = yield* Shutdown.Shutdown
    const run = Effect.runForkWith(yield* Effect.context())
    let heard = false
    const listen = (signal: Signal) => {
      const listener = () => {
        if (heard) return
        heard = true
        run(
          shutdown
            .begin(signal === "SIGHUP" ? Shutdown.hangupBudget : undefined)
            .pipe(Effect.andThen(halt.request({ reason: Option.some(tokens[signal]), detail: "" }))),
        )
      }
      process.on(signal, listener)
      return listener
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => signals.map((signal) => [signal, listen(signal)] as const)),
      (listeners) => Effect.sync(() => listeners.forEach(([signal, listener]) => process.off(signal, listener))),
    )
  }),
)
