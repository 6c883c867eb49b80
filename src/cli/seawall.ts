/** The root of the commands: everything that the command line can be asked for. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect, Stdio } from "effect"
import { Command } from "effect/cli"
import { runEffect } from "../engine/Main.ts"
import { backup } from "./backup.ts"
import { capital } from "./capital.ts"
import { checkpoint } from "./checkpoint.ts"
import { copyState } from "./copyState.ts"
import { doctor } from "./doctor.ts"
import { guard } from "./guard.ts"
import { injectCapital } from "./injectCapital.ts"
import * as Presenter from "./Presenter.ts"
import { restore } from "./restore.ts"
import { run } from "./run.ts"
import { status } from "./status.ts"
import { writeInitialBasis } from "./writeInitialBasis.ts"

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
