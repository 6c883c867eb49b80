/**
 * `seawall status DB`: how long the log of a database is, who has it open and what its engine says, once or over and over.
 *
 * Only asks and prints. What one look may touch, and what it leaves alone, is said in `operator/Look.ts`.
 */
import { Console, DateTime, Duration, Effect, Option, Ref, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import * as DatabaseStatus from "../status/DatabaseStatus.ts"
import { following, type Status, StatusJson } from "../status/DatabaseStatus.ts"
import * as ExitCode from "./ExitCode.ts"
import * as OneShot from "./OneShot.ts"
import * as StatusTable from "./StatusTable.ts"

const flags = {
  db: OneShot.database,
  json: OneShot.json,
  watch: Flag.Boolean("watch").pipe(
    Flag.withDescription("Look again and again until Ctrl+C; with --json one object a line"),
    Flag.withDefault(false),
  ),
  intervalSeconds: Flag.Finite("interval-seconds").pipe(
    Flag.withDescription("With --watch: from the end of one look to the next, above 0; default 2"),
    Flag.withMetavar("SECONDS"),
    Flag.filter(
      (seconds) => seconds > 0,
      () => "a number of seconds above 0",
    ),
    Flag.withDefault(2),
  ),
}

type Input = Command.Command.Config.Infer<typeof flags>

const show = (status: Status, { json }: Input) =>
  json ? Effect.orDie(Schema.encodeEffect(StatusJson)(status)) : Effect.succeed(StatusTable.render(status))

const Failure = Schema.fromJsonString(
  Schema.Struct({ file: Schema.String, looked_at: Schema.String, error: Schema.String }),
)

const showFailure = Effect.fnUntraced(function* (error: Error, { db, json }: Input) {
  if (!json) return error.message
  const looked_at = DateTime.formatIso(yield* DateTime.now)
  return yield* Effect.orDie(Schema.encodeEffect(Failure)({ file: db, looked_at, error: error.message }))
})

/** Draws over what was there, line by line, so that nothing flickers; then takes away what was longer. */
const redraw = (text: string) =>
  Effect.sync(() => process.stdout.write(`\x1b[H${text.replaceAll("\n", "\x1b[K\n")}\x1b[K\n\x1b[J`))

const clearScreen = Effect.sync(() => process.stdout.write("\x1b[2J"))

/** Ctrl+C, its relatives, and a reader of the output that has gone. The first one counts. */
const ended = Effect.callback<void>((resume) => {
  const end = () => resume(Effect.void)
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const
  signals.forEach((signal) => process.on(signal, end))
  process.stdout.on("error", end)
  return Effect.sync(() => {
    signals.forEach((signal) => process.off(signal, end))
    process.stdout.off("error", end)
  })
})

/** A database that is not there at first is a mistyped path; one that goes away later may come back. */
const watch = Effect.fnUntraced(function* (input: Input) {
  const isDrawn = process.stdout.isTTY && !input.json
  const print = (text: string) => (isDrawn ? redraw(text) : Console.log(input.json ? text : `${text}\n`))
  const before = yield* Ref.make(Option.none<Status>())
  const note = Effect.fnUntraced(function* (status: Status) {
    const now = following(yield* Ref.get(before), status)
    yield* Ref.set(before, Option.some(now))
    yield* print(yield* show(now, input))
  })
  const first = yield* DatabaseStatus.read(input.db)
  if (isDrawn) yield* clearScreen
  yield* note(first)
  const again = DatabaseStatus.read(input.db).pipe(
    Effect.flatMap(note),
    Effect.catch((error) => Effect.flatMap(showFailure(error, input), print)),
  )
  return yield* Effect.forever(Effect.andThen(Effect.sleep(Duration.seconds(input.intervalSeconds)), again))
})

export const status = Command.make(
  "status",
  flags,
  Effect.fnUntraced(function* (input) {
    const once = DatabaseStatus.read(input.db).pipe(
      Effect.flatMap((found) => show(found, input)),
      Effect.flatMap(Console.log),
    )
    const answer = input.watch ? Effect.raceFirst(ended, watch(input)) : once
    yield* OneShot.run("status", Effect.as(answer, ExitCode.ended))
  }),
).pipe(
  Command.withShortDescription("Show the log of a database, who has it open and what its engine says"),
  Command.withDescription(
    `Show how long the log of a database is and how much of it is not yet checkpointed, who has the database open and in which
read slot, and what an engine has stored: its status, its last session and why it halted.

Safe beside a program at work: no lock that a writer or a checkpointer could feel, nothing created, nothing changed. A log
that nobody has open is read, and not recovered.

Exit codes:
  0   shown; --watch ended by Ctrl+C
  1   the database could not be read: no such file, no database, no permission`,
  ),
  Command.withExamples([
    { command: "seawall status data/seawall.db", description: "Once, as a table" },
    { command: "seawall status data/seawall.db --watch --interval-seconds 5", description: "Until Ctrl+C" },
    { command: "seawall status data/seawall.db --json | jq .backlog_frames", description: "For a script" },
  ]),
)
