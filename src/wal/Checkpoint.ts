/**
 * One checkpoint of a write-ahead log: its mode, what SQLite counted, and what that means.
 *
 * `run` is the only function that issues the PRAGMA; the row is decoded and timed here.
 * A checkpoint that could not finish is not an error: it has an outcome. An error is a failure of the disk, the file or
 * SQLite, and says nothing about how far the checkpoint came.
 * https://www.sqlite.org/pragma.html#pragma_wal_checkpoint
 */
import { Clock, Duration, Effect, Metric, Option, Schema } from "effect"
import { LockHolder, type WalLock } from "../processes/LockTable.ts"
import { nativeMessage, NativeReason, nativeReason } from "../sqlite/NativeError.ts"

/**
 * `PASSIVE` copies what it can and waits for nobody. `TRUNCATE` takes the writer lock, and leaves an empty log file.
 * FULL and RESTART are not here: they make writers and readers of a live database wait.
 */
export const CheckpointMode = Schema.Literals(["PASSIVE", "TRUNCATE"])
export type CheckpointMode = typeof CheckpointMode.Type

/**
 * - `Complete`: every frame of the log is in the database (after TRUNCATE: and the log is empty).
 * - `ReaderBlocked`: a reader's snapshot keeps frames in the log, or keeps TRUNCATE from emptying it.
 * - `WriterBusy`: another connection holds the writer lock, so that TRUNCATE could not empty the log.
 * - `CheckpointerBusy`: another connection checkpoints, or recovers the log, right now.
 * - `LockedInTransaction`: asked for inside an open transaction of the same connection.
 * - `NotWal`: the database has no write-ahead log.
 */
export const CheckpointOutcome = Schema.Literals([
  "Complete",
  "ReaderBlocked",
  "WriterBusy",
  "CheckpointerBusy",
  "LockedInTransaction",
  "NotWal",
])
export type CheckpointOutcome = typeof CheckpointOutcome.Type

/** Whether a lock that somebody else holds is what an outcome is about. */
const isInTheWay = (outcome: CheckpointOutcome, lock: WalLock): boolean => {
  switch (outcome) {
    case "ReaderBlocked":
      return lock.startsWith("read")
    case "WriterBusy":
      return lock === "write"
    case "CheckpointerBusy":
      return lock === "checkpoint" || lock === "recover"
    case "Complete":
    case "LockedInTransaction":
    case "NotWal":
      return false
  }
}

/** What the PRAGMA answers. `log` and `checkpointed` are -1 when SQLite did not get as far as looking at the log. */
export const CheckpointRow = Schema.Struct({
  busy: Schema.Literals([0, 1]),
  log: Schema.Int,
  checkpointed: Schema.Int,
})
export type CheckpointRow = typeof CheckpointRow.Type

/** A checkpoint that ended, whether it could finish or not. https://www.sqlite.org/c3ref/wal_checkpoint_v2.html */
export class Checkpoint extends Schema.Class<Checkpoint>("seawall/wal/Checkpoint")({
  mode: CheckpointMode,
  outcome: CheckpointOutcome,
  /** SQLite's own flag. 0 is not success: a PASSIVE under a reader answers 0 and moves nothing. */
  busy: Schema.Literals([0, 1]),
  /** Frames in the log; -1 when unknown. */
  logFrames: Schema.Int,
  /** How many of them are in the database; -1 when unknown. */
  checkpointedFrames: Schema.Int,
  /** Milliseconds, on the monotonic clock, of the PRAGMA alone. */
  elapsedMillis: Schema.Finite,
  /** The processes that are seen to keep it from finishing; a process in another container is not seen. */
  blockers: Schema.Array(LockHolder).pipe(Schema.withConstructorDefault(Effect.succeed([]))),
}) {}

/** A checkpoint that failed: the disk, the file or SQLite. The log keeps every frame, and the next run tries again. */
export class CheckpointError extends Schema.TaggedError<CheckpointError>()("CheckpointError", {
  mode: CheckpointMode,
  /**
   * What SQLite said; `ThreadFailed` when the checkpoint thread crashed or could not start; `NotSynced` when the connection is
   * at `synchronous=OFF`, at which a checkpoint could leave a damaged database after a power cut, and was not run; `Replaced` when
   * the file or its WAL is no longer the one that was opened, so that a checkpoint would mix two databases, and was not run.
   */
  reason: Schema.Literals([...NativeReason.literals, "ThreadFailed", "NotSynced", "Replaced"]),
  cause: Schema.Defect(),
}) {
  override get message() {
    return `wal_checkpoint(${this.mode}) failed: ${nativeMessage(this.cause)}`
  }
}

/** Reads an outcome off a row. A blocked TRUNCATE that copied everything was held up by a reader or a writer: ask which. @internal */
export const outcomeOf = (row: CheckpointRow, writerBusy: boolean): CheckpointOutcome => {
  if (row.log < 0) return row.busy === 1 ? "CheckpointerBusy" : "NotWal"
  if (row.checkpointed < row.log) return "ReaderBlocked"
  if (row.busy === 1) return writerBusy ? "WriterBusy" : "ReaderBlocked"
  return "Complete"
}

const total = Metric.counter("seawall_wal_checkpoints_total", {
  description: "Checkpoints by mode and outcome; an error counts as outcome Failed",
  incremental: true,
})
const durationSeconds = Metric.histogram("seawall_wal_checkpoint_duration_seconds", {
  description: "How long a checkpoint took, in seconds",
  boundaries: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 5],
})
const frames = Metric.gauge("seawall_wal_frames", { description: "Frames in the WAL, when it was last looked at" })
const backlog = Metric.gauge("seawall_wal_backlog_frames", {
  description: "Frames of the WAL not yet in the database, when it was last looked at",
})

const gauges = Effect.fnUntraced(function* (log: number, checkpointed: number) {
  yield* Metric.update(frames, log)
  yield* Metric.update(backlog, log - checkpointed)
})

const count = (mode: CheckpointMode, outcome: CheckpointOutcome | "Failed") =>
  Metric.update(Metric.withAttributes(total, { mode, outcome }), 1)

/** What the log holds right now. */
export interface WalFrames {
  readonly log: number
  readonly checkpointed: number
}

/**
 * Looks at the log without moving anything: `row` must come from `PRAGMA wal_checkpoint(NOOP)`, which exists since
 * SQLite 3.51.0; an older one would silently run a PASSIVE instead.
 * @internal
 */
export const observe = Effect.fnUntraced(function* <E>(row: Effect.Effect<unknown, E>) {
  const { log, checkpointed } = yield* Effect.flatMap(row, Schema.decodeUnknownEffect(CheckpointRow))
  if (log >= 0) yield* gauges(log, checkpointed)
  return { log, checkpointed } satisfies WalFrames
})

/** @internal */
export interface CheckpointStatements<E> {
  /** Issues `PRAGMA wal_checkpoint(mode)` and returns its row as it came. */
  readonly checkpoint: Effect.Effect<unknown, E>
  /** Whether somebody else holds the writer lock; asked only when the row cannot tell. */
  readonly writerBusy: Effect.Effect<boolean, E>
}

/**
 * Runs, times and decodes one checkpoint on whatever connection the statements belong to. A PASSIVE that reads the index of the
 * WAL while a commit writes it is busy as well, and has done nothing: asked once more, only a busy checkpointer is.
 * @internal
 */
export const run = Effect.fnUntraced(function* <E>(
  mode: CheckpointMode,
  statements: CheckpointStatements<E>,
): Effect.fn.Return<Checkpoint, CheckpointError> {
  const start = yield* Clock.monotonicTimeNanos
  const answer = yield* statements.checkpoint.pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(CheckpointRow)),
    Effect.repeat({ while: (row) => mode === "PASSIVE" && row.busy === 1 && row.log < 0, times: 1 }),
    Effect.catch((cause): Effect.Effect<CheckpointRow | "Locked", CheckpointError> => {
      const reason = nativeReason(cause)
      if (reason === "Locked") return Effect.succeed("Locked")
      return Effect.fail(new CheckpointError({ mode, reason, cause }))
    }),
  )
  const elapsedMillis = Number((yield* Clock.monotonicTimeNanos) - start) / 1e6
  if (answer === "Locked") return unanswered(mode, "LockedInTransaction", elapsedMillis)

  const undecided = answer.busy === 1 && answer.log >= 0 && answer.log === answer.checkpointed
  const writerBusy = undecided ? yield* Effect.orElseSucceed(statements.writerBusy, () => false) : false
  return new Checkpoint({
    mode,
    outcome: outcomeOf(answer, writerBusy),
    busy: answer.busy,
    logFrames: answer.log,
    checkpointedFrames: answer.checkpointed,
    elapsedMillis,
  })
})

const unanswered = (mode: CheckpointMode, outcome: CheckpointOutcome, elapsedMillis: number) =>
  new Checkpoint({
    mode,
    outcome,
    busy: 1,
    logFrames: -1,
    checkpointedFrames: -1,
    elapsedMillis,
  })

/**
 * A run as every `Checkpointer` gives it: counted, and with those who were in its way. On the side of the program, because what
 * is counted on a thread nobody reads. @internal
 */
export const whole = Effect.fnUntraced(function* (
  self: Effect.Effect<Checkpoint, CheckpointError>,
  mode: CheckpointMode,
  lockHolders: Effect.Effect<Option.Option<ReadonlyArray<LockHolder>>>,
) {
  const done = yield* Effect.tapError(self, () => count(mode, "Failed"))
  yield* count(done.mode, done.outcome)
  yield* Metric.update(durationSeconds, Duration.toSeconds(Duration.millis(done.elapsedMillis)))
  if (done.logFrames >= 0) yield* gauges(done.logFrames, done.checkpointedFrames)
  if (done.outcome === "Complete") return done
  const holders = Option.getOrElse(yield* lockHolders, () => [])
  return new Checkpoint({ ...done, blockers: holders.filter(({ lock }) => isInTheWay(done.outcome, lock)) })
})

/** The answer to a checkpoint that was not tried, because it could only have waited. @internal */
export const notTried = (mode: CheckpointMode, outcome: "LockedInTransaction" | "CheckpointerBusy"): Checkpoint =>
  unanswered(mode, outcome, 0)
