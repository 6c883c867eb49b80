/**
 * `seawall guard`: the guard as a program of its own, beside programs in any language.
 *
 * Each database has a chain of its own, from its connection up; they close side by side, because none knows of another.
 * One thread checkpoints them all, one after another.
 * A database whose file or WAL was replaced is left alone from then on, its connection open until the process ends: closing
 * it would remove the WAL that has its name now. https://www.sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use
 */
import { Duration, Effect, Layer, Scope } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as Dashboard from "../dashboard/Dashboard.ts"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import { about } from "../sqlite/DatabaseName.ts"
import { ensureSameFile } from "../processes/OtherFile.ts"
import * as GuardedDatabase from "../wal/GuardedDatabase.ts"
import * as WalBound from "../wal/WalBound.ts"
import * as WalGuard from "../wal/WalGuard.ts"
import * as LastWriter from "./LastWriter.ts"
import * as NumberFlag from "./NumberFlag.ts"
import * as UntilHalt from "./UntilHalt.ts"
import * as Watch from "./Watch.ts"

const flags = {
  databases: Argument.String("db").pipe(
    Argument.withDescription("SQLite databases in WAL mode; must exist"),
    Argument.withMetavar("DB"),
    Argument.variadic({ min: 1 }),
  ),
  intervalSeconds: NumberFlag.interval(
    "interval-seconds",
    "Time from the end of one checkpoint to the start of the next; default 60",
  ).pipe(Flag.withDefault(Duration.toSeconds(WalGuard.defaultInterval))),
  maxFrames: NumberFlag.whole(
    "max-frames",
    "Length of the log, in frames, that is held beside the interval; 0 = off, default 4000",
    "FRAMES",
    4000,
  ).pipe(Flag.withDefault(WalBound.defaultMaxFrames)),
  allowNetworkFileSystem: Flag.Boolean("allow-network-file-system").pipe(
    Flag.withDescription("WAL over a network file system corrupts; guard it there all the same"),
    Flag.withDefault(false),
  ),
  logFormat: UntilHalt.logFormat,
  ...Watch.flags,
}

type Input = Command.Command.Config.Infer<typeof flags>

const chain = (file: string, { allowNetworkFileSystem, intervalSeconds, maxFrames }: Input) =>
  GuardedDatabase.layer({
    filename: file,
    create: false,
    requireWal: true,
    durability: "normal",
    allowNetworkFileSystem,
    interval: Duration.seconds(intervalSeconds),
    maxFrames,
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

/** Opens a database and guards it; succeeds with what the dashboard watches. */
const guardOne = Effect.fnUntraced(function* (file: string, input: Input, all: Scope.Scope) {
  const context = yield* Layer.buildWithScope(chain(file, input), all)
  return yield* Effect.provideContext(Dashboard.watchedDatabase, context)
})

const guardAll = Effect.fnUntraced(function* (input: Input) {
  const all = yield* Scope.fork(yield* Effect.scope, "parallel")
  const files = yield* distinct(input.databases)
  const beforeAll = { discard: true, concurrency: "unbounded" } as const // one walk through the processes for all of them
  yield* Effect.forEach(files, (file) => about(file)(ensureSameFile(DatabaseFile.resolve(file))), beforeAll)
  yield* Effect.forEach(files, (file) => about(file)(LastWriter.judge(file)), { discard: true })
  const databases = yield* Effect.forEach(files, (file) =>
    Effect.flatMap(Scope.fork(all), (scope) => guardOne(file, input, scope)),
  )
  yield* Watch.start(input, { databases })
  return yield* Effect.never
})

export const guard = Command.make("guard", flags, (input) =>
  UntilHalt.run({
    logFormat: input.logFormat,
    databases: new Set(input.databases).size,
    running: guardAll(input),
  }),
).pipe(
  Command.withShortDescription("Keep the logs of databases short that other programs write"),
  Command.withDescription(
    `Keep the write-ahead logs of databases short that other programs write, in any language: PASSIVE checkpoints by interval and by size, on a thread, which make nobody wait. Who is in the way is named (Linux).

The programs that write should set PRAGMA wal_autocheckpoint = 0, so that their commits no longer pay for checkpoints. A log starts anew only when a write finds it wholly copied: that of a program which leaves gaps between its writes is bounded; for one that never pauses the guard says so ("cannot bound the log", WriterBusy), and that program has to checkpoint, or pause for some milliseconds, by itself.

Stop it with Ctrl+C, SIGTERM or SIGHUP. The log is then emptied, if nobody else has the database open.

Exit codes:
  0   stopped by a signal
  1   failure: a database that cannot be opened or is not in WAL mode, under whose name a process has another file open, one that was replaced while it was guarded ("database replaced"), or a step of the close that failed
  137 killed by itself (SIGKILL): a checkpoint hangs inside SQLite`,
  ),
  Command.withExamples([
    { command: "seawall guard app.db", description: "One database" },
    { command: "seawall guard --interval-seconds 10 data/*.db", description: "Many, more often" },
  ]),
)
