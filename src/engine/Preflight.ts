/**
 * What must hold before an engine starts: a fresh session starts with a clean slate, and the settings make sense together.
 *
 * A refusal is stored first (reason, detail and HALTED in one transaction) and fails the start afterwards; one because of
 * the parent session stores nothing. Whatever else ends a start is stored by `Ending`.
 */
import { Effect, Layer, Option, Runtime, Schema } from "effect"
import { engineStatusKey, haltDetailKey, haltReasonKey } from "../state/StateKeys.ts"
import * as StateManager from "../state/StateManager.ts"
import type { EngineConfig } from "./EngineConfig.ts"
import * as Halt from "./Halt.ts"

/** Settings that do not make sense together. Exit code 78 (EX_CONFIG). */
export class PreflightError extends Schema.TaggedError<PreflightError>()("PreflightError", {
  problems: Schema.Array(Schema.String),
}) {
  override readonly [Runtime.errorExitCode] = 78
  override get message() {
    return ["the configuration was refused:", ...this.problems.map((problem) => `  ${problem}`)].join("\n")
  }
}

/** Sessions are numbered from 1, and none is ever removed. */
const unknownParent = Effect.fnUntraced(function* (parentSessionId: Option.Option<number>) {
  if (Option.isNone(parentSessionId)) return []
  const newest = Option.match(yield* StateManager.StateManager.use((state) => state.lastSession), {
    onNone: () => 0,
    onSome: ({ sessionId }) => sessionId,
  })
  if (parentSessionId.value >= 1 && parentSessionId.value <= newest) return []
  const known = newest === 0 ? "it has none yet" : `1 to ${newest}`
  return [`expected the parent session to be one of this database (${known}), got ${parentSessionId.value}`]
})

/** The checks before the engine starts. */
export interface PreflightOptions<Config extends EngineConfig = EngineConfig> {
  readonly config: Config
  /** What does not hold between its values, as sentences: the `invariants` of `EngineConfig.make`. Default nothing. */
  readonly invariants?: (config: Config) => ReadonlyArray<string>
  /** A recovery restart has a parent session, and clears nothing. */
  readonly parentSessionId: Option.Option<number>
}

/** Fails with every invariant that does not hold, or with a `StateError` when that could not be stored. */
export const layer = <Config extends EngineConfig>({
  config,
  invariants = () => [],
  parentSessionId,
}: PreflightOptions<Config>) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const state = yield* StateManager.StateManager
      const halt = yield* Halt.Halt
      if (Option.isNone(parentSessionId)) yield* state.clear(haltReasonKey, haltDetailKey)

      const unknown = yield* unknownParent(parentSessionId)
      if (unknown.length > 0) {
        // The stored values belong to the session that was meant, and stay.
        yield* halt.settle("config_mismatch")
        return yield* new PreflightError({ problems: unknown })
      }
      const problems = invariants(config)
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
