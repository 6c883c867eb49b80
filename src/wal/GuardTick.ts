/**
 * One tick of a guard, an interval after the one before: look for other connections that checkpoint, copy what can be copied, and cut a
 * file that a huge transaction left too long. After a failed sync only a copy of the whole WAL brings the database back.
 */
import { Effect, Option } from "effect"
import type { DatabaseControlService } from "../sqlite/DatabaseControl.ts"
import type { CheckpointMode } from "./Checkpoint.ts"
import type * as Checkpointer from "./Checkpointer.ts"
import type * as GuardedCheckpoint from "./GuardedCheckpoint.ts"
import * as OvergrownFile from "./OvergrownFile.ts"

interface GuardTickOptions {
  readonly checkpoint: Effect.Success<ReturnType<typeof GuardedCheckpoint.make>>
  readonly checkpointer: Checkpointer.Checkpointer["Service"]
  readonly control: DatabaseControlService
  readonly writers: "here" | "elsewhere"
}

export const make = Effect.fnUntraced(function* ({ checkpoint, checkpointer, control, writers }: GuardTickOptions) {
  const passive = checkpoint.run("PASSIVE", "interval")
  const gated = Effect.fnUntraced(function* (mode: CheckpointMode) {
    // Inline it has the connection to itself anyway, and would wait under the gate for its keeper.
    return (yield* checkpointer.concurrent)
      ? yield* checkpoint.runGated(mode, "interval")
      : Option.some(yield* checkpoint.run(mode, "interval"))
  })
  const overgrown = yield* OvergrownFile.make(control)
  const cut = Effect.gen(function* () {
    return writers === "here" && (yield* overgrown) ? yield* gated("TRUNCATE") : Option.none()
  })
  /** After a sync of the WAL failed, only a copy of all of it is trusted, made while no write runs. */
  const recovering = Effect.fnUntraced(function* (resume: Effect.Effect<void>) {
    const done = yield* gated("PASSIVE")
    if (Option.isNone(done) || done.value.outcome !== "Complete") return
    yield* Effect.andThen(control.syncFile, resume)
    yield* Effect.logWarning("database writes resumed")
  })
  return checkpoint.lookForOthers.pipe(
    Effect.andThen(control.resume),
    Effect.flatMap(Option.match({ onNone: () => passive, onSome: recovering })),
    Effect.andThen(cut),
    Effect.catchCause(checkpoint.failed),
    Effect.uninterruptible, // the loop ends between two checkpoints, never with one in flight
    checkpoint.withTurn, // but waiting for its turn it ends at once
  )
})
