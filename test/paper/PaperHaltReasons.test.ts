import { describe, expect, it } from "@effect/vitest"
import { isCleanOf } from "../../src/engine/HaltReason.ts"
import { paperHaltReasons } from "../../src/paper/PaperHaltReasons.ts"

describe("the reasons that a paper trading session knows", () => {
  it("are those of the reference system, and two of Seawall's own: a database of it can be recovered", () => {
    const reference = [
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
      "interrupted_sigbreak",
      "interrupted_other",
      "interrupted_keyboard",
      "startup_failure",
      "unhandled_exception",
      "config_mismatch",
      "unexpected_halt",
    ]
    expect(Object.keys(paperHaltReasons.ends).toSorted()).toEqual(
      [...reference, "interrupted_sighup", "leadership_lost"].toSorted(),
    )
  })

  it("end with a last backup, but where no time or no trust in the books is left", () => {
    const without = Object.keys(paperHaltReasons.ends).filter((reason) => !isCleanOf(paperHaltReasons)(reason))
    expect(without.toSorted()).toEqual([
      "config_mismatch",
      "interrupted_sighup",
      "leadership_lost",
      "startup_failure",
      "unhandled_exception",
    ])
  })
})
