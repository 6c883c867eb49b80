/**
 * Why a paper trading session halts, beside the reasons of the life cycle.
 *
 * A session itself answers `risk_xrp_exposure`, `risk_rlusd_exposure` and `replay_exhausted`. The others are those of the system
 * that its databases come from: a recovery restart may find one stored, and its end then means what it meant there.
 */
import * as HaltReason from "../engine/HaltReason.ts"

const meant: HaltReason.End = { exitCode: 0, isClean: true }
/** A limit was reached: an operator should look before the next session, which its books are right for. */
const risk: HaltReason.End = { exitCode: 3, isClean: true }

export const paperHaltReasons = HaltReason.define({
  risk_xrp_exposure: risk,
  risk_rlusd_exposure: risk,
  risk_rpc_failure: risk,
  risk_stale_ledger: risk,
  risk_gateway_unhealthy: risk,
  risk_generic: risk,
  kill_switch: risk,
  reconciler_halt: { exitCode: 1, isClean: true },
  replay_exhausted: meant,
  interrupted_keyboard: meant,
})
