/**
 * The state of a guard at this moment. It is kept while the guard works, so that reading it costs nothing
 * to those who write: no statement, no lock, no wait.
 */
import type { Duration, Option } from "effect"
import type { Incident } from "./BlockedWatch.ts"
import type { CheckpointMode, CheckpointOutcome, WalFrames } from "./Checkpoint.ts"
import * as LatencyWindow from "./LatencyWindow.ts"

/** What asked for a checkpoint. */
export type Why = "interval" | "size" | "end"

/** One checkpoint that ended. */
export interface FinishedCheckpoint {
  /** Counts up from 1, for the life of the guard. */
  readonly number: number
  /** When it ended, in milliseconds since 1970. */
  readonly at: number
  readonly mode: CheckpointMode
  readonly why: Why
  /** `Failed`: it ended with an error. */
  readonly outcome: CheckpointOutcome | "Failed"
  readonly elapsedMillis: number
}

/** As many as the latency window holds: some seconds of a guard in full work, hours of an idle one. */
export const mostFinished = 512

/** A checkpoint that takes longer than this (strictly) also logs `wal_checkpoint slow`: 200 ms is a visible stall. */
export const slowMillis = 200

/**
 * The latencies of all runs that are remembered, whatever asked for them and however they ended, with how many were slow. The
 * `LatencyWindow` holds those by interval alone.
 */
export const latencyOfAll = (finished: ReadonlyArray<FinishedCheckpoint>) => ({
  ...LatencyWindow.summary(finished.map(({ elapsedMillis }) => elapsedMillis)),
  slow: finished.filter(({ elapsedMillis }) => elapsedMillis > slowMillis).length,
})

/** What a guard knows at this moment. */
export interface GuardStatus {
  /** Zero while the guard does not run. */
  readonly interval: Duration.Duration
  /** The length of the WAL that is held beside the interval, in frames; 0 = off. */
  readonly maxFrames: number
  /** Whether other processes write, so that their level of `synchronous` cannot be seen. */
  readonly writers: "here" | "elsewhere"
  /** The WAL when it was last looked at; none before that, or when it cannot be known. */
  readonly frames: Option.Option<WalFrames>
  /** The last `mostFinished` checkpoints, oldest first. */
  readonly finished: ReadonlyArray<FinishedCheckpoint>
  /** How many checkpoints in a row failed, up to now. */
  readonly failures: number
  /**
   * The age of the oldest commit that a power cut could take, in seconds. None when other processes write: their level of
   * `synchronous` cannot be seen from here, and at FULL every commit is on disk.
   */
  readonly exposureSeconds: Option.Option<number>
  /** What has kept checkpoints from finishing, if anything does. */
  readonly incident: Option.Option<Incident>
}
