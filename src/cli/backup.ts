/** `seawall backup`: one checked copy of a database, whoever has it open. */
import { Clock, Console, Effect, FileSystem, Option, Path } from "effect"
import { Argument, Command } from "effect/cli"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import { ensureSameFile } from "../processes/OtherFile.ts"
import * as Backup from "../sqlite/copies/Backup.ts"
import { nameOf } from "../sqlite/copies/BackupFiles.ts"
import { locate } from "../sqlite/DatabasePath.ts"
import * as DatabaseHeader from "../sqlite/outside/DatabaseHeader.ts"
import * as ExitCode from "./ExitCode.ts"
import * as OneShot from "./OneShot.ts"

const destination = Argument.String("dest").pipe(
  Argument.withDescription("File that the copy gets, or a folder for it; default beside the database"),
  Argument.withMetavar("DEST"),
  Argument.optional,
)

/** The name of the copy: as it was given, or with a stamp in the folder that was given, or beside the database. */
const nameFor = Effect.fnUntraced(function* (file: string, given: Option.Option<string>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const stamped = nameOf(file, "manual", yield* Clock.currentTimeMillis)
  if (Option.isNone(given)) return stamped
  const isFolder = yield* fs.stat(given.value).pipe(
    Effect.map(({ type }) => type === "Directory"),
    Effect.orElseSucceed(() => false),
  )
  return isFolder ? path.join(given.value, path.basename(stamped)) : given.value
})

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
        const made = yield* Effect.provide(
          Effect.flatMap(Backup.Backup, ({ runTo }) => runTo(name)),
          Backup.layer({ file }),
        )
        const bytes = Number((yield* fs.stat(made)).size)
        yield* Console.log(json ? JSON.stringify({ file, backup: made, bytes }) : made)
        return ExitCode.ended
      }),
      { progress: true },
    ),
).pipe(
  Command.withShortDescription("Copy a database, checked"),
  Command.withDescription(
    `Copy a database through SQLite's online backup, whoever has it open: one snapshot, its log included. Readers and writers go on; the log cannot be emptied until it is done, because the copy reads one snapshot from the first page to the last. Of a database that is not in WAL mode the copy starts again whenever somebody writes.

The copy passes quick_check before it gets its name. Without DEST that is DB.manual.<UTC stamp>, which Seawall never removes. A file that has the name already is left as it is. Prints the name of the copy.

Exit codes:
  0   the copy is there, checked
  1   there is none: no such file, no permission, not a database, several hard links, a process that has another file of this name open, the disk, or a copy that did not pass its check`,
  ),
  Command.withExamples([
    { command: "seawall backup app.db", description: "Beside the database" },
    { command: "seawall backup app.db /mnt/usb/", description: "Into a folder" },
  ]),
)
