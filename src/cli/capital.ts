/** `seawall capital`: what the profit of an engine is counted from. */
import { Command } from "effect/cli"
import { deposit } from "./injectCapital.ts"
import { basis } from "./writeInitialBasis.ts"

export const capital = Command.make("capital").pipe(
  Command.withShortDescription("Change what the profit of an engine is counted from"),
  Command.withDescription(`The books of an engine: what is put in does not count as profit.

Exit codes:
  0   done; without --confirm: shown
  1   refused or failed; see seawall capital deposit --help`),
  Command.withExamples([
    {
      command: 'seawall capital deposit --db engine.db --amount 250 --source-note "bank transfer" --confirm',
      description: "A deposit",
    },
    {
      command: "seawall capital basis --db engine.db --amount 1000 --confirm",
      description: "The capital that was there before",
    },
  ]),
  Command.withSubcommands([deposit, basis]),
)
