/**
 * What must hold before an engine starts: a fresh session starts with a clean slate, and the settings make sense together.
 *
 * A refusal is stored first (reason, detail and HALTED in one transaction) and fails the start afterwards; one because of
 * the parent session stores nothing. Whatever else ends a start is stored by `Ending`.
 */
import { Effect, Layer, Option, Runtime, Schema } from "effect"
import { engineStatusKey, haltDetailKey, haltReasonKey } from "../state/StateKeys.ts"
import { StateManager } from "../state/StateManager.ts"
import type { EngineConfig } from "./EngineConfig.ts"
import { Halt } from "./Halt.ts"

/** Settings that do not make sense together. Exit code 78 (EX_CONFIG). */
export class PreflightError extends Schema.TaggedError<PreflightError>()("PreflightError", {
  problems: Schema.Array(Schema.String),
}) {
  override readonly [Runtime.errorExitCode] = 78
  override get message() {
    return ["the configuration was refused:", ...this.problems.map((problem) => `  ${problem}`)].join("\n")
  }
}

/** Every invariant that does not hold, with its values. */
export const violations = (config: EngineConfig): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const positive = (path: string, value: number) => {
    if (!(value > 0)) problems.push(`expected ${path} to be greater than 0, got ${value}`)
  }
  positive("risk.max_xrp_exposure", config.risk.max_xrp_exposure)
  positive("risk.max_rlusd_exposure", config.risk.max_rlusd_exposure)
  positive("strategy.clob_switch_threshold_bps", config.strategy.clob_switch_threshold_bps)
  const { tick_interval_seconds } = config.engine
  const { requote_interval_seconds } = config.strategy
  if (tick_interval_seconds !== requote_interval_seconds) {
    problems.push(
      `expected strategy.requote_interval_seconds to equal engine.tick_interval_seconds (${tick_interval_seconds}), got ${requote_interval_seconds}`,
    )
  }
  return problems
}

/** Sessions are numbered from 1, and none is ever removed. */
const unknownParent = Effect.fnUntraced(function* (parentSessionId: Option.Option<number>) {
  if (Option.isNone(parentSessionId)) return []
  const newest = Option.match(yield* StateManager.use((state) => state.lastSession), {
    onNone: () => 0,
    onSome: ({ sessionId }) => sessionId,
  })
  if (parentSessionId.value >= 1 && parentSessionId.value <= newest) return []
  const known = newest === 0 ? "it has none yet" : `1 to ${newest}`
  return [`expected the parent session to be one of this database (${known}), got ${parentSessionId.value}`]
})

/** What is looked at before the engine starts. */
export interface PreflightOptions {
  readonly config: EngineConfig
  /** A recovery restart has a parent session, and clears nothing. */
  readonly parentSessionId: Option.Option<number>
}

/** Fails with every invariant that does not hold, or with a `StateError` when that could not be stored. */
export const layer = ({ config, parentSessionId }: PreflightOptions) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const state = yield* StateManager
      const halt = yield* Halt
      if (Option.isNone(parentSessionId)) yield* state.clear(haltReasonKey, haltDetailKey)

      const unknown = yield* unknownParent(parentSessionId)
      if (unknown.length > 0) {
        // What is stored belongs to the session that was meant, and stays.
        yield* halt.settle("config_mismatch")
        return yield* new PreflightError({ problems: unknown })
      }
      const problems = violations(config)
      if (problems.length === 0) return
      yield* state.setMany({
        [haltReasonKey]: "config_mismatch",
        [haltDetailKey]: problems.join("; "),
        [engineStatusKey]: "HALTED",
      })
      yield* halt.settle("config_mismatch")
      return yield* new PreflightError({ problems })
    }),
  )
