/** `seawall inject-capital`: a deposit, and what profit is counted from raised by the same worth. */
import { Effect, Option, Result } from "effect"
import { Command, Flag } from "effect/cli"
import { deposit as depositPlan, injection } from "../state/Capital.ts"
import { Asset, CapitalError } from "../state/CapitalEvent.ts"
import * as CapitalChange from "./CapitalChange.ts"

const flags = {
  ...CapitalChange.flags,
  amount: Flag.String("amount").pipe(
    Flag.withDescription("How much, in units of the asset; greater than 0"),
    Flag.withMetavar("NUMBER"),
  ),
  sourceNote: Flag.String("source-note").pipe(
    Flag.withDescription("Where it comes from, for a later reader of the books"),
    Flag.withMetavar("TEXT"),
  ),
  asset: Flag.Literals("asset", Asset.literals).pipe(
    Flag.withDescription("What is put in; default RLUSD"),
    Flag.withDefault("RLUSD"),
  ),
  priceRlusd: Flag.String("price-rlusd").pipe(
    Flag.withDescription("RLUSD per XRP; required for XRP, and for XRP alone"),
    Flag.withMetavar("NUMBER"),
    Flag.optional,
  ),
}

type Input = Command.Command.Config.Infer<typeof flags>

const depositOf = ({ amount, asset, priceRlusd, sourceNote }: Input) =>
  Result.gen(function* () {
    const price = Option.getOrUndefined(priceRlusd)
    // Most likely XRP was meant, and its amount would be booked as RLUSD.
    if (price !== undefined && asset === "RLUSD") {
      return yield* Result.fail(new CapitalError({ field: "price_rlusd", expected: "absent for RLUSD", got: price }))
    }
    return {
      amount: yield* CapitalChange.parseNumber("amount", amount),
      asset,
      priceRlusd: price === undefined ? price : yield* CapitalChange.parseNumber("price_rlusd", price),
      sourceNote,
    }
  })

const named = (name: string, words: string) =>
  Command.make(name, flags, (input) => {
    const wanted = depositOf(input)
    return CapitalChange.run({
      command: words,
      db: input.db,
      store: input.store,
      confirm: input.confirm,
      json: input.json,
      plan: wanted.pipe(Result.andThen(depositPlan), Result.map(injection)),
      change: (state) => Effect.flatMap(Effect.fromResult(wanted), state.injectCapital),
    })
  }).pipe(
    Command.withShortDescription("Record capital that is put in, so that it does not count as profit"),
    Command.withDescription(
      `Record capital that is put in: a deposit in capital_events, and paper.pnl_starting_value_rlusd raised by the same worth, so that it does not count as profit. Both or neither.

${CapitalChange.help}`,
    ),
    Command.withExamples([
      {
        command: 'seawall capital deposit --db engine.db --amount 250 --source-note "bank transfer"',
        description: "See what it would do",
      },
      {
        command: 'seawall capital deposit --db engine.db --amount 250 --source-note "bank transfer" --confirm',
        description: "Do it",
      },
      {
        command:
          "seawall capital deposit --db engine.db --amount 100 --asset XRP --price-rlusd 0.52 --source-note cold",
        description: "XRP, at the price it came in at",
      },
    ]),
  )

/** A part of \`seawall capital\`. */
export const deposit = named("deposit", "capital deposit")

/** The same by its earlier name. */
export const injectCapital = named("inject-capital", "inject-capital")
