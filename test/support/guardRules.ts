/** What must be true of a guard that was closed, whatever happened before: one place forevery test that tries orders of events. */
import { Effect, Option } from "effect"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import { SimulatedLog } from "./SimulatedLog.ts"

/** How long a closing guard waits for a checkpoint in flight. */
const stopMillis = 5000

export interface Closed {
  /** When the guard was asked to close, in milliseconds of its clock. */
  readonly stop: number
  /** Whether its loop was on. */
  readonly wasOn: boolean
}

/** The rules that were broken; none when all is as it must be. */
export const brokenRules = Effect.fnUntraced(function* ({ stop, wasOn }: Closed) {
  const { entries } = yield* LogCapture.LogCapture
  const runs = yield* SimulatedLog.use((simulated) => simulated.runs)
  const said = (event: string) => entries.filter((entry) => entry.event === event)
  const broken: Array<string> = []
  const rule = (holds: boolean, words: string) => {
    if (!holds) broken.push(words)
  }

  for (const [index, run] of runs.entries()) {
    const before = runs[index - 1]
    const free = before === undefined ? 0 : Option.getOrElse(before.end, () => Infinity)
    rule(run.start >= free, "two checkpoints overlap")
    if (run.mode === "TRUNCATE") rule(index === runs.length - 1, "a checkpoint starts after TRUNCATE")
    else rule(run.start <= stop + stopMillis, "a checkpoint starts after the stop")
  }
  const truncated = runs.some(({ mode }) => mode === "TRUNCATE")
  const skipped = said("wal_checkpoint truncate skipped").length
  rule((truncated ? 1 : 0) + skipped === (wasOn ? 1 : 0), "TRUNCATE neither runs nor is skipped aloud, once")
  rule(said("wal_checkpoint aggregate").length === (wasOn ? 1 : 0), "not one aggregate line")
  const steps = entries.filter(({ event }) => event.startsWith("shutdown step")).map(({ fields }) => fields["step"])
  rule(steps.filter((step) => step === "close database").length === 1, "the database is not closed once")
  rule(steps.at(-1) === "close database", "something is closed after the database")
  return broken
})
