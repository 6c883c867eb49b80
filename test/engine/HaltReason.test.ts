import { describe, expect, it } from "@effect/vitest"
import { Option, Schema } from "effect"
import { HaltReason, resolve } from "../../src/engine/HaltReason.ts"

/** What is stored is any text: an older program, or a script, may have its own tokens. */
const NotEmpty = Schema.String.check(Schema.isMinLength(1))

describe("the tokens", () => {
  it("are those of the reference system, and interrupted_sighup", () => {
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
    expect([...HaltReason.literals].toSorted()).toEqual([...reference, "interrupted_sighup"].toSorted())
  })
})

describe("the reason that is stored at shutdown", () => {
  it.prop("is the explicit one, whatever is stored", [HaltReason, Schema.String], ([explicit, stored]) => {
    expect(resolve(Option.some(explicit), Option.some(stored))).toBe(explicit)
    expect(resolve(Option.some(explicit), Option.none())).toBe(explicit)
  })

  it.prop("is what is stored when there is no explicit one, also a token that is not ours", [NotEmpty], ([stored]) => {
    expect(resolve(Option.none(), Option.some(stored))).toBe(stored)
  })

  it.prop("is what is stored when that is a token", [HaltReason], ([stored]) => {
    expect(resolve(Option.none(), Option.some(stored))).toBe(stored)
  })

  it("is unexpected_halt when there is neither", () => {
    expect(resolve(Option.none(), Option.none())).toBe("unexpected_halt")
  })

  it("is unexpected_halt when what is stored was cleared", () => {
    expect(resolve(Option.none(), Option.some(""))).toBe("unexpected_halt")
  })
})
