/** The keys of `engine_state` that more than one part of Seawall knows. An `EngineProgram` adds its own. */

/** `RUNNING` or `HALTED`. After a crash it is the former: it is not proof that an engine is running. */
export const engineStatusKey = "engine_status"

/** Why the last session halted: a `HaltReason`. */
export const haltReasonKey = "halt.reason"

/** What the operator should know beside that, as free text. */
export const haltDetailKey = "halt.detail"

/** The worth that profit is counted from. */
export const startingValueKey = "paper.pnl_starting_value_rlusd"
