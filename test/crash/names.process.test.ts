/** A slice of the table of names of the proof: `npm run proof -- names` is the whole of it. */
import { describe, expect, it } from "vitest"
import { type Change, changes } from "./NameChanges.ts"
import { nameOf, table, trialsOf, tryName } from "./Names.ts"

const seed = Number(process.env["SEED"] ?? 1 + Math.floor(Math.random() * 1_000_000))

/** One of each kind of user, and one of each kind of change. */
const slice = new Set([
  "renamed live thread durable",
  "renamed live guard",
  "removed live run",
  "mountedOver live inline normal",
  "symbolicLink live thread normal",
  "walRemoved live inline durable",
  "removed after run",
  "mountedAlone after backup",
  "hardLink after checkpoint",
])

const trials = table
  .flatMap(trialsOf)
  .filter(({ row, user, when }) => slice.has(`${row.change} ${when} ${user}`))
  .map((trial) => {
    const { missing }: Change = changes[trial.row.change]
    return { name: nameOf(trial), trial, missing }
  })

describe("a database whose names change", () => {
  it("has the rows of the slice in its table", () => {
    expect(trials).toHaveLength(slice.size)
  })

  for (const { missing, name, trial } of trials) {
    it.skipIf(missing !== undefined)(`is used as the table says: ${name}`, { timeout: 90_000 }, async () => {
      expect(await tryName(trial, seed, [])).toMatchObject({ lost: 0, corrupt: 0, hung: 0, failures: [], runs: 1 })
    })
  }
})
