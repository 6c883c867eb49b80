/**
 * Notices what is written to the log by others, another process or a connection that tells nobody of its commits: by a
 * look, ten times a second (`NOOP`: no lock, about 15 microseconds). What it sees counts as commits from then on, up to a
 * tenth of a second after they were made.
 *
 * It also notices a writer that never pauses: every frame is copied, and the log grows all the same, because it starts
 * anew only when a write finds it wholly copied. Nothing from outside can hold that writer back; it is said once.
 */
import { Clock, Duration, Effect, Option, Ref, Schedule } from "effect"
import { namesOf } from "../processes/Processes.ts"
import type { Database } from "../sqlite/Database.ts"
import type { WalFrames } from "./Checkpoint.ts"
import type { GuardedCheckpoint } from "./GuardedCheckpoint.ts"

const lookInterval = Duration.millis(100)

/** A log of twice its bound, although it is copied, for so long: passes take milliseconds and had many chances by then. */
const patience = Option.getOrThrow(Duration.toNanos(Duration.seconds(3)))

export interface ForeignWritersOptions {
  readonly database: Database["Service"]
  readonly checkpoint: GuardedCheckpoint
  /** The bound of the log; 0 = none. */
  readonly maxFrames: number
}

interface Growing {
  readonly since: bigint
  readonly told: boolean
}

/** The loop; it ends only by interruption. */
export const watch = Effect.fnUntraced(function* ({ checkpoint, database, maxFrames }: ForeignWritersOptions) {
  const clock = yield* Clock.Clock
  const seen = yield* Ref.make<WalFrames>({ log: 0, checkpointed: 0 })
  const growing = yield* Ref.make(Option.none<Growing>())

  const tell = Effect.fnUntraced(function* (frames: WalFrames, since: bigint, now: bigint) {
    const holders = Option.getOrElse(yield* database.lockHolders, () => [])
    const writers = holders.filter(({ lock }) => lock === "write")
    yield* Effect.annotateLogs(Effect.logWarning("wal_checkpoint cannot bound the log"), {
      outcome: "WriterBusy",
      log_frames: frames.log,
      checkpointed_frames: frames.checkpointed,
      seconds: Number(now - since) / 1e9,
      writers: writers.length === 0 ? "unknown" : namesOf(writers),
      advice: "the writer never pauses; let it pause for a few milliseconds, or checkpoint by itself",
    })
  })

  const judge = Effect.fnUntraced(function* (frames: WalFrames) {
    const before = yield* Ref.get(growing)
    const now = clock.monotonicTimeNanosUnsafe()
    const grows = maxFrames > 0 && frames.log >= 2 * maxFrames && frames.log - frames.checkpointed < frames.log / 2
    if (grows) {
      const { since, told } = Option.getOrElse(before, (): Growing => ({ since: now, told: false }))
      const isDue = !told && now - since >= patience
      if (isDue) yield* tell(frames, since, now)
      return yield* Ref.set(growing, Option.some({ since, told: told || isDue }))
    }
    if (Option.isNone(before)) return
    // Below twice its bound it has started anew: what was seen before says nothing, unless it was said already.
    if (frames.log >= (before.value.told ? maxFrames : 2 * maxFrames)) return
    yield* Ref.set(growing, Option.none())
    if (!before.value.told) return
    yield* Effect.annotateLogs(Effect.logInfo("wal_checkpoint bounds the log again"), { log_frames: frames.log })
  })

  const look = Effect.gen(function* () {
    const frames = yield* checkpoint.look
    if (Option.isNone(frames)) return
    const { log } = yield* Ref.getAndSet(seen, frames.value)
    if (frames.value.log > 0 && frames.value.log !== log) database.exposure.committed(clock, false)
    yield* judge(frames.value)
  })
  return yield* Effect.schedule(Effect.catchCause(look, checkpoint.failed), Schedule.spaced(lookInterval))
})
