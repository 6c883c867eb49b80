/**
 * Notices that checkpoints cannot finish, says so once with who is in the way, and says once when it is over.
 *
 * Two runs in a row must be blocked without any progress between them, the first of them at least a second ago: at full
 * speed any query makes a few runs wait. Nothing is repeated in between.
 */
import { Clock, Duration, Effect, Option, Ref } from "effect"
import type { Database } from "../sqlite/Database.ts"
import type { LockHolder } from "../sqlite/LockTable.ts"
import type { Checkpoint } from "./Checkpoint.ts"

/** How long runs must have been blocked before that is worth a line. */
const patience = Duration.toNanos(Duration.seconds(1)).pipe(Option.getOrThrow)

interface Incident {
  /** How far the log was copied: what moves is not blocked, a writer in the middle of a commit keeps its last frames. */
  readonly checkpointed: number
  readonly since: bigint
  readonly runs: number
  readonly told: boolean
  /** When each of them was seen first, by process and lock. */
  readonly seen: ReadonlyMap<string, bigint>
}

/** What kept a run from finishing. */
export interface Obstacle {
  readonly outcome: Checkpoint["outcome"]
  readonly blockers: ReadonlyArray<LockHolder>
  readonly logFrames: number
  readonly checkpointedFrames: number
}

const key = ({ lock, pid }: LockHolder) => `${pid} ${lock}`

const seconds = (from: bigint, to: bigint) => Number(to - from) / 1e9

export const make = Effect.fnUntraced(function* (database: Database["Service"]) {
  const incident = yield* Ref.make(Option.none<Incident>())

  const describe = ({ blockers }: Obstacle, seen: Incident["seen"], now: bigint) => {
    if (blockers.length === 0) return "unknown"
    const each = blockers.map((holder) => {
      const since = seen.get(key(holder)) ?? now
      return `${holder.command} (pid ${holder.pid}, ${holder.lock}, for ${seconds(since, now).toFixed(1)} s)`
    })
    return each.join(", ")
  }

  const tell = Effect.fnUntraced(function* (obstacle: Obstacle, { seen, since }: Incident, now: bigint) {
    yield* Effect.annotateLogs(Effect.logWarning("wal_checkpoint blocked"), {
      outcome: obstacle.outcome,
      blockers: describe(obstacle, seen, now),
      log_frames: obstacle.logFrames,
      backlog_frames: obstacle.logFrames - obstacle.checkpointedFrames,
      blocked_seconds: seconds(since, now),
      exposure_seconds: yield* database.exposure.seconds,
    })
  })

  return {
    /** A run that could not finish. */
    blocked: Effect.fnUntraced(function* (obstacle: Obstacle) {
      const now = yield* Clock.monotonicTimeNanos
      const { checkpointedFrames: checkpointed } = obstacle
      const before = Option.getOrElse(
        Option.filter(yield* Ref.get(incident), (it) => it.told || it.checkpointed === checkpointed),
        (): Incident => ({ since: now, runs: 0, told: false, seen: new Map(), checkpointed }),
      )
      const seen = new Map(
        obstacle.blockers.map((holder) => [key(holder), before.seen.get(key(holder)) ?? now] as const),
      )
      const due = before.runs >= 1 && now - before.since >= patience
      const after: Incident = { ...before, checkpointed, runs: before.runs + 1, told: before.told || due, seen }
      yield* Ref.set(incident, Option.some(after))
      if (due && !before.told) yield* tell(obstacle, after, now)
    }),

    /** A run that finished. */
    finished: Effect.gen(function* () {
      const before = yield* Ref.getAndSet(incident, Option.none())
      if (Option.isNone(before) || !before.value.told) return
      const now = yield* Clock.monotonicTimeNanos
      yield* Effect.annotateLogs(Effect.logInfo("wal_checkpoint unblocked"), {
        runs: before.value.runs,
        blocked_seconds: seconds(before.value.since, now),
      })
    }),
  }
})
