/**
 * Syncs a database's WAL from the thread pool, so that commits become durable while the event loop goes on.
 *
 * Holds one descriptor on `-wal`, which carries no locks: opened on the main thread once SQLite has the file, never
 * reopened, closed just before the connection. All callers that wait when a sync starts share it.
 * A sync that fails ends it: what follows is `Refused`, until `resume`. A file that was replaced ends it for good (`Replacement`).
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
import * as Replacement from "./Replacement.ts"

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

/** The WAL and its index as they are now. */
const open = ({ given: file, shm, wal }: DatabaseFile.DatabaseFile) =>
  Effect.try({
    try: () => {
      const descriptor = fs.openSync(wal, "r+")
      /** None where SQLite keeps the index in memory. */
      const index = DatabaseFile.look(shm)?.identity
      const opened = { wal: DatabaseFile.identityOf(descriptor), ...(index === undefined ? {} : { shm: index }) }
      return { descriptor, opened }
    },
    catch: (cause) => new DurabilityError({ reason: "SyncFailed", file, cause }),
  })

/** `identity` is that of the database file when it was opened. */
export const make = Effect.fnUntraced(function* (
  database: DatabaseFile.DatabaseFile,
  identity: DatabaseFile.Identity,
  exposure: ExposureTracker,
): Effect.fn.Return<WalSync, DurabilityError, Scope.Scope> {
  const { given: file } = database
  const fdatasync = yield* Fdatasync
  const { descriptor, opened } = yield* open(database)
  let failed = Deferred.makeUnsafe<DurabilityError>()
  let refused: DurabilityError | undefined
  let isSyncing = false

  const failWith = (cause: DurabilityError) => Deferred.doneUnsafe(failed, Effect.succeed(cause))
  const replacement = yield* Replacement.make({ ...opened, database, identity }, exposure, failWith)
  /** A replacement is for good, and what is said of it. */
  const refusal = () => replacement.found() ?? refused

  const sync = Effect.gen(function* () {
    const before = refusal()
    if (before !== undefined) return yield* before
    isSyncing = true
    const covered = yield* exposure.syncing
    const failed = (cause: unknown) => new DurabilityError({ reason: "SyncFailed", file, cause })
    const [took] = yield* Effect.timed(Effect.mapError(fdatasync(descriptor), failed))
    yield* Metric.update(durationSeconds, Duration.toSeconds(took))
    // Syncing an unlinked file succeeds and proves nothing.
    const changed = yield* replacement.look
    if (Option.isSome(changed)) return yield* changed.value
    return yield* covered
  }).pipe(
    Effect.tapError((cause) =>
      Effect.sync(() => {
        if (refusal() !== undefined) return
        refused = new DurabilityError({ reason: "Refused", file, cause })
        failWith(cause)
      }),
    ),
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
      const before = refusal()
      if (before !== undefined) return Effect.fail(before)
      if (!exposure.isExposed()) return Effect.void
      const waiter: Waiter = Deferred.makeUnsafe()
      return waiting.offer(waiter) ? Deferred.await(waiter) : Effect.fail(closed(file))
    }),
    refusal,
    failed: Effect.suspend(() => Deferred.await(failed)),
    resume: () => {
      refused = undefined
      failed = Deferred.makeUnsafe()
    },
    lookForReplacement: replacement.look,
    replaced: replacement.replaced,
    stamp: stampOf(descriptor),
    opened,
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
