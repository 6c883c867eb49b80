/**
 * A `Checkpointer` that answers from a script, in virtual time, and records when each run started and ended.
 *
 * It moves nothing: the WAL of the database stays as it is. It never says how long the WAL is, so that a guard
 * checkpoints by interval and at its end, and not by size.
 */
import { Clock, Context, Duration, Effect, identity, Layer, Ref } from "effect"
import type { CheckpointMode } from "../wal/Checkpoint.ts"
import * as Checkpointer from "../wal/Checkpointer.ts"
import * as CheckpointRun from "../wal/CheckpointRun.ts"

/** One run. When it has more than one end, the first of these counts: hangs, dies, fails, answers. */
export interface Scene {
  /** How long the run takes; default none. */
  readonly takes?: Duration.Input
  /** What SQLite answers; default a complete checkpoint of 10 frames, or of none for TRUNCATE. */
  readonly row?: CheckpointRun.CheckpointRow
  /** Fails with a native code instead, such as 10 (SQLITE_IOERR). https://www.sqlite.org/rescode.html */
  readonly failsWith?: number
  /** Ends with a defect of this message. */
  readonly diesWith?: string
  /** Never ends. */
  readonly hangs?: boolean
}

/** The scene of the n-th run (from 0). */
export type Script = (run: number, mode: CheckpointMode) => Scene

/** The start or the end of a run, at the virtual time it had. */
export interface Moment {
  readonly what: "start" | "end"
  readonly mode: CheckpointMode
  /** Since 1970, where the `TestClock` begins. */
  readonly seconds: number
}

/** What has happened up to now, oldest first. Comes with `scripted`. */
export class Recording extends Context.Service<Recording, Ref.Ref<ReadonlyArray<Moment>>>()(
  "seawall/testing/Recording",
) {}

/** The layer; without a script each run is a complete checkpoint that takes no time. */
export const layer = (script: Script = () => ({})) =>
  Layer.effectContext(
    Effect.gen(function* () {
      const recording = yield* Ref.make<ReadonlyArray<Moment>>([])
      const runs = yield* Ref.make(0)
      const note = (what: Moment["what"], mode: CheckpointMode) =>
        Effect.flatMap(Clock.currentTimeMillis, (millis) =>
          Ref.update(recording, (all) => [...all, { what, mode, seconds: millis / 1000 }]),
        )
      const run = Effect.fnUntraced(function* (mode: CheckpointMode) {
        const scene = script(yield* Ref.getAndUpdate(runs, (n) => n + 1), mode)
        yield* note("start", mode)
        return yield* CheckpointRun.run(mode, {
          checkpoint: answer(mode, scene),
          writerBusy: Effect.succeed(false),
        }).pipe(Effect.ensuring(note("end", mode)))
      })
      return Context.make(Checkpointer.Checkpointer, {
        run: (mode) => CheckpointRun.whole(run(mode), mode, Effect.succeedNone),
        withTurn: identity,
        frames: Effect.succeedNone,
        lengthen: () => Effect.succeedNone,
        concurrent: Effect.succeed(false),
      }).pipe(Context.add(Recording, recording))
    }),
  )

const answer = Effect.fnUntraced(function* (mode: CheckpointMode, scene: Scene) {
  if (scene.hangs === true) return yield* Effect.never
  yield* Effect.sleep(scene.takes ?? Duration.zero)
  if (scene.diesWith !== undefined) return yield* Effect.die(new Error(scene.diesWith))
  if (scene.failsWith !== undefined) {
    return yield* Effect.fail(Object.assign(new Error("disk I/O error"), { errcode: scene.failsWith }))
  }
  const frames = mode === "TRUNCATE" ? 0 : 10
  return scene.row ?? { busy: 0 as const, log: frames, checkpointed: frames }
})
