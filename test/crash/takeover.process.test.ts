/** One fault of each kind; the proof does many (`npm run proof -- takeover`). */
import { expect, it, vi } from "vitest"
import { faults, missing, takeover, violations } from "./Takeover.ts"

vi.setConfig({ testTimeout: 120_000 })

it.skipIf(missing !== undefined)(
  "another machine leads after each fault, and no row is lost, stale or there twice",
  async () => {
    const { checked, failures } = await takeover(faults, 1)
    expect(failures).toEqual([])
    expect(checked).toBeGreaterThan(faults.length * 20)
  },
)

it("finds a row that is stale, lost or there twice", () => {
  const rows = [
    [1, 1],
    [2, 1],
    [1, 2],
    [2, 1],
  ] as const
  const { failures } = violations(rows, [...rows, [2, 2]])
  expect(failures).toEqual([
    "row 1/2 comes after epoch 2",
    "2/2 was acknowledged, and is not there",
    "1 rows are there twice",
  ])
})
