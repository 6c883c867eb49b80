/**
 * The span of a checkpoint, whichever way it runs: one, with what SQLite counted. Nothing that a checkpoint asks of SQLite
 * has a span of its own.
 */
import { Effect } from "effect"
import { attributesOf } from "../sqlite/DatabaseName.ts"
import type { Checkpoint, CheckpointError, CheckpointMode } from "./Checkpoint.ts"

const counted = (checkpoint: Checkpoint) => ({
  "seawall.checkpoint.outcome": checkpoint.outcome,
  "seawall.checkpoint.log_frames": checkpoint.walFrames,
  "seawall.checkpoint.checkpointed_frames": checkpoint.checkpointedFrames,
  "seawall.checkpoint.elapsed_ms": checkpoint.elapsedMillis,
})

/** Runs a checkpoint of this database in its span. */
export const traced =
  (database: string, run: (mode: CheckpointMode) => Effect.Effect<Checkpoint, CheckpointError>) =>
  (mode: CheckpointMode): Effect.Effect<Checkpoint, CheckpointError> =>
    run(mode).pipe(
      Effect.tap((checkpoint) => Effect.annotateCurrentSpan(counted(checkpoint))),
      Effect.withSpan(
        "Checkpointer.run",
        { attributes: { ...attributesOf(database), "seawall.checkpoint.mode": mode } },
        { captureStackTrace: false },
      ),
    )
