/**
 * How a checkpoint is run: `run` is the only function that issues the PRAGMA; the row is decoded, timed and counted here.
 */
import { Duration, Effect, Metric, Option, Schema } from "effect"
import type { LockHolder, WalLock } from "../processes/LockTable.ts"
import { reasonOf } from "../sqlite/NativeError.ts"
import {
  Checkpoint,
  CheckpointError,
  type CheckpointMode,
  type CheckpointOutcome,
  type WalFrames,
} from "./Checkpoint.ts"

/** Its members, for a double: each can be a plain effect. */
export interface CheckpointerService {
  /** Runs one checkpoint. The caller makes sure that two of one database never overlap, and runs it `withTurn`. */
  readonly run: (mode: CheckpointMode) => Effect.Effect<Checkpoint, CheckpointError>
  /** Waits, where databases share what checkpoints them, until it is this one's turn. */
  readonly withTurn: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Frames in the WAL now; moves nothing. None when that is not known. */
  readonly frames: Effect.Effect<Option.Option<WalFrames>>
  /**
   * Gives the file of the WAL room for so many frames before commits need it, because a sync of a file that grows costs more;
   * answers for how many there is room now, none where that is not done. Runs `withTurn`, and with writers held back.
   */
  readonly lengthen: (frames: number) => Effect.Effect<Option.Option<number>, unknown>
  /** Whether writers go on while a checkpoint runs. */
  readonly concurrent: Effect.Effect<boolean>
}

/** What the PRAGMA answers. `log` and `checkpointed` are -1 when SQLite did not get as far as looking at the WAL. */
export const CheckpointRow = Schema.Struct({
  busy: Schema.Literals([0, 1]),
  log: Schema.Int,
  checkpointed: Schema.Int,
})
export type CheckpointRow = typeof CheckpointRow.Type

/** Whether a lock that another connection holds is what an outcome is about. */
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

/** Reads an outcome off a row. A blocked TRUNCATE that copied everything was held up by a reader or a writer: ask which. */
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

/**
 * Looks at the WAL without moving anything: `row` must come from `PRAGMA wal_checkpoint(NOOP)`, which exists since
 * SQLite 3.51.0; an older one would silently run a PASSIVE instead.
 */
export const observe = Effect.fnUntraced(function* <E>(row: Effect.Effect<unknown, E>) {
  const { log, checkpointed } = yield* Effect.flatMap(row, Schema.decodeUnknownEffect(CheckpointRow))
  if (log >= 0) yield* gauges(log, checkpointed)
  return { log, checkpointed } satisfies WalFrames
})

/** */
interface CheckpointStatements<E> {
  /** Issues `PRAGMA wal_checkpoint(mode)` and returns its row as it came. */
  readonly checkpoint: Effect.Effect<unknown, E>
  /** Whether another connection holds the writer lock; asked only when the row cannot tell. */
  readonly writerBusy: Effect.Effect<boolean, E>
}

/**
 * Runs, times and decodes one checkpoint on whatever connection the statements belong to. A PASSIVE that reads the index of the
 * WAL while a commit writes it is busy as well, and has done nothing: asked once more, only a busy checkpointer is.
 */
export const run = Effect.fnUntraced(function* <E>(
  mode: CheckpointMode,
  statements: CheckpointStatements<E>,
): Effect.fn.Return<Checkpoint, CheckpointError> {
  const [took, answer] = yield* statements.checkpoint.pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(CheckpointRow)),
    Effect.repeat({ while: (row) => mode === "PASSIVE" && row.busy === 1 && row.log < 0, times: 1 }),
    Effect.catch((cause): Effect.Effect<CheckpointRow | "Locked", CheckpointError> => {
      const reason = reasonOf(cause)
      if (reason === "Locked") return Effect.succeed("Locked")
      return Effect.fail(new CheckpointError({ mode, reason, cause }))
    }),
    Effect.timed,
  )
  const elapsedMillis = Duration.toMillis(took)
  if (answer === "Locked") return unanswered(mode, "LockedInTransaction", elapsedMillis)

  const undecided = answer.busy === 1 && answer.log >= 0 && answer.log === answer.checkpointed
  const writerBusy = undecided ? yield* Effect.orElseSucceed(statements.writerBusy, () => false) : false
  return new Checkpoint({
    mode,
    outcome: outcomeOf(answer, writerBusy),
    busy: answer.busy,
    walFrames: answer.log,
    checkpointedFrames: answer.checkpointed,
    elapsedMillis,
  })
})

const unanswered = (mode: CheckpointMode, outcome: CheckpointOutcome, elapsedMillis: number) =>
  new Checkpoint({
    mode,
    outcome,
    busy: 1,
    walFrames: -1,
    checkpointedFrames: -1,
    elapsedMillis,
  })

/**
 * A run as every `Checkpointer` gives it: counted, and with those who were in its way. On the side of the program, because what
 * is counted on a thread is never read. @internal
 */
export const whole = Effect.fnUntraced(function* (
  self: Effect.Effect<Checkpoint, CheckpointError>,
  mode: CheckpointMode,
  lockHolders: Effect.Effect<Option.Option<ReadonlyArray<LockHolder>>>,
) {
  const done = yield* Effect.tapError(self, () => count(mode, "Failed"))
  yield* count(done.mode, done.outcome)
  yield* Metric.update(durationSeconds, Duration.toSeconds(Duration.millis(done.elapsedMillis)))
  if (done.walFrames >= 0) yield* gauges(done.walFrames, done.checkpointedFrames)
  if (done.outcome === "Complete") return done
  const holders = Option.getOrElse(yield* lockHolders, () => [])
  return new Checkpoint({ ...done, blockers: holders.filter(({ lock }) => isInTheWay(done.outcome, lock)) })
})

/** The answer to a checkpoint that was not tried, because it could only have waited. */
export const notTried = (mode: CheckpointMode, outcome: "LockedInTransaction" | "CheckpointerBusy"): Checkpoint =>
  unanswered(mode, outcome, 0)
