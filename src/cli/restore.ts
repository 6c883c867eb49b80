/** `seawall restore`: puts a backup in the place of a database, and keeps what was there. */
import { Console, Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { size } from "../facts/Format.ts"
import * as Restore from "../sqlite/copies/Restore.ts"
import { command } from "../sqlite/ShellCommand.ts"
import * as ExitCode from "./ExitCode.ts"
import * as OneShot from "./OneShot.ts"
import { withoutEngine } from "./WithoutEngine.ts"
import { CommandError } from "./CommandError.ts"

const source = Argument.String("backup").pipe(
  Argument.withDescription("The backup; it is read and stays where it is"),
  Argument.withMetavar("BACKUP"),
)

const target = Argument.String("db").pipe(
  Argument.withDescription("The database that it takes the place of; may be missing"),
  Argument.withMetavar("DB"),
)

const dryRun = Flag.Boolean("dry-run").pipe(
  Flag.withDescription("Look at everything, check the backup, and say what would be done; nothing is changed"),
  Flag.withDefault(false),
)

/** A database that is none is advised what to do about it. */
const advised = <A, E extends Error, R>(backup: string, self: Effect.Effect<A, Restore.RestoreError | E, R>) =>
  Effect.mapError(self, (error) =>
    error instanceof Restore.RestoreError && error.reason === "NotWhole"
      ? new CommandError({ detail: `${error.message}: ${command("seawall backup", backup)}` })
      : error,
  )

export const restore = Command.make(
  "restore",
  { backup: source, database: target, dryRun, json: OneShot.json },
  ({ backup, database, dryRun, json }) =>
    OneShot.run(
      "restore",
      Effect.gen(function* () {
        if (dryRun) {
          const { bytes, keeps } = yield* advised(backup, Restore.plan({ backup, file: database }))
          const rows = [
            ["would restore", database],
            ["from", `${backup} (${size(bytes)}, passes its check)`],
            ...keeps.map((name) => ["would keep", `${name}, under another name`]),
          ]
          const plan = { file: database, backup, bytes, keeps, dry_run: true }
          yield* Console.log(json ? JSON.stringify(plan) : OneShot.table(rows))
          return ExitCode.ended
        }
        const restoring = Restore.restore({ backup, file: database })
        const { file, kept } = yield* advised(backup, withoutEngine(database)(restoring))
        const rows = [["restored", file], ["from", backup], ...kept.map((name) => ["kept", name])]
        yield* Console.log(json ? JSON.stringify({ file, backup, kept }) : OneShot.table(rows))
        return ExitCode.ended
      }),
      { progress: true },
    ),
).pipe(
  Command.withShortDescription("Put a backup in the place of a database"),
  Command.withDescription(
    `Put a backup in the place of a database. The backup is checked first (quick_check). The replaced database is kept beside it, with its WAL, as DB.replaced.<UTC stamp>; nothing is overwritten or removed. The database has the owner and the mode of the one it takes the place of, else those of its folder; a warning says when this user may not give them. Refused while an engine runs on the database, and while a process has it open (seen on Linux; of another user's process once it has used the WAL).

Exit codes:
  0   restored
  1   refused or failed: nothing was changed, or the message says under which name the database is now
  65  the backup is damaged: nothing was changed`,
  ),
  Command.withExamples([
    { command: "seawall restore app.db.post.20261123T081530123Z app.db --dry-run", description: "Rehearse it" },
    { command: "seawall restore app.db.post.20261123T081530123Z app.db", description: "Go back to a clean end" },
  ]),
)
