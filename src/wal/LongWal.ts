/**
 * Says why a WAL that others write stays long although it is copied, and says each of the two reasons once:
 *
 * - It grows: a writer that never pauses never finds it wholly copied, and restarts it only then. Nothing from outside can
 *   hold that writer back.
 * - It rests: all of it is in the database, and the file keeps its size until it is emptied. Nothing is wrong with that.
 *
 * Judges what `ForeignWriters` sees, and asks nothing of SQLite.
 */
import { Clock, Duration, Effect, Option, Ref } from "effect"
import { namesOf } from "../processes/ProcessName.ts"
import type { DatabaseService } from "../sqlite/Database.ts"
import { command } from "../sqlite/ShellCommand.ts"
import type { WalFrames } from "./Checkpoint.ts"
import * as SaidOnce from "./SaidOnce.ts"

const nanosOf = (duration: Duration.Duration) => Option.getOrThrow(Duration.toNanos(duration))

/** A WAL of twice its bound that grows for so long, although it is copied: passes take milliseconds and had many chances by then. */
const patience = nanosOf(Duration.seconds(3))

/** A WAL that has not grown for so long rests: a writer that pauses for a fraction of it lets the WAL restart. */
const rest = nanosOf(Duration.seconds(2))

/** A WAL of twice its bound or more. */
interface Long {
  /** Since when it has grown without a rest, and how long it was then. */
  readonly since: bigint
  readonly from: number
  /** How long it is, and when it last grew. */
  readonly frames: number
  readonly grewAt: bigint
}

interface LongWalOptions {
  readonly database: DatabaseService
  /** The bound of the WAL; 0 = none. */
  readonly maxFrames: number
}

export const make = Effect.fnUntraced(function* ({ database, maxFrames }: LongWalOptions) {
  const clock = yield* Clock.Clock
  const long = yield* Ref.make(Option.none<Long>())
  const unbounded = SaidOnce.make()
  /** The longest WAL of which it was said that it rests. */
  const toldResting = yield* Ref.make(0)

  const tellGrowing = Effect.fnUntraced(function* (frames: WalFrames, since: bigint, now: bigint) {
    const holders = Option.getOrElse(yield* database.lockHolders, () => [])
    const writers = holders.filter(({ lock }) => lock === "write")
    yield* Effect.annotateLogs(Effect.logWarning("wal_checkpoint cannot bound the WAL"), {
      outcome: "WriterBusy",
      log_frames: frames.log,
      checkpointed_frames: frames.checkpointed,
      seconds: Number(now - since) / 1e9,
      writers: writers.length === 0 ? "unknown" : namesOf(writers),
      advice: "the writer never pauses; let it pause for a few milliseconds, or checkpoint by itself",
    })
  })

  /** Once, and once more of a WAL twice as long. */
  const tellResting = Effect.fnUntraced(function* (frames: WalFrames) {
    if (frames.log < 2 * (yield* Ref.get(toldResting))) return
    yield* Ref.set(toldResting, frames.log)
    yield* Effect.annotateLogs(Effect.logInfo("wal_checkpoint left a long WAL"), {
      log_frames: frames.log,
      checkpointed_frames: frames.checkpointed,
      advice: `all of it is in the database and nothing writes; the next write restarts it, and this makes the file short now: ${command("seawall checkpoint --mode truncate", database.filename)}`,
    })
  })

  const stillLong = Effect.fnUntraced(function* (frames: WalFrames, before: Option.Option<Long>) {
    const now = clock.monotonicTimeNanosUnsafe()
    const found: Long = { since: now, from: frames.log, frames: frames.log, grewAt: now }
    if (Option.isNone(before)) return yield* Ref.set(long, Option.some(found))
    const last = before.value
    // Shorter, it restarted since the last look: what was seen before says nothing.
    if (frames.log < last.frames) return yield* Ref.set(long, Option.some(found))
    const hasRested = now - last.grewAt >= rest
    if (frames.log === last.frames) {
      if (hasRested && frames.checkpointed === frames.log) yield* tellResting(frames)
      return
    }
    const { from, since } = hasRested ? { from: last.frames, since: now } : last
    if (frames.log > from && now - since >= patience) yield* unbounded.say(tellGrowing(frames, since, now))
    yield* Ref.set(long, Option.some({ since, from, frames: frames.log, grewAt: now }))
  })

  return {
    /** The WAL as it was just read. */
    saw: Effect.fnUntraced(function* (frames: WalFrames) {
      const before = yield* Ref.get(long)
      const isCopied = frames.log - frames.checkpointed < frames.log / 2
      if (maxFrames > 0 && frames.log >= 2 * maxFrames && isCopied) return yield* stillLong(frames, before)
      if (Option.isNone(before)) return
      // Below twice its bound it has restarted; once it was said, only below its bound is it bounded again.
      if (frames.log >= (unbounded.isSaid() ? maxFrames : 2 * maxFrames)) return
      yield* Ref.set(long, Option.none())
      yield* unbounded.over(
        Effect.annotateLogs(Effect.logInfo("wal_checkpoint bounds the WAL again"), { log_frames: frames.log }),
      )
    }),
  }
})
