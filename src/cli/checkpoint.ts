/** `seawall checkpoint`: one checkpoint of a database, whichever processes have it open, and which of them blocked it. */
import { Console, Effect, Layer } from "effect"
import { Command, Flag } from "effect/cli"
import { clean } from "../files/Printable.ts"
import { nameOf } from "../processes/ProcessName.ts"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import { ensureSameFile } from "../processes/OtherFile.ts"
import * as Database from "../sqlite/Database.ts"
import { verdict } from "../sqlite/SqliteVersion.ts"
import { UnsafeSqliteError } from "../sqlite/UnsafeSqliteError.ts"
import type { Checkpoint } from "../wal/Checkpoint.ts"
import * as Checkpointer from "../wal/Checkpointer.ts"
import * as ExitCode from "./ExitCode.ts"
import * as LastWriter from "./LastWriter.ts"
import * as OneShot from "./OneShot.ts"

const mode = Flag.Literals("mode", ["passive", "truncate"]).pipe(
  Flag.withDescription(
    "default passive, which copies what it can and waits for no other process; truncate, after that copied every frame, also empties the WAL, and gives up at once when another process blocks it",
  ),
  Flag.withDefault("passive"),
)

/** TRUNCATE takes the writer lock, so it comes only when there is nothing left to copy under it. */
const once = Effect.fnUntraced(function* (wanted: "passive" | "truncate") {
  const database = yield* Database.Database
  const { run } = yield* Checkpointer.Checkpointer
  if (verdict(database.version) === "Unsafe") return yield* new UnsafeSqliteError({ version: database.version })
  const passive = yield* run("PASSIVE")
  return wanted === "truncate" && passive.outcome === "Complete" ? yield* run("TRUNCATE") : passive
})

const object = (file: string, done: Checkpoint, asked: "passive" | "truncate") => ({
  file,
  asked_for: asked.toUpperCase(),
  mode: done.mode,
  outcome: done.outcome,
  busy: done.busy,
  log_frames: done.walFrames,
  checkpointed_frames: done.checkpointedFrames,
  elapsed_ms: done.elapsedMillis,
  blockers: done.blockers,
})

/** The mode that was asked for, and the part of it that was not done. */
const modeOf = (done: Checkpoint, asked: "passive" | "truncate") => {
  if (asked === "passive") return done.mode
  if (done.mode === "PASSIVE")
    return "PASSIVE; TRUNCATE gave up: not everything could be copied, so the WAL was not emptied"
  return done.outcome === "Complete" ? done.mode : "TRUNCATE, which gave up: the WAL was not emptied"
}

const rows = (file: string, done: Checkpoint, asked: "passive" | "truncate") => [
  ["file", file],
  ["mode", modeOf(done, asked)],
  ["outcome", done.outcome],
  ["log frames", done.walFrames < 0 ? "unknown" : String(done.walFrames)],
  ["checkpointed", done.checkpointedFrames < 0 ? "unknown" : String(done.checkpointedFrames)],
  ["took", `${done.elapsedMillis.toFixed(1)} ms`],
  ...done.blockers.map((holder) => ["in the way", clean(nameOf(holder, holder.lock))]),
]

export const checkpoint = Command.make(
  "checkpoint",
  { database: OneShot.database, mode, json: OneShot.json },
  ({ database: file, json, mode: wanted }) => {
    const layers = Checkpointer.layerInline().pipe(
      Layer.provideMerge(Database.layer({ filename: file, create: false, requireWal: true, durability: "normal" })),
    )
    return OneShot.run(
      "checkpoint",
      Effect.gen(function* () {
        yield* ensureSameFile(DatabaseFile.resolve(file))
        yield* Effect.ignore(LastWriter.judge(file)) // what cannot be read is said by who opens it
        const done = yield* Effect.provide(once(wanted), layers)
        yield* Console.log(json ? JSON.stringify(object(file, done, wanted)) : OneShot.table(rows(file, done, wanted)))
        return done.outcome === "Complete" ? ExitCode.ended : ExitCode.attention
      }),
    )
  },
).pipe(
  Command.withShortDescription("Checkpoint a database once"),
  Command.withDescription(
    `Checkpoint a database once, whichever processes have it open. No writer waits for it. Outcomes: Complete, ReaderBlocked, WriterBusy, CheckpointerBusy; the process that blocks is named (Linux).

The last program that closes a database empties and removes the WAL; when no other process has it open, that is this command.

Exit codes:
  0   complete: every frame is in the database
  1   failed: no such file, no permission, not a database, not in WAL mode, several hard links, a process that has another file of this name open, or the disk
  2   not complete: another process blocks it`,
  ),
  Command.withExamples([
    { command: "seawall checkpoint app.db", description: "Copy what can be copied" },
    { command: "seawall checkpoint app.db --mode truncate --json", description: "Empty the WAL file, for a script" },
  ]),
)
