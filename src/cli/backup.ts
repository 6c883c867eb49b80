/** `seawall backup`: one checked copy of a database, whichever processes have it open. */
import { Clock, Console, Effect, FileSystem, Option, Path } from "effect"
import { Argument, Command } from "effect/cli"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import { printable } from "../files/Printable.ts"
import * as SystemError from "../files/SystemError.ts"
import { ensureSameFile } from "../processes/OtherFile.ts"
import * as Backup from "../sqlite/copies/Backup.ts"
import { next, warnAhead } from "../sqlite/copies/BackupFiles.ts"
import { locate } from "../sqlite/DatabasePath.ts"
import { command } from "../sqlite/ShellCommand.ts"
import * as DatabaseHeader from "../sqlite/outside/DatabaseHeader.ts"
import * as ExitCode from "./ExitCode.ts"
import * as OneShot from "./OneShot.ts"
import { CommandError } from "./CommandError.ts"

const destination = Argument.String("dest").pipe(
  Argument.withDescription("File that the copy gets, or a folder for it; default beside the database"),
  Argument.withMetavar("DEST"),
  Argument.optional,
)

/** The name of the copy: as it was given, or with a stamp in the folder that was given, or beside the database. */
const nameFor = Effect.fnUntraced(function* (file: string, given: Option.Option<string>) {
  const path = yield* Path.Path
  const folder = Option.filter(given, (name) => DatabaseFile.look(name)?.kind === "folder")
  if (Option.isSome(given) && Option.isNone(folder)) return given.value
  const beside = Option.match(folder, { onNone: () => file, onSome: (into) => path.join(into, path.basename(file)) })
  const { ahead, name } = yield* next(beside, "manual")
  if (Option.isSome(ahead)) yield* warnAhead(ahead.value)
  return name
})

/** A script gets the name as it is. */
const shown = (name: string) => (process.stdout.isTTY ? printable(name) : name)

export const backup = Command.make(
  "backup",
  { database: OneShot.database, destination, json: OneShot.json },
  ({ database: file, destination: given, json }) =>
    OneShot.run(
      "backup",
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        yield* locate({ file, create: false, readOnly: true, oneName: true })
        yield* DatabaseHeader.read(file)
        yield* ensureSameFile(DatabaseFile.resolve(file))
        const name = yield* nameFor(file, given)
        const start = yield* Clock.currentTimeMillis
        const made = yield* Effect.provide(
          Effect.flatMap(Backup.Backup, ({ runTo }) => runTo(name)),
          Backup.layer({ file }),
        ).pipe(
          Effect.mapError((error) =>
            Option.isNone(given) && SystemError.codeOf(error) !== undefined
              ? new CommandError({
                  detail: `${error.message}; name a destination elsewhere: ${command("seawall backup", file, "DEST")}`,
                })
              : error,
          ),
        )
        const bytes = Number((yield* fs.stat(made)).size)
        const elapsed_ms = (yield* Clock.currentTimeMillis) - start
        yield* Console.log(json ? JSON.stringify({ file, backup: made, bytes, elapsed_ms }) : shown(made))
        return ExitCode.ended
      }),
      { progress: true },
    ),
).pipe(
  Command.withShortDescription("Copy a database, checked"),
  Command.withDescription(
    `Copy a database through SQLite's online backup, whichever processes have it open: one snapshot, its WAL included. Readers and writers go on; the WAL cannot be emptied until it is done, because the copy reads one snapshot from the first page to the last. Without WAL mode, the copy starts again after each write.

The copy passes quick_check before it gets its name. Without DEST that is DB.manual.<UTC stamp>, which Seawall never removes. A file that has the name already is left as it is. The copy has the owner and the mode of the database, as far as this user may give them. Prints the name of the copy.

Exit codes:
  0   the copy is there, checked
  1   there is none: no such file, no permission, not a database, several hard links, a process that has another file of this name open, the disk, or a copy that did not pass its check`,
  ),
  Command.withExamples([
    { command: "seawall backup app.db", description: "Beside the database" },
    { command: "seawall backup app.db /mnt/usb/", description: "Into a folder" },
  ]),
)
