/** A slice of the random programs of the proof: every durability, on a thread, inline, and over a client of the driver. */
import { describe, expect, it } from "vitest"
import { nothing } from "./database.ts"
import { program, variants } from "./Programs.ts"

const seed = Number(process.env["SEED"] ?? 1 + Math.floor(Math.random() * 1_000_000))

describe("random programs", () => {
  it.each(variants)("are as the model says: %s", { timeout: 150_000 }, async (variant) => {
    const { checked, ...verdict } = await program(variant, seed, 800)
    const { checked: _, ...none } = nothing
    expect(verdict).toEqual({ ...none, runs: 1, states: 1 })
    expect(checked).toBeGreaterThan(50)
  })
})
