#!/usr/bin/env node
/** The `seawall` command. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect, FileSystem, Path, Schema } from "effect"
import { Command } from "effect/unstable/cli"
import { backup } from "./cli/backup.ts"
import { checkpoint } from "./cli/checkpoint.ts"
import { doctor } from "./cli/doctor.ts"
import { guard } from "./cli/guard.ts"
import { injectCapital } from "./cli/injectCapital.ts"
import { restore } from "./cli/restore.ts"
import { run } from "./cli/run.ts"
import { runMain } from "./cli/runMain.ts"
import { status } from "./cli/status.ts"
import { writeInitialBasis } from "./cli/writeInitialBasis.ts"

const seawall = Command.make("seawall").pipe(
  Command.withDescription("Keeps the write-ahead log of a SQLite database short, safe and visible"),
  Command.withSubcommands([run, guard, status, doctor, checkpoint, backup, restore, injectCapital, writeInitialBasis]),
)

const Package = Schema.fromJsonString(Schema.Struct({ version: Schema.String }))

/** Of the package around these files, as sources and as a build. */
const version = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = yield* path.fromFileUrl(new URL("../package.json", import.meta.url))
  return (yield* Schema.decodeEffect(Package)(yield* fs.readFileString(file))).version
})

Effect.flatMap(version, (version) => Command.run(seawall, { version })).pipe(
  Effect.provide(NodeServices.layer),
  runMain,
)
