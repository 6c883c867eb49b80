/**
 * `seawall status DB...`: how long the WALs of databases are, who has them open and what their engines say, once or over and over.
 *
 * Only asks and prints. What one look may touch, and what it leaves alone, is said in `status/DatabaseStatus.ts`.
 */
import { Console, DateTime, Duration, Effect, Layer, Option, Ref, Result, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import * as Halt from "../engine/Halt.ts"
import * as Signals from "../engine/Signals.ts"
import * as NamedDatabases from "../facts/NamedDatabases.ts"
import * as DatabaseStatus from "../status/DatabaseStatus.ts"
import * as ExitCode from "./ExitCode.ts"
import * as OneShot from "./OneShot.ts"
import * as Several from "./Several.ts"
import * as StatusTable from "./StatusTable.ts"

const flags = {
  databases: OneShot.databases,
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

/** So many looks share one walk through the processes, which is most of what a look costs. */
const concurrency = 8

/** Who had each database open at the last look. */
type Before = ReadonlyMap<string, Pick<DatabaseStatus.Status, "opened_by">>

/**
 * Looks at each database that is named now. As JSON each is printed at once; for eyes, one is told at length, and of several each
 * is a row. The failures are the caller's to tell.
 */
const look = Effect.fnUntraced(function* ({ databases, json, watch }: Input, before: Before) {
  const { failures, files } = yield* NamedDatabases.find(databases)
  const failed: Array<readonly [file: string, error: Error]> = failures.map((error) => [error.file, error])
  const seen = new Map<string, Pick<DatabaseStatus.Status, "opened_by">>()
  const rows: Array<ReadonlyArray<string>> = []
  let text = Option.none<string>()
  const tell = Effect.fnUntraced(function* (found: DatabaseStatus.Status) {
    const status = watch ? DatabaseStatus.following(Option.fromUndefinedOr(before.get(found.file)), found) : found
    seen.set(found.file, { opened_by: status.opened_by })
    if (json) yield* Console.log(yield* Effect.orDie(Schema.encodeEffect(DatabaseStatus.StatusJson)(status)))
    else if (files.length === 1) text = Option.some(StatusTable.render(status))
    else rows.push(StatusTable.row(status))
  })
  yield* Several.each({
    files,
    concurrency,
    ask: DatabaseStatus.read,
    tell: (answer, file) =>
      Result.match(answer, {
        onSuccess: tell,
        onFailure: (error) =>
          Effect.sync(() => {
            failed.push([file, error])
            const last = before.get(file)
            if (last !== undefined) seen.set(file, last) // it may come back
          }),
      }),
  })
  if (rows.length > 0) text = Option.some(OneShot.table([StatusTable.head, ...rows]))
  return { text, failed, seen }
})

/** Looks once; a failure is said on standard error. */
const once = Effect.fnUntraced(function* (input: Input) {
  const { failed, text } = yield* look(input, new Map())
  if (Option.isSome(text)) yield* Console.log(text.value)
  const codes = yield* Effect.forEach(failed, ([, error]) => OneShot.refuse("status", error))
  return ExitCode.worst(codes)
})

const Failure = Schema.fromJsonString(
  Schema.Struct({ file: Schema.String, looked_at: Schema.String, error: Schema.String }),
)

/** Draws over what was there, line by line, so that nothing flickers; then takes away what was longer. */
const redraw = (text: string) =>
  Effect.sync(() => process.stdout.write(`\x1b[H${text.replaceAll("\n", "\x1b[K\n")}\x1b[K\n\x1b[J`))

const clearScreen = Effect.sync(() => process.stdout.write("\x1b[2J"))

/** The reader of the output, such as `head`, has gone. */
const readerGone = Effect.callback<void>((resume) => {
  const end = () => resume(Effect.void)
  process.stdout.on("error", end)
  return Effect.sync(() => process.stdout.off("error", end))
})

/** Ctrl+C, its relatives, or that. The first one counts. */
const ended = Effect.raceFirst(Effect.asVoid(Halt.Halt.use(({ awaitRequest }) => awaitRequest)), readerGone).pipe(
  Effect.provide(Layer.provideMerge(Signals.layer, Halt.layer)),
)

/** Names of which none is a database at first are mistyped; a database that goes away later may come back. */
const watch = Effect.fnUntraced(function* (input: Input) {
  const isDrawn = process.stdout.isTTY && !input.json
  const print = (text: string) => (isDrawn ? redraw(text) : Console.log(`${text}\n`))
  const before = yield* Ref.make<Before>(new Map())
  const tell = Effect.fnUntraced(function* ({ failed, seen, text }: Effect.Success<ReturnType<typeof look>>) {
    yield* Ref.set(before, seen)
    if (!input.json) return yield* print([...Option.toArray(text), ...failed.map(([, it]) => it.message)].join("\n"))
    const looked_at = DateTime.formatIso(yield* DateTime.now)
    for (const [file, { message: error }] of failed) {
      yield* Console.log(yield* Effect.orDie(Schema.encodeEffect(Failure)({ file, looked_at, error })))
    }
  })
  const first = yield* look(input, new Map())
  if (first.seen.size === 0) {
    const codes = yield* Effect.forEach(first.failed, ([, error]) => OneShot.refuse("status", error))
    return ExitCode.worst(codes)
  }
  if (isDrawn) yield* clearScreen
  yield* tell(first)
  const again = Ref.get(before).pipe(
    Effect.flatMap((seen) => look(input, seen)),
    Effect.flatMap(tell),
  )
  return yield* Effect.forever(Effect.andThen(Effect.sleep(Duration.seconds(input.intervalSeconds)), again))
})

export const status = Command.make("status", flags, (input) =>
  OneShot.run("status", input.watch ? Effect.raceFirst(Effect.as(ended, ExitCode.ended), watch(input)) : once(input)),
).pipe(
  Command.withShortDescription("Show the WAL of databases, who has them open and what their engines say"),
  Command.withDescription(
    `Show how long the WAL of a database is and how much of it is not yet checkpointed, who has the database open and in which
read slot, and what an engine has stored: its status, its last session and why it halted. Of several databases each is a row;
with --json each is an object on a line of its own.

${Several.help}

Safe beside a program at work: no lock that a writer or a checkpointer could feel, nothing created, nothing changed. A WAL
that no process has open is read, and not recovered.

Exit codes:
  0   shown, each of them; --watch ended by Ctrl+C
  1   a database could not be read: no such file, no database, no permission, a folder without databases; standard error says which.
      With --watch: none could be shown at first`,
  ),
  Command.withExamples([
    { command: "seawall status data/seawall.db", description: "Once, as a table" },
    { command: "seawall status data/ /srv/app/app.db", description: "All of a folder and one more, a row each" },
    { command: "seawall status data/seawall.db --watch --interval-seconds 5", description: "Until Ctrl+C" },
    { command: "seawall status data/ --json | jq .backlog_frames", description: "For a script" },
  ]),
)
