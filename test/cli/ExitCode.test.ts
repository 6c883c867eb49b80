import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Runtime, Schema } from "effect"
import * as ExitCode from "../../src/cli/ExitCode.ts"
import { exitCodeOf } from "../../src/engine/HaltReason.ts"
import { exitWith } from "../../src/engine/Main.ts"
import { paperHaltReasons } from "../../src/paper/PaperHaltReasons.ts"

const ofHaltReason = exitCodeOf(paperHaltReasons)

/** Every token once: the type checker refuses a table that lacks one. */
const table: Readonly<Record<Parameters<typeof paperHaltReasons.haltWith>[0], number>> = {
  duration_elapsed: 0,
  replay_exhausted: 0,
  engine_requested_halt: 0,
  interrupted_sigint: 0,
  interrupted_sigterm: 0,
  interrupted_sighup: 0,
  interrupted_sigbreak: 0,
  interrupted_keyboard: 0,
  interrupted_other: 0,
  risk_xrp_exposure: 3,
  risk_rlusd_exposure: 3,
  risk_rpc_failure: 3,
  risk_stale_ledger: 3,
  risk_gateway_unhealthy: 3,
  risk_generic: 3,
  kill_switch: 3,
  reconciler_halt: 1,
  startup_failure: 1,
  unhandled_exception: 1,
  config_mismatch: 1,
  leadership_lost: 75,
  unexpected_halt: 1,
}

const isToken = (text: string): text is keyof typeof table => Object.hasOwn(table, text)

describe("the exit code of a session", () => {
  for (const [reason, code] of Object.entries(table)) {
    it(`that ended with ${reason} is ${code}`, () => {
      expect(ofHaltReason(reason)).toBe(code)
    })
  }

  for (const reason of ["", "risk_", "risk_of_rain", "KILL_SWITCH", "duration_elapsed ", "interrupted_sigkill"]) {
    it(`that ended with "${reason}", which is no token, is 1`, () => {
      expect(ofHaltReason(reason)).toBe(1)
    })
  }

  it.prop("that ended with any other text is 1", [Schema.String], ([reason]) => {
    expect(ofHaltReason(reason)).toBe(isToken(reason) ? table[reason] : 1)
  })
})

describe("ending the process", () => {
  it.effect("with 0 is a success", () =>
    Effect.gen(function* () {
      expect(yield* Effect.exit(exitWith(0))).toEqual(Exit.void)
    }),
  )

  for (const code of [1, 3, 65, 78]) {
    it.effect(`with ${code} is a failure that carries the code, and is not reported again`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(exitWith(code))
        expect([error[Runtime.errorExitCode], error[Runtime.errorReported]]).toEqual([code, false])
      }),
    )
  }

  it("is explained by the help, code by code", () => {
    const codes = [...ExitCode.help.matchAll(/^ {2}(\d+) /gm)].map(([, code]) => Number(code))
    expect(codes).toEqual([0, 1, 3, 65, 75, 78, 137])
  })
})

describe("the exit code about several databases", () => {
  it("is the worst: damage over a failure over a warning over none, whatever their order", () => {
    expect(ExitCode.worst([])).toBe(0)
    expect(ExitCode.worst([0, 2, 0])).toBe(2)
    expect(ExitCode.worst([1, 2, 0])).toBe(1)
    expect(ExitCode.worst([2, 1])).toBe(1)
    expect(ExitCode.worst([1, 65, 2])).toBe(65)
    expect(ExitCode.worst([2, 78])).toBe(1)
  })
})
