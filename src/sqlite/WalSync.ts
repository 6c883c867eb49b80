/**
 * Syncs a database's WAL from the thread pool, so that commits become durable while the event loop goes on, and knows whether
 * the database and its WAL are still the files that were opened.
 *
 * Holds one descriptor on `-wal`, which carries no locks: opened on the main thread once SQLite has the file, never
 * reopened, closed just before the connection. All callers that wait when a sync starts share it.
 * A sync that fails ends it: what follows is `Refused`, until `resume`. A file that was replaced ends it for good: SQLite goes on
 * writing into a file that has no name any more, and every commit succeeds and is lost.
 * https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
 */
import { Context, Deferred, Duration, Effect, Metric, Option, type Scope } from "effect"
import { constUndefined, constVoid } from "effect/Function"
import * as fs from "node:fs"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import * as Batching from "./Batching.ts"
import { DurabilityError } from "../sql/Durability.ts"
import type { ExposureTracker } from "./Exposure.ts"
import * as Pulse from "./Pulse.ts"

/** The system call; another one stands in for it where a disk must fail, or be slow, on demand. */
export class Fdatasync extends Context.Reference<(descriptor: number) => Effect.Effect<void, unknown>>(
  "seawall/sqlite/Fdatasync",
  {
    defaultValue: () => (descriptor) =>
      Effect.callback((resume) => {
        fs.fdatasync(descriptor, (error) => resume(error === null ? Effect.void : Effect.fail(error)))
      }),
  },
) {}

/** Changes when the WAL is written, by whatever process; two writes within a tick of the system's clock may have the same. */
export interface Stamp {
  readonly size: number
  readonly mtimeMs: number
}

export const isSameStamp = (one: Stamp | undefined, other: Stamp | undefined): boolean =>
  one !== undefined && other !== undefined && one.size === other.size && one.mtimeMs === other.mtimeMs

export interface WalSync {
  /** Everything that was committed before this starts is on disk when it succeeds. */
  readonly durable: Effect.Effect<void, DurabilityError>
  /** Why nothing is acknowledged any more, if so. */
  readonly refusal: () => DurabilityError | undefined
  /** Succeeds when something could not be synced. */
  readonly failed: Effect.Effect<DurabilityError>
  /** Resumes acknowledgements. Call only after a complete checkpoint and a sync of the database file. */
  readonly resume: () => void
  /** Looks whether the database, its WAL and the index of that are still the files that were opened: `stat`, no descriptor, no lock. */
  readonly lookForReplacement: Effect.Effect<Option.Option<DurabilityError>>
  /** Succeeds once a look, or a sync, has found one of them replaced. */
  readonly replaced: Effect.Effect<DurabilityError>
  /** The stamp of the WAL now, a microsecond to ask; none where the system does not tell. */
  readonly stamp: () => Stamp | undefined
  /** Which WAL was opened, and its index. */
  readonly opened: Pick<DatabaseFile.OpenedFiles, "wal" | "shm">
}

/** A second: what is acknowledged into a file without a name is bounded by it. */
const lookInterval = Duration.seconds(1)

/** Intervals between two looks while nothing is committed here: nothing is acknowledged then, and hundreds of databases may be idle. */
const intervalsAtRest = 5

/** Maximum number of waiters that share one sync; the others wait for the next. */
const mostWaiters = 16_384

const durationSeconds = Metric.histogram("seawall_log_sync_duration_seconds", {
  description: "How long a sync of the WAL took, in seconds",
  boundaries: [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1],
})

/** On Windows size and time may be those of the last close. */
const stampOf = (descriptor: number): WalSync["stamp"] => {
  if (process.platform === "win32") return constUndefined
  const stat = Option.liftThrowable(() => fs.fstatSync(descriptor))
  return () => Option.getOrUndefined(stat())
}

type Waiter = Deferred.Deferred<void, DurabilityError>

/** `identity` is that of the database file when it was opened. */
export const make = Effect.fnUntraced(function* (
  { given: file, path, shm, wal: log }: DatabaseFile.DatabaseFile,
  identity: DatabaseFile.Identity,
  exposure: ExposureTracker,
): Effect.fn.Return<WalSync, DurabilityError, Scope.Scope> {
  const fdatasync = yield* Fdatasync
  const descriptor = yield* Effect.try({
    try: () => fs.openSync(log, "r+"),
    catch: (cause) => new DurabilityError({ reason: "SyncFailed", file, cause }),
  })
  const wal = DatabaseFile.identityOf(descriptor)
  /** None where SQLite keeps the index in memory. */
  const index = DatabaseFile.look(shm)?.identity
  const replaced = Deferred.makeUnsafe<DurabilityError>()
  let failed = Deferred.makeUnsafe<DurabilityError>()
  let refusal: DurabilityError | undefined
  let isSyncing = false

  const refuse = (cause: DurabilityError) => {
    if (refusal !== undefined && cause.reason !== "Replaced") return
    refusal = cause.reason === "Replaced" ? cause : new DurabilityError({ reason: "Refused", file, cause })
    Deferred.doneUnsafe(failed, Effect.succeed(cause))
  }

  const whatChanged = (): string | undefined => {
    for (const [name, opened] of [
      [path, identity],
      [log, wal],
      [shm, index],
    ] as const) {
      const now = opened === undefined ? "unknown" : DatabaseFile.identityAt(name)
      if (now === "gone") return `${name} was removed`
      if (now !== "unknown" && now !== opened) return `another file has the name ${name}`
    }
    return undefined
  }
  const lookForReplacement = Effect.suspend(() => {
    if (refusal?.reason === "Replaced") return Effect.succeedSome(refusal)
    const changed = whatChanged()
    if (changed === undefined) return Effect.succeedNone
    const error = new DurabilityError({ reason: "Replaced", file, cause: new Error(changed) })
    refuse(error)
    Deferred.doneUnsafe(replaced, Effect.succeed(error))
    return Effect.logError("database replaced").pipe(
      Effect.annotateLogs({
        file,
        changed,
        danger: "what was committed since may be lost; nothing more is written, acknowledged, checkpointed or closed",
        advice: `end every program that has the old file open; where ${log} belonged to that, move it and ${shm} away before anything opens the new file, which would take it over`,
      }),
      Effect.andThen(Effect.flatMap(Shutdown.Shutdown, (shutdown) => shutdown.recordFailure("database replaced"))),
      Effect.as(Option.some(error)),
    )
  })

  const sync = Effect.gen(function* () {
    if (refusal !== undefined) return yield* refusal
    isSyncing = true
    const covered = yield* exposure.syncing
    const failed = (cause: unknown) => new DurabilityError({ reason: "SyncFailed", file, cause })
    const [took] = yield* Effect.timed(Effect.mapError(fdatasync(descriptor), failed))
    yield* Metric.update(durationSeconds, Duration.toSeconds(took))
    // Syncing an unlinked file succeeds and proves nothing.
    const changed = yield* lookForReplacement
    if (Option.isSome(changed)) return yield* changed.value
    return yield* covered
  }).pipe(
    Effect.tapError((error) => Effect.sync(() => refuse(error))),
    Effect.ensuring(
      Effect.sync(() => {
        isSyncing = false
      }),
    ),
  )

  const waiting = yield* Batching.make({ capacity: mostWaiters, gathers: false }, (waiters: ReadonlyArray<Waiter>) =>
    Effect.map(Effect.exit(sync), (exit) => {
      for (const waiter of waiters) Deferred.doneUnsafe(waiter, exit)
    }),
  )

  const fork = Effect.runForkWith(yield* Effect.context())
  let looked = -1
  let sinceLook = 0
  yield* Pulse.every(lookInterval, () => {
    const commits = exposure.commits()
    if (++sinceLook < intervalsAtRest && commits === looked) return
    looked = commits
    sinceLook = 0
    // A fiber only for what is found.
    if (refusal?.reason !== "Replaced" && whatChanged() !== undefined) fork(lookForReplacement)
  })

  // A sync under way would go to whatever gets the number of the descriptor next: that one is left open.
  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      if (!isSyncing) yield* waiting.close // nothing is under way, and nothing comes any more
      else if ((yield* Shutdown.step("last WAL sync", waiting.close)) !== "done") return
      fs.closeSync(descriptor)
    }).pipe(Shutdown.contained("last WAL sync")),
  )

  return {
    durable: Effect.suspend(() => {
      if (refusal !== undefined) return Effect.fail(refusal)
      if (!exposure.isExposed()) return Effect.void
      const waiter: Waiter = Deferred.makeUnsafe()
      return waiting.offer(waiter) ? Deferred.await(waiter) : Effect.fail(closed(file))
    }),
    refusal: () => refusal,
    failed: Effect.suspend(() => Deferred.await(failed)),
    resume: () => {
      refusal = undefined
      failed = Deferred.makeUnsafe()
    },
    lookForReplacement,
    replaced: Deferred.await(replaced),
    stamp: stampOf(descriptor),
    opened: { wal, ...(index === undefined ? {} : { shm: index }) },
  }
})

/** For a read-only connection. */
export const none: WalSync = {
  durable: Effect.void,
  refusal: () => undefined,
  failed: Effect.never,
  resume: constVoid,
  lookForReplacement: Effect.succeedNone,
  replaced: Effect.never,
  stamp: constUndefined,
  opened: {},
}

const closed = (file: string) =>
  new DurabilityError({ reason: "SyncFailed", file, cause: new Error("the database is closed") })
