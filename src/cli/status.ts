/**
 * `seawall status DB...`: how long the WALs of databases are, who has them open and what their engines say, once or over and over.
 *
 * Only asks and prints. What one look may touch, and what it leaves alone, is said in `status/DatabaseStatus.ts`.
 */
import { Console, Effect, Option, Result, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import * as NamedDatabases from "../facts/NamedDatabases.ts"
import * as DatabaseStatus from "../status/DatabaseStatus.ts"
import * as Looks from "./Looks.ts"
import * as NumberFlag from "./NumberFlag.ts"
import * as OnServer from "./OnServer.ts"
import * as OneShot from "./OneShot.ts"
import * as Several from "./Several.ts"
import * as StatusTable from "./StatusTable.ts"

const flags = {
  databases: OnServer.databases,
  store: OnServer.store,
  json: OneShot.json,
  watch: Flag.Boolean("watch").pipe(
    Flag.withDescription("Look again and again until Ctrl+C; with --json one object a line"),
    Flag.withDefault(false),
  ),
  intervalSeconds: NumberFlag.interval(
    "interval-seconds",
    "With --watch: from the end of one look to the next; default 2",
  ).pipe(Flag.withDefault(2)),
}

type Input = Command.Command.Config.Infer<typeof flags>

/** Number of looks that share one walk through the processes, which is most of what a look costs. */
const concurrency = 8

/** The processes that had each database open at the last look. */
type Before = ReadonlyMap<string, Pick<DatabaseStatus.Status, "opened_by">>

/**
 * Looks at each database that is named now. As JSON each is printed at once; for eyes, one is told at length, and of several each
 * is a row. The failures are the caller's to tell.
 */
const lookAtFiles = Effect.fnUntraced(function* ({ databases, json, watch }: Input, last: Option.Option<Before>) {
  const before = Option.getOrElse(last, (): Before => new Map())
  const { failures, files } = yield* NamedDatabases.find(databases)
  const failed: Array<Looks.Look<Before>["failed"][number]> = failures.map((error) => [{ file: error.file }, error])
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
            failed.push([{ file }, error])
            const known = before.get(file)
            if (known !== undefined) seen.set(file, known) // it may come back
          }),
      }),
  })
  if (rows.length > 0) text = Option.some(OneShot.table([StatusTable.head, ...rows]))
  return { text, failed, seen: seen.size === 0 ? Option.none<Before>() : Option.some<Before>(seen) }
})

/** Looks at the engine of a server. */
const lookAtServer = Effect.fnUntraced(function* ({ json }: Input) {
  const config = yield* OnServer.config
  const { encode, read } = yield* OnServer.load(() => import("./statusOnServer.ts"))
  const failed = (error: Error): Looks.Look<Before> => ({
    text: Option.none(),
    failed: [[{ store: "postgres" }, error]],
    seen: Option.none(),
  })
  return yield* Effect.matchEffect(read(config), {
    onFailure: (error) => Effect.succeed(failed(error)),
    onSuccess: Effect.fnUntraced(function* (status) {
      if (json) yield* Console.log(yield* encode(status))
      const text = json ? Option.none() : Option.some(StatusTable.renderServer(status))
      return { text, failed: [], seen: Option.some<Before>(new Map()) }
    }),
  })
})

export const status = Command.make("status", flags, (input) =>
  OneShot.run(
    "status",
    Effect.andThen(OnServer.databasesOf(input.store, input.databases), () => {
      const options = {
        ...input,
        command: "status",
        look: (before: Option.Option<Before>) =>
          input.store === "postgres" ? lookAtServer(input) : lookAtFiles(input, before),
      }
      return input.watch ? Looks.watch(options) : Looks.once(options)
    }),
  ),
).pipe(
  Command.withShortDescription("Show the WAL of databases, who has them open and what their engines say"),
  Command.withDescription(
    `Show how long the WAL of a database is and how much of it is not yet checkpointed, who has the database open and in which
read slot, and what an engine has stored: its status, its last session and why it halted. Each of several databases is a row;
with --json each is an object on a line of its own.

${Several.help}

Safe beside a program at work: no lock that a writer or a checkpointer could feel, nothing created, nothing changed. A WAL
that no process has open is read, and not recovered.

With --store postgres, and without DB: who leads the engine of SEAWALL_POSTGRES_URL, in SEAWALL_POSTGRES_SCHEMA (default seawall),
since when, when the server last heard of it, who stands by, and what it has stored.

Exit codes:
  0   shown, each of them; --watch ended by Ctrl+C
  1   a database could not be read: no such file, no database, no permission, a folder without databases; standard error says which.
      With --watch: none could be shown at first
  78  DB and --store do not fit, or SEAWALL_POSTGRES_URL is missing or wrong`,
  ),
  Command.withExamples([
    { command: "seawall status data/seawall.db", description: "Once, as a table" },
    { command: "seawall status data/ /srv/app/app.db", description: "All of a folder and one more, a row each" },
    { command: "seawall status data/seawall.db --watch --interval-seconds 5", description: "Until Ctrl+C" },
    { command: "seawall status data/ --json | jq .backlog_frames", description: "For a script" },
    { command: "seawall status --store postgres", description: "Who leads an engine on a server" },
  ]),
)
