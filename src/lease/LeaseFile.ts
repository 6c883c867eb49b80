/**
 * The file of a lease, `<real path of the database>-lease`: a SQLite database of one page, which says who has it.
 *
 * The lease is the lock of `BEGIN IMMEDIATE` on that file, held until the scope closes. It is a lock of the operating system, so
 * it goes with its process, whatever ends that, and holds across containers; the file that a killed process leaves says
 * nothing. Others can read who has it meanwhile. The file is removed at a clean end, while the lock is still held: a start that gets a
 * lock looks whether the file that has the name now is the locked one, and begins again when it is not.
 * The holder is stored as a view, so that all of it is in the first page, and is there or not when the process is killed. The journal is in
 * memory: one with a name would be taken for that of a later file of the name, and played back into it.
 * Nothing here opens the file but SQLite: https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
 */
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Effect, Exit, Option, Schema, Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient } from "effect/sql"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import { pathToFileURL } from "node:url"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import { reasonOf } from "../sqlite/NativeError.ts"

/** The holder of a lease. */
export const LeaseHolder = Schema.Struct({
  pid: Schema.Int,
  /** Its command line without folders, at most 60 characters. */
  command: Schema.String,
  /** ISO 8601, UTC. */
  since: Schema.String,
  /** The name of its machine, or of its container, where its pid counts. */
  host: Schema.String,
})
export type LeaseHolder = typeof LeaseHolder.Type

/** What the name of a lease ends in, behind the name of its database. */
export const suffix = "-lease"

/** Another process, or another engine of this one, has the lease; none when it has not said who it is yet. */
export class Held extends Schema.TaggedError<Held>()("Held", { holder: Schema.Option(LeaseHolder) }) {}

/** There is another file of that name. */
export class NotALease extends Schema.TaggedError<NotALease>()("NotALease", { what: Schema.String }) {}

/** "seaL", so that a database which merely has this name is neither written nor removed. https://www.sqlite.org/pragma.html#pragma_application_id */
const applicationId = 0x7365614c

/** How long another start may take between its two locks, in milliseconds: a few syncs. The wait blocks the event loop. */
const startTimeout = 200

/** A look waits out another look, which takes microseconds, in milliseconds; a lease is held for longer than that. */
const lookTimeout = 20

/** A replaced file takes another attempt, as does a start that came in between; more than two in a row are rare. */
const attempts = 20

/** How often, and in which interval, the view is looked for that a start is about to write. */
const reads = 10
const readInterval = "20 millis"

type Mode = "rwc" | "rw" | "ro"

/** Runs a statement; what SQLite says against it is a failure. */
type Run = (statement: string) => Effect.Effect<ReadonlyArray<unknown>, unknown>

const open = Effect.fnUntraced(
  function* (lease: string, mode: Mode, timeout: number) {
    const address = pathToFileURL(lease)
    address.searchParams.set("mode", mode)
    const client = yield* SqliteClient.make({ filename: address.href, readonly: mode === "ro", disableWAL: true })
    const connection = yield* client.reserve
    const run: Run = (statement) =>
      Effect.suspend(() => connection.executeValuesUnprepared(statement, [])).pipe(
        Effect.catchDefect(Effect.fail),
        Effect.provideService(SqlClient.SafeIntegers, false),
      )
    yield* run(`PRAGMA busy_timeout = ${timeout}`)
    if (mode !== "ro") yield* run("PRAGMA journal_mode = MEMORY")
    return run
  },
  Effect.catchDefect(Effect.fail), // the driver dies of a file that it cannot open
  Effect.provide(Reactivity.layer),
)

const Row = Schema.Tuple([Schema.Int, Schema.String, Schema.String, Schema.String])

const rowOf = (run: Run) =>
  Effect.map(run("SELECT pid, command, since, host FROM lease"), ([row]) =>
    Option.map(Schema.decodeUnknownOption(Row)(row), ([pid, command, since, host]) => ({ pid, command, since, host })),
  )

const tokenOf = (run: Run) =>
  Effect.map(run("SELECT token FROM lease"), ([row]) => (Array.isArray(row) ? (row[0] as unknown) : undefined))

const write = Effect.fnUntraced(function* (run: Run, { command, host, pid, since }: LeaseHolder, token: string) {
  yield* run(`PRAGMA application_id = ${applicationId}`)
  yield* run("DROP VIEW IF EXISTS lease")
  const texts = [command, since, host, token].map((text) => `'${text.replaceAll("'", "''")}'`)
  yield* run(`CREATE VIEW lease (pid, command, since, host, token) AS SELECT ${[pid, ...texts].join(", ")}`)
})

const ensureLease = Effect.fnUntraced(function* (run: Run) {
  const [id] = yield* run("PRAGMA application_id")
  const [schema] = yield* run("SELECT count(*) FROM sqlite_schema")
  const isOurs = JSON.stringify(id) === JSON.stringify([applicationId]) || JSON.stringify(schema) === "[0]"
  if (!isOurs) return yield* new NotALease({ what: "a database of another program" })
})

const lstat = Option.liftThrowable((at: string) => fs.lstatSync(at))

/** A link could lead to any database. */
const ensureRegular = (lease: string) =>
  Option.exists(lstat(lease), (it) => !it.isFile())
    ? Effect.fail(new NotALease({ what: "not a regular file" }))
    : Effect.void

/** The view says who has the lease; waits for the one that a start is about to write. */
const read = Effect.fnUntraced(function* (lease: string) {
  const once = Effect.option(Effect.scoped(Effect.flatMap(open(lease, "ro", lookTimeout), rowOf)))
  for (let times = 1; ; times++) {
    const row = Option.flatten(yield* once)
    if (Option.isSome(row) || times === reads) return row
    yield* Effect.sleep(readInterval)
  }
})

/** A file that was created only now becomes like the database: another user of that one must be able to take the lease later. */
const makeLike = (lease: string, database: DatabaseFile.Found | undefined) =>
  Effect.try(() => {
    const made = DatabaseFile.look(lease)
    if (database === undefined || made === undefined) return
    fs.chmodSync(lease, (database.mode & 0o666) | 0o600)
    if (made.owner !== database.owner || made.group !== database.group) {
      fs.chownSync(lease, database.owner, database.group)
    }
  }).pipe(Effect.ignore({ log: "Debug", message: "lease does not have the owner and mode of its database" }))

/** The file whose lock is held; none when it has not the name any more, or when another start came in between. */
const attempt = Effect.fnUntraced(function* (lease: string, database: DatabaseFile.DatabaseFile, holder: LeaseHolder) {
  yield* ensureRegular(lease)
  const isNew = DatabaseFile.look(lease) === undefined
  const run = yield* open(lease, "rwc", startTimeout)
  if (isNew) yield* makeLike(lease, database.found)
  yield* run("BEGIN IMMEDIATE")
  yield* ensureLease(run)
  const token = randomUUID()
  yield* write(run, holder, token)
  yield* run("COMMIT")
  yield* run("BEGIN IMMEDIATE")
  // By what is in them: a file of this name may have the inode number of an earlier one, but not the token.
  const locked = tokenOf(run)
  const named = Effect.scoped(Effect.flatMap(open(lease, "ro", lookTimeout), tokenOf))
  for (const found of [locked, named]) {
    if (!Option.contains(yield* Effect.option(found), token)) return Option.none()
  }
  return Option.fromNullishOr(DatabaseFile.look(lease)?.identity)
})

interface Taken {
  readonly lease: string
  readonly identity: DatabaseFile.Identity
  /** The scope of the connection that holds the lock. */
  readonly connection: Scope.Closeable
}

const acquire = Effect.fnUntraced(function* (database: DatabaseFile.DatabaseFile, row: LeaseHolder) {
  const lease = `${database.path}${suffix}`
  for (let times = 0; times < attempts; times++) {
    const connection = yield* Scope.make()
    const exit = yield* Effect.exit(Scope.provide(attempt(lease, database, row), connection))
    if (Exit.isSuccess(exit) && Option.isSome(exit.value)) return { lease, identity: exit.value.value, connection }
    yield* Scope.close(connection, Exit.void)
    yield* Effect.catchIf(
      exit,
      (error) => reasonOf(error) === "Busy",
      () => Effect.flatMap(read(lease), (holder) => new Held({ holder })),
    )
  }
  return yield* new Held({ holder: Option.none() }) // others took it each time
})

/** Locks that must not end before their process does. */
const neverReleased: Array<Scope.Closeable> = []

/** Without a wait on the event loop, so that it is done even when no time is left. */
const release = Effect.fnUntraced(function* ({ connection, identity, lease }: Taken) {
  const { leftBehind } = yield* Shutdown.Shutdown
  // What could not be closed may still write to the database: its lease ends with the process.
  if ((yield* leftBehind).length > 0) return void neverReleased.push(connection)
  if (DatabaseFile.look(lease)?.identity === identity) {
    yield* Effect.try(() => fs.unlinkSync(lease)).pipe(
      Effect.ignore({ log: "Warn", message: "lease file not removed" }),
      Effect.annotateLogs({ lease }),
    )
  }
  yield* Scope.close(connection, Exit.void)
})

/** Takes the lease until the scope closes, or fails: with `Held`, `NotALease`, or what SQLite said. */
export const take = (
  database: DatabaseFile.DatabaseFile,
  row: LeaseHolder,
): Effect.Effect<Taken, unknown, Scope.Scope> =>
  Effect.acquireRelease(acquire(database, row), (taken) =>
    Shutdown.contained("release lease")(Shutdown.step("release lease", release(taken))),
  )

/** Succeeds when the lease is free, with whether its file was left; fails as `take` does. Creates nothing, and waits for no more than a look of another. */
export const probe = Effect.fnUntraced(function* (database: DatabaseFile.DatabaseFile) {
  const lease = `${database.path}${suffix}`
  const at = DatabaseFile.identityAt(lease)
  if (at === "gone") return false
  yield* ensureRegular(lease)
  return yield* Effect.scoped(
    Effect.gen(function* () {
      const run = yield* open(lease, "rw", lookTimeout)
      yield* run("BEGIN IMMEDIATE")
      // Where the file may only be read, SQLite begins all the same, without a lock; this it refuses. It stays in memory.
      yield* run(`PRAGMA application_id = ${applicationId}`)
      yield* run("ROLLBACK")
      return true
    }),
  ).pipe(
    Effect.catchIf(
      (error) => reasonOf(error) === "Busy",
      () => Effect.flatMap(read(lease), (holder) => new Held({ holder })),
    ),
    // The engine ended in order while this looked.
    Effect.catchIf(
      (error) => !(error instanceof Held) && DatabaseFile.identityAt(lease) === "gone",
      () => Effect.succeed(false),
    ),
  )
})
