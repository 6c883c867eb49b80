/** `seawall write-initial-basis`: the basis from before there were books, stored once. */
import { Effect, Result } from "effect"
import { Command, Flag } from "effect/cli"
import { initialBasis, initialBasisOnce } from "../state/Capital.ts"
import * as CapitalChange from "./CapitalChange.ts"

const flags = {
  ...CapitalChange.flags,
  amount: Flag.String("amount").pipe(
    Flag.withDescription("The basis in RLUSD; greater than 0"),
    Flag.withMetavar("NUMBER"),
  ),
}

const named = (name: string, words: string) =>
  Command.make(name, flags, (input) => {
    const amount = CapitalChange.parseNumber("amount", input.amount)
    return CapitalChange.run({
      command: words,
      db: input.db,
      store: input.store,
      confirm: input.confirm,
      json: input.json,
      plan: amount.pipe(Result.andThen(initialBasis), Result.map(initialBasisOnce)),
      change: (state) =>
        Effect.flatMap(Effect.fromResult(amount), (value) => state.writeInitialBasis({ amount: value })),
    })
  }).pipe(
    Command.withShortDescription("Record, once, the capital that was there before there were books"),
    Command.withDescription(
      `Record the capital that was there before there were books: one basis_commit in capital_events, with the note synthetic_initial_basis. Done twice, it is stored once, and the first amount stays.

${CapitalChange.help}`,
    ),
    Command.withExamples([
      { command: "seawall capital basis --db engine.db --amount 1000", description: "See what it would do" },
      { command: "seawall capital basis --db engine.db --amount 1000 --confirm", description: "Do it" },
    ]),
  )

/** A part of \`seawall capital\`. */
export const basis = named("basis", "capital basis")

/** The same by its earlier name. */
export const writeInitialBasis = named("write-initial-basis", "write-initial-basis")
