/**
 * `seawall guard`: the guard as a program of its own, beside programs in any language.
 *
 * Each database has a chain of its own, from its connection up; they close side by side, because none knows of another.
 * One thread checkpoints them all, one after another.
 * A database whose file or WAL was replaced is left alone from then on, its connection open until the process ends: closing
 * it would remove the WAL that has its name now. https://www.sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use
 */
import { Clock, Duration, Effect, Layer, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as Dashboard from "../dashboard/Dashboard.ts"
import * as DatabaseSource from "../dashboard/DatabaseSource.ts"
import { clean } from "../files/Printable.ts"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import * as GuardedDatabase from "../wal/GuardedDatabase.ts"
import * as GuardConfig from "./GuardConfig.ts"
import * as GuardedSet from "./GuardedSet.ts"
import * as NumberFlag from "./NumberFlag.ts"
import * as Ready from "./Ready.ts"
import * as StatusLine from "./StatusLine.ts"
import * as LongRunning from "./LongRunning.ts"
import * as DashboardFlags from "./DashboardFlags.ts"

const flags = {
  databases: Argument.String("db").pipe(
    Argument.withDescription("SQLite databases in WAL mode, and folders that hold some"),
    Argument.withMetavar("DB"),
    Argument.variadic(),
  ),
  config: Flag.String("config").pipe(
    Flag.withDescription("Configuration file (YAML) with a section guard; flags come before it"),
    Flag.withMetavar("FILE"),
    Flag.optional,
  ),
  intervalSeconds: NumberFlag.interval(
    "interval-seconds",
    "Time from the end of one checkpoint to the start of the next; default 60",
  ).pipe(Flag.optional),
  maxFrames: NumberFlag.whole(
    "max-frames",
    "Length of the WAL, in frames, that is held beside the interval; 0 = off, default 4000",
    "FRAMES",
    4000,
  ).pipe(Flag.optional),
  strict: Flag.Boolean("strict").pipe(
    Flag.withDescription(
      "Do not start when one of the databases cannot be guarded; without it, that one is tried again",
    ),
    Flag.withDefault(false),
  ),
  allowNetworkFileSystem: Flag.Boolean("allow-network-file-system").pipe(
    Flag.withDescription("WAL over a network file system corrupts; guard it there all the same"),
    Flag.withDefault(false),
  ),
  logFormat: LongRunning.logFormat,
  ...DashboardFlags.flags,
}

type Input = Command.Command.Config.Infer<typeof flags>

/** A flag that was not given overrides nothing. */
const given = (input: Input): GuardConfig.Flags => {
  const some = <A>(name: string, value: Option.Option<A>) =>
    Option.match(value, { onNone: () => ({}), onSome: (it) => ({ [name]: it }) })
  return {
    config: input.config,
    overrides: {
      ...(input.databases.length > 0 ? { databases: input.databases } : {}),
      ...some("interval_seconds", input.intervalSeconds),
      ...some("max_frames", input.maxFrames),
      ...(input.strict ? { strict: true } : {}),
      ...(input.allowNetworkFileSystem ? { allow_network_file_system: true } : {}),
    },
  }
}

const chain = (filename: string, settings: GuardConfig.Settings) =>
  GuardedDatabase.layer({
    filename,
    create: false,
    requireWal: true,
    durability: "normal",
    allowNetworkFileSystem: settings.allow_network_file_system,
    interval: Duration.seconds(settings.interval_seconds),
    maxFrames: settings.max_frames,
    writers: "elsewhere",
  })

/** Each file once: a second connection's end would drop the locks of the first. */
const distinct = Effect.fnUntraced(function* (names: ReadonlyArray<string>) {
  const { files, repeated } = DatabaseFile.distinct(names)
  for (const { as, file } of repeated) {
    yield* Effect.annotateLogs(Effect.logInfo("database named twice"), { database: file, guarded_as: as })
  }
  return files
})

/** How often folders are looked into, and what could not be guarded is tried again. */
const lookInterval = "5 seconds"

/** How often it is said that all is well. */
const summaryInterval = Duration.minutes(1)

/** All of them in one line; what is wrong with one has lines of its own. */
const sumUp = Effect.fnUntraced(function* (watched: ReadonlyArray<DatabaseSource.Watched>) {
  const statuses = yield* Effect.forEach(watched, (it) => DatabaseSource.make(it).now)
  const sum = (of: (status: (typeof statuses)[number]) => number | null) =>
    statuses.reduce((all, status) => all + (of(status) ?? 0), 0)
  const since = (yield* Clock.currentTimeMillis) - Duration.toMillis(summaryInterval)
  const finished = yield* Effect.forEach(watched, ({ guard }) => Effect.map(guard.status, (it) => it.finished))
  return {
    databases: statuses.length,
    log_frames: sum(({ log_frames }) => log_frames),
    backlog_frames: sum(({ backlog_frames }) => backlog_frames),
    checkpoints: finished.flat().filter(({ at }) => at >= since).length,
    troubled: statuses
      .filter(({ blocked, failures, state }) => blocked !== null || failures > 0 || state === "replaced")
      .map(({ name }) => name),
  }
})

const statusLine = Effect.fnUntraced(function* (watched: ReadonlyArray<DatabaseSource.Watched>, waiting: number) {
  const { backlog_frames, databases, log_frames, troubled } = yield* sumUp(watched)
  const [first = "", ...more] = troubled.map(clean)
  const trouble = first === "" ? "all well" : `look at ${first}${more.length === 0 ? "" : ` and ${more.length} more`}`
  const tried = waiting === 0 ? "" : `, ${waiting} not guarded`
  return `${databases} guarded${tried}  WAL ${log_frames} frames, ${backlog_frames} not checkpointed  ${trouble}`
})

const guardAll = Effect.fnUntraced(function* (input: Input, settings: GuardConfig.Settings) {
  const names = yield* distinct(settings.databases)
  const set = yield* GuardedSet.make({
    names,
    open: (file) =>
      Effect.flatMap(Layer.build(chain(file, settings)), (context) =>
        Effect.provideContext(Dashboard.databaseSource, context),
      ),
  })
  const [first, ...others] = yield* set.look
  const { length } = yield* set.watched
  if (first !== undefined && (settings.strict || length === 0)) return yield* Effect.fail(first.error)
  if (first !== undefined) yield* set.say([first, ...others])
  let waiting = first === undefined ? 0 : 1 + others.length
  yield* DashboardFlags.start(input, { databases: set.watched })
  const again = Effect.flatMap(set.look, (missing) => {
    waiting = missing.length
    return set.say(missing)
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(lookInterval), again)))
  const summary = Effect.gen(function* () {
    const { backlog_frames, checkpoints, databases, log_frames, troubled } = yield* sumUp(yield* set.watched)
    if (troubled.length > 0) return
    yield* Effect.annotateLogs(Effect.logInfo("all databases are guarded"), {
      databases,
      log_frames,
      backlog_frames,
      checkpoints,
    })
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(summaryInterval), summary)))
  const { show } = yield* StatusLine.StatusLine
  yield* show(Effect.flatMap(set.watched, (watched) => statusLine(watched, waiting)))
  yield* Ready.say
  return yield* Effect.never
})

export const guard = Command.make("guard", flags, (input) =>
  LongRunning.run({
    logFormat: input.logFormat,
    databases: Infinity,
    isSummedUp: true,
    running: Effect.flatMap(GuardConfig.load(given(input)), (settings) => guardAll(input, settings)),
  }),
).pipe(
  Command.withShortDescription("Keep the WAL of databases written by other programs short"),
  Command.withDescription(
    `Keep the WALs of databases short that other programs write, in any language: PASSIVE checkpoints by interval and by size, on a thread, which make no other process wait. The process that blocks is named (Linux).

The programs that write should set PRAGMA wal_autocheckpoint = 0, so that their commits no longer pay for checkpoints. SQLite restarts a WAL only when a write finds every frame copied: the WAL of a program that leaves gaps between its writes is bounded; for one that never pauses the guard says so ("cannot bound the WAL", WriterBusy), and that program has to checkpoint, or pause for some milliseconds, by itself.

A database that is missing or cannot be guarded is said (WARN) and tried again every few seconds, and folders are looked at again; --strict refuses to start then. The configuration file and the environment have the same settings: guard.databases, guard.interval_seconds (SEAWALL_GUARD_INTERVAL_SECONDS), ... While all is well one line a minute says so; --log-level debug shows each checkpoint. Under systemd with Type=notify it says when it is ready (NotifyAccess=all).

Stop it with Ctrl+C, SIGTERM or SIGHUP. The WAL is then emptied, if no other process has the database open.

Exit codes:
  0   stopped by a signal
  1   failure: no database that can be guarded (with --strict: one that cannot), because it cannot be opened or is not in WAL mode, under whose name a process has another file open, one that was replaced while it was guarded ("database replaced"), or a step of the close that failed
  78  the configuration is wrong
  137 killed by itself (SIGKILL): a checkpoint hangs inside SQLite`,
  ),
  Command.withExamples([
    { command: "seawall guard app.db", description: "One database" },
    { command: "seawall guard --interval-seconds 10 data/*.db", description: "Many, more often" },
    { command: "seawall guard data/", description: "All databases of a folder, also those that come later" },
  ]),
)
