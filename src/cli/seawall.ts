/** The root of the commands: everything that the command line can be asked for. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect, Stdio } from "effect"
import { Command } from "effect/cli"
import { runEffect } from "../engine/Main.ts"
import { backup } from "./backup.ts"
import { checkpoint } from "./checkpoint.ts"
import { copyState } from "./copyState.ts"
import { doctor } from "./doctor.ts"
import { guard } from "./guard.ts"
import { deposit, injectCapital } from "./injectCapital.ts"
import * as Presenter from "./Presenter.ts"
import { restore } from "./restore.ts"
import { run } from "./run.ts"
import { status } from "./status.ts"
import { basis, writeInitialBasis } from "./writeInitialBasis.ts"

const capital = Command.make("capital").pipe(
  Command.withShortDescription("Change what the profit of an engine is counted from"),
  Command.withDescription(`The books of an engine: what is put in does not count as profit.

Exit codes:
  0   done; without --confirm: shown
  1   refused or failed; see seawall capital deposit --help`),
  Command.withExamples([
    {
      command: 'seawall capital deposit --db engine.db --amount 250 --source-note "bank transfer" --confirm',
      description: "What was put in",
    },
    { command: "seawall capital basis --db engine.db --amount 1000 --confirm", description: "What was there before" },
  ]),
  Command.withSubcommands([deposit, basis]),
)

const seawall = Command.make("seawall").pipe(
  Command.withDescription("Keeps the write-ahead log of a SQLite database short, safe and visible"),
  Command.withSubcommands([
    run,
    guard,
    status,
    doctor,
    checkpoint,
    backup,
    restore,
    capital,
    injectCapital,
    writeInitialBasis,
    copyState,
  ]),
)

/** Runs the command of this process's arguments, and ends the process with its exit code. */
export const main = (version: string): void =>
  Stdio.Stdio.use(({ args }) => args).pipe(
    Effect.flatMap((args) => Command.runWith(seawall, { version })(Presenter.spelled(args))),
    Effect.provide([NodeServices.layer, Presenter.layer]),
    runEffect,
  )
