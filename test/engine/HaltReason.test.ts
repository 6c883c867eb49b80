import { describe, expect, it } from "@effect/vitest"
import { Option, Schema } from "effect"
import * as EngineProgram from "../../src/engine/EngineProgram.ts"
import { define, exitCodeOf, HaltReason, isCleanOf, isKnown, lifeCycle, resolve } from "../../src/engine/HaltReason.ts"

/** What is stored is any text: an older program, or a script, may have its own tokens. */
const NotEmpty = Schema.String.check(Schema.isMinLength(1))

const Text = Schema.String

describe("the reasons of the life cycle", () => {
  /** Every token once: the exit code, and whether a last backup is made. */
  const table: Readonly<Record<HaltReason, readonly [number, boolean]>> = {
    duration_elapsed: [0, true],
    engine_requested_halt: [0, true],
    interrupted_sigint: [0, true],
    interrupted_sigterm: [0, true],
    interrupted_sighup: [0, false],
    interrupted_sigbreak: [0, true],
    interrupted_other: [0, true],
    startup_failure: [1, false],
    unhandled_exception: [1, false],
    config_mismatch: [1, false],
    leadership_lost: [75, false],
    unexpected_halt: [1, true],
  }

  it("are these, and no others", () => {
    expect([...HaltReason.literals].toSorted()).toEqual(Object.keys(table).toSorted())
    expect(Object.keys(lifeCycle.ends).toSorted()).toEqual(Object.keys(table).toSorted())
  })

  for (const [reason, [code, isClean]] of Object.entries(table)) {
    it(`${reason} means exit code ${code} and ${isClean ? "a" : "no"} last backup, whatever a program adds`, () => {
      for (const reasons of [undefined, lifeCycle, define({}), define({ other: { exitCode: 9, isClean: true } })]) {
        expect([exitCodeOf(reasons)(reason), isCleanOf(reasons)(reason)]).toEqual([code, isClean])
      }
    })
  }

  it("are the answer of a tick whose program defines none", () => {
    expect(EngineProgram.haltWith("engine_requested_halt", "done")).toEqual(
      Option.some({ reason: "engine_requested_halt", detail: "done" }),
    )
  })
})

describe("the reasons of a program", () => {
  const reasons = define({ sensor_lost: { exitCode: 4, isClean: false }, season_over: { exitCode: 0, isClean: true } })

  for (const [reason, code, isClean] of [
    ["sensor_lost", 4, false],
    ["season_over", 0, true],
  ] as const) {
    it(`${reason} means what the program says, to it alone`, () => {
      expect([exitCodeOf(reasons)(reason), isCleanOf(reasons)(reason)]).toEqual([code, isClean])
      expect([isKnown(reasons, reason), isKnown(lifeCycle, reason)]).toEqual([true, false])
      expect([exitCodeOf()(reason), isCleanOf()(reason)]).toEqual([1, false])
      expect(reasons.haltWith(reason, "why")).toEqual(Option.some({ reason, detail: "why" }))
      expect(reasons.token(reason)).toBe(reason)
    })
  }

  it("are a closed set for the type checker, with those of the life cycle", () => {
    expect(Option.isSome(reasons.haltWith("duration_elapsed", ""))).toBe(true)
    // @ts-expect-error not defined
    reasons.haltWith("sensor_lots", "")
    // @ts-expect-error of the life cycle alone
    EngineProgram.haltWith("sensor_lost", "")
    // @ts-expect-error the life cycle's tokens keep their meaning
    const other = define({ duration_elapsed: { exitCode: 9, isClean: false } })
    expect(exitCodeOf(other)("duration_elapsed")).toBe(0)
    // @ts-expect-error an empty text means that no reason is stored
    define({ "": { exitCode: 0, isClean: true } })
  })

  it.prop("are all that is known: any other text is exit code 1 and no clean end", [Text], ([reason]) => {
    const known = Object.keys(reasons.ends).includes(reason)
    expect(isKnown(reasons, reason)).toBe(known)
    expect(exitCodeOf(reasons)(reason) === 1 || known).toBe(true)
    expect(!isCleanOf(reasons)(reason) || known).toBe(true)
  })

  for (const reason of ["", "constructor", "__proto__", "toString", "SENSOR_LOST", "sensor_lost "]) {
    it(`${JSON.stringify(reason)} is not one of them`, () => {
      expect([exitCodeOf(reasons)(reason), isCleanOf(reasons)(reason), isKnown(reasons, reason)]).toEqual([
        1,
        false,
        false,
      ])
    })
  }
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
