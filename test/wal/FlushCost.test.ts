import { describe, expect, it } from "@effect/vitest"
import * as FlushCost from "../../src/wal/FlushCost.ts"

describe("what a flush may cost", () => {
  it("is little at the length at which the WAL is to restart, and grows with it", () => {
    expect(FlushCost.budgetMillis(100, 4000)).toBe(5)
    expect(FlushCost.budgetMillis(4000, 4000)).toBe(5)
    expect(FlushCost.budgetMillis(14_000, 4000)).toBeCloseTo(100)
    expect(FlushCost.budgetMillis(10_000, 4000)).toBeGreaterThan(FlushCost.budgetMillis(9000, 4000))
    expect(FlushCost.budgetMillis(10_000_000, 4000)).toBe(1000)
  })

  it("slows writers down only beyond the hard length, and never more than wholly", () => {
    expect([4000, 14_000, 15_400, 16_800, 1_000_000].map((frames) => FlushCost.brake(frames, 4000))).toEqual([
      0,
      0,
      expect.closeTo(0.5),
      expect.closeTo(1),
      1,
    ])
  })
})

describe("what a flush is predicted to cost", () => {
  /** A disk with a cost for each sync and for each page; passes of so many pages. */
  const learned = (syncMillis: number, pageMillis: number, ...passes: ReadonlyArray<number>) => {
    const cost = FlushCost.make()
    for (const pages of passes) {
      cost.passed(pages, syncMillis + pages * pageMillis)
      cost.synced(pages, syncMillis + pages * pageMillis)
    }
    return cost
  }

  it("is next to nothing on a quiet disk, however long the sync after a large pass took", () => {
    const cost = learned(0.2, 0.02, 2000, 600, 200)
    expect(cost.predict(0)).toBeCloseTo(0.3)
    expect(cost.predict(100)).toBeCloseTo(0.3 + 100 * 0.02)
  })

  it("is at first half of three syncs on a busy one, however few pages are left", () => {
    const cost = learned(30, 0, 300, 310, 290)
    expect(cost.predict(0)).toBeGreaterThan(30)
    expect(learned(30, 0, 2000, 300, 20).predict(0)).toBeCloseTo(45)
  })

  it("follows what flushes cost, up to twice and down to a quarter of what passes and syncs tell", () => {
    const after = (millis: number) => {
      const cost = learned(30, 0, 2000, 300, 20)
      for (let flushes = 0; flushes < 20; flushes++) cost.flushed(cost.predict(0), millis)
      return cost.predict(0)
    }
    expect(after(60)).toBeCloseTo(60, 1)
    expect(after(1000)).toBeCloseTo(180, 1)
    expect(after(1)).toBeCloseTo(22.5, 1)
    const nothing = FlushCost.make()
    nothing.flushed(0, 30)
    expect(nothing.predict(0)).toBe(0)
  })

  it("follows a disk that becomes quiet again within some passes", () => {
    const cost = learned(30, 0, 300, 20, 300, 20)
    for (const pages of [300, 20, 300, 20, 300, 20, 300, 20]) {
      cost.passed(pages, 0.2 + pages * 0.01)
      cost.synced(pages, 0.2 + pages * 0.02)
    }
    expect(cost.predict(20)).toBeLessThan(2)
  })

  it("is never below nothing, whatever was measured", () => {
    const cost = FlushCost.make()
    expect(cost.predict(0)).toBe(0)
    for (const [pages, millis] of [
      [10, 50],
      [2000, 1],
      [0, 0],
    ] as const)
      cost.synced(pages, millis)
    expect(cost.predict(0)).toBeGreaterThanOrEqual(0)
  })
})
