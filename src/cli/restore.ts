/** `seawall restore`: puts a backup in the place of a database, and keeps what was there. */
import { Console, Effect } from "effect"
import { Argument, Command } from "effect/cli"
import * as Restore from "../sqlite/copies/Restore.ts"
import { command } from "../sqlite/ShellCommand.ts"
import * as ExitCode from "./ExitCode.ts"
import * as OneShot from "./OneShot.ts"
import { withoutEngine } from "./WithoutEngine.ts"

const source = Argument.String("backup").pipe(
  Argument.withDescription("The backup; it is read and stays where it is"),
  Argument.withMetavar("BACKUP"),
)

const target = Argument.String("db").pipe(
  Argument.withDescription("The database that it takes the place of; may be missing"),
  Argument.withMetavar("DB"),
)

export const restore = Command.make(
  "restore",
  { backup: source, database: target, json: OneShot.json },
  ({ backup, database, json }) =>
    OneShot.run(
      "restore",
      Effect.gen(function* () {
        const { file, kept } = yield* Restore.restore({ backup, file: database }).pipe(
          withoutEngine(database),
          Effect.mapError((error) =>
            error._tag === "RestoreError" && error.reason === "NotWhole"
              ? new Error(`${error.message}: ${command("seawall backup", backup)}`)
              : error,
          ),
        )
        const rows = [["restored", file], ["from", backup], ...kept.map((name) => ["kept", name])]
        yield* Console.log(json ? JSON.stringify({ file, backup, kept }) : OneShot.table(rows))
        return ExitCode.ended
      }),
      { progress: true },
    ),
).pipe(
  Command.withShortDescription("Put a backup in the place of a database"),
  Command.withDescription(
    `Put a backup in the place of a database. The backup is checked first (quick_check). What was there is kept beside it, with its log, as DB.replaced.<UTC stamp>; nothing is overwritten or removed. Refused while an engine runs on the database, and while a process has it open (seen on Linux; of another user's process once it has used the log).

Exit codes:
  0   restored
  1   refused or failed: nothing was changed, or the message says under which name the database is now
  65  the backup is damaged: nothing was changed`,
  ),
  Command.withExamples([
    { command: "seawall restore app.db.post.20261123T081530123Z app.db", description: "Go back to a clean end" },
  ]),
)
