/**
 * Notices that checkpoints cannot finish, says so once with who is in the way, and says once when it is over.
 *
 * Two runs in a row must be blocked without any progress between them, the first of them at least a second ago: at full
 * speed any query makes a few runs wait. Nothing is repeated in between.
 */
import { Clock, Duration, Effect, Option, Ref } from "effect"
import type { LockHolder } from "../processes/LockTable.ts"
import { nameOf } from "../processes/ProcessName.ts"
import type { Checkpoint } from "./Checkpoint.ts"
import * as SaidOnce from "./SaidOnce.ts"

/** How long runs must have been blocked before that is worth a line. */
const patience = Duration.toNanos(Duration.seconds(1)).pipe(Option.getOrThrow)

/** A process that has blocked every run since. */
export interface SeenHolder extends LockHolder {
  /** Monotonic nanoseconds. */
  readonly since: bigint
}

/** Runs in a row that could not finish. */
export interface Incident {
  readonly outcome: Checkpoint["outcome"]
  /** How far the WAL was copied: what moves is not blocked, a writer in the middle of a commit keeps its last frames. */
  readonly checkpointed: number
  /** Monotonic nanoseconds. */
  readonly since: bigint
  readonly runs: number
  /** Whether it has lasted long enough to be said. */
  readonly told: boolean
  /** The blockers, by process and lock. */
  readonly seen: ReadonlyMap<string, SeenHolder>
}

/** What kept a run from finishing. */
interface Obstacle {
  readonly outcome: Checkpoint["outcome"]
  readonly blockers: ReadonlyArray<LockHolder>
  readonly walFrames: number
  readonly checkpointedFrames: number
}

const key = ({ lock, pid }: LockHolder) => `${pid} ${lock}`

const seconds = (from: bigint, to: bigint) => Number(to - from) / 1e9

/** @param exposure Seconds since the oldest commit that a power cut could take; none when that cannot be known. */
export const make = Effect.fnUntraced(function* (exposure: Effect.Effect<Option.Option<number>>) {
  const incident = yield* Ref.make(Option.none<Omit<Incident, "told">>())
  const told = SaidOnce.make()

  const describe = (seen: Incident["seen"], now: bigint) =>
    seen.size === 0
      ? "unknown"
      : [...seen.values()]
          .map((holder) => nameOf(holder, holder.lock, `for ${seconds(holder.since, now).toFixed(1)} s`))
          .join(", ")

  const tell = Effect.fnUntraced(function* (
    obstacle: Obstacle,
    { seen, since }: Pick<Incident, "seen" | "since">,
    now: bigint,
  ) {
    const exposed = yield* exposure
    yield* Effect.annotateLogs(Effect.logWarning("wal_checkpoint blocked"), {
      outcome: obstacle.outcome,
      blockers: describe(seen, now),
      log_frames: obstacle.walFrames,
      backlog_frames: obstacle.walFrames - obstacle.checkpointedFrames,
      blocked_seconds: seconds(since, now),
      ...(Option.isSome(exposed) ? { exposure_seconds: exposed.value } : {}),
    })
  })

  return {
    /** The runs that cannot finish now, from the first of them. */
    incident: Effect.map(
      Ref.get(incident),
      Option.map((it): Incident => ({ ...it, told: told.isSaid() })),
    ),

    /** A run that could not finish. */
    blocked: Effect.fnUntraced(function* (obstacle: Obstacle) {
      const now = yield* Clock.monotonicTimeNanos
      const { checkpointedFrames: checkpointed } = obstacle
      const before = Option.getOrElse(
        Option.filter(yield* Ref.get(incident), (it) => told.isSaid() || it.checkpointed === checkpointed),
        () => ({
          outcome: obstacle.outcome,
          since: now,
          runs: 0,
          seen: new Map<string, SeenHolder>(),
          checkpointed,
        }),
      )
      const seen = new Map(
        obstacle.blockers.map((holder): readonly [string, SeenHolder] => [
          key(holder),
          { ...holder, since: before.seen.get(key(holder))?.since ?? now },
        ]),
      )
      const due = before.runs >= 1 && now - before.since >= patience
      const after = {
        outcome: obstacle.outcome,
        checkpointed,
        since: before.since,
        runs: before.runs + 1,
        seen,
      }
      yield* Ref.set(incident, Option.some(after))
      if (due) yield* told.say(tell(obstacle, after, now))
    }),

    /** A run that finished. */
    finished: Effect.gen(function* () {
      const before = yield* Ref.getAndSet(incident, Option.none())
      if (Option.isNone(before)) return
      const now = yield* Clock.monotonicTimeNanos
      yield* told.over(
        Effect.annotateLogs(Effect.logInfo("wal_checkpoint unblocked"), {
          runs: before.value.runs,
          blocked_seconds: seconds(before.value.since, now),
        }),
      )
    }),
  }
})
