/**
 * One checkpoint of a write-ahead log: its mode, what SQLite counted, and what that means.
 *
 * A checkpoint that could not finish is not an error: it has an outcome. An error is a failure of the disk, the file or
 * SQLite, and says nothing about how far the checkpoint came.
 * https://www.sqlite.org/pragma.html#pragma_wal_checkpoint
 */
import { Effect, Schema } from "effect"
import { LockHolder } from "../processes/LockTable.ts"
import { messageOf, NativeReason } from "../sqlite/NativeError.ts"

/**
 * `PASSIVE` copies what it can and waits for no other connection. `TRUNCATE` takes the writer lock, and leaves an empty log file.
 * FULL and RESTART are not here: they make writers and readers of a live database wait.
 */
export const CheckpointMode = Schema.Literals(["PASSIVE", "TRUNCATE"])
export type CheckpointMode = typeof CheckpointMode.Type

/**
 * - `Complete`: every frame of the WAL is in the database (after TRUNCATE: and the WAL is empty).
 * - `ReaderBlocked`: a reader's snapshot keeps frames in the WAL, or keeps TRUNCATE from emptying it.
 * - `WriterBusy`: another connection holds the writer lock, so that TRUNCATE could not empty the WAL.
 * - `CheckpointerBusy`: another connection checkpoints, or recovers the WAL, right now.
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

/** A checkpoint that ended, whether it could finish or not. https://www.sqlite.org/c3ref/wal_checkpoint_v2.html */
export class Checkpoint extends Schema.Class<Checkpoint>("seawall/wal/Checkpoint")({
  mode: CheckpointMode,
  outcome: CheckpointOutcome,
  /** SQLite's own flag. 0 is not success: a PASSIVE under a reader answers 0 and moves nothing. */
  busy: Schema.Literals([0, 1]),
  /** Frames in the WAL; -1 when unknown. */
  walFrames: Schema.Int,
  /** How many of them are in the database; -1 when unknown. */
  checkpointedFrames: Schema.Int,
  /** Milliseconds, on the monotonic clock, of the PRAGMA alone. */
  elapsedMillis: Schema.Finite,
  /** The processes that are seen to keep it from finishing; a process in another container is not seen. */
  blockers: Schema.Array(LockHolder).pipe(Schema.withConstructorDefault(Effect.succeed([]))),
}) {}

/** A checkpoint that failed: the disk, the file or SQLite. The WAL keeps every frame, and the next run tries again. */
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
    return `wal_checkpoint(${this.mode}) failed: ${messageOf(this.cause)}`
  }
}

/** What the WAL holds right now. */
export interface WalFrames {
  readonly log: number
  readonly checkpointed: number
}
