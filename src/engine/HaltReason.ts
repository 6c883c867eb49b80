/** Why an engine stopped: a closed set of tokens, the same in the database, in logs and in statistics. */
import { Option, Schema } from "effect"

/**
 * - `config_mismatch`, `startup_failure`: the engine never ran.
 * - `duration_elapsed`, `interrupted_sig...` (a signal): it was asked to end; `interrupted_other`: without being asked.
 * - `unhandled_exception`: a tick, or whatever runs in its scope, failed, or the log could not be synced.
 * - `unexpected_halt`: nobody has said why.
 *
 * The life cycle stores these. All others are for an `EngineProgram` to answer.
 */
export const HaltReason = Schema.Literals([
  "duration_elapsed",
  "engine_requested_halt",
  "risk_xrp_exposure",
  "risk_rlusd_exposure",
  "risk_rpc_failure",
  "risk_stale_ledger",
  "risk_gateway_unhealthy",
  "risk_generic",
  "kill_switch",
  "reconciler_halt",
  "replay_exhausted",
  "interrupted_sigint",
  "interrupted_sigterm",
  "interrupted_sighup",
  "interrupted_sigbreak",
  "interrupted_other",
  "interrupted_keyboard",
  "startup_failure",
  "unhandled_exception",
  "config_mismatch",
  "unexpected_halt",
])
export type HaltReason = typeof HaltReason.Type

/**
 * What is stored at shutdown: what the caller alone knows (a signal, the duration, an exception), else what a tick or an
 * earlier step has stored, else `unexpected_halt`. It is always written.
 */
export const resolve = (explicit: Option.Option<HaltReason>, stored: Option.Option<string>): string =>
  Option.getOrElse(
    Option.orElse(explicit, () => Option.filter(stored, (token) => token !== "")),
    () => "unexpected_halt",
  )
