#!/usr/bin/env node
/** The `seawall` command. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect } from "effect"
import { Command } from "effect/unstable/cli"
import packageJson from "../package.json" with { type: "json" }
import { backup } from "./cli/backup.ts"
import { checkpoint } from "./cli/checkpoint.ts"
import { doctor } from "./cli/doctor.ts"
import { guard } from "./cli/guard.ts"
import { injectCapital } from "./cli/injectCapital.ts"
import { restore } from "./cli/restore.ts"
import { run } from "./cli/run.ts"
import { runMain } from "./cli/RunMain.ts"
import { status } from "./cli/status.ts"
import { writeInitialBasis } from "./cli/writeInitialBasis.ts"

const seawall = Command.make("seawall").pipe(
  Command.withDescription("Keeps the write-ahead log of a SQLite database short, safe and visible"),
  Command.withSubcommands([run, guard, status, doctor, checkpoint, backup, restore, injectCapital, writeInitialBasis]),
)

seawall.pipe(Command.run({ version: packageJson.version }), Effect.provide(NodeServices.layer), runMain)
