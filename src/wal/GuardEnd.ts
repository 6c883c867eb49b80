/**
 * The end of a guard, in this order: interrupt the loop and wait for it (at most 5 s) -> aggregate line -> let the writer finish ->
 * TRUNCATE -> restore autocheckpoint. Each step is contained, so that the next one runs whatever became of it.
 *
 * A checkpoint that still runs at its bound is left behind: TRUNCATE is skipped then, because two checkpoints must not overlap.
 * Where others write, it is skipped while one of them has the database open.
 */
import { Duration, Effect, identity, Option, Ref } from "effect"
import { holderNames, namesOf } from "../processes/ProcessName.ts"
import { isUsing } from "../processes/Processes.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import type { DatabaseService } from "../sqlite/Database.ts"
import type { DatabaseControlService } from "../sqlite/DatabaseControl.ts"
import type { AutocheckpointLease } from "./AutocheckpointLease.ts"
import * as GuardedCheckpoint from "./GuardedCheckpoint.ts"
import * as LatencyWindow from "./LatencyWindow.ts"
import { latencyOfAll } from "./GuardStatus.ts"

/** How long a closing guard waits for a checkpoint in flight: half of the shutdown budget. */
const stopBound = Duration.seconds(5)

/** The end of what a guard does at its end: nothing escapes it. */
export const contained = Shutdown.contained("wal_checkpoint shutdown")

interface GuardEndOptions {
  readonly database: DatabaseService
  readonly control: DatabaseControlService
  readonly checkpoint: GuardedCheckpoint.GuardedCheckpoint
  readonly autocheckpoint: AutocheckpointLease
  readonly writers: "here" | "elsewhere"
}

/** What ends: the fibers of the loop, and the note that this database is guarded. */
export interface Ending {
  readonly stop: Effect.Effect<unknown>
  readonly forget: Effect.Effect<void>
}

export const make = Effect.fnUntraced(function* ({
  autocheckpoint,
  checkpoint,
  control,
  database,
  writers,
}: GuardEndOptions) {
  const window = yield* LatencyWindow.LatencyWindow
  const { note } = yield* Shutdown.Shutdown

  const truncate = checkpoint.withTurn(checkpoint.run("TRUNCATE", "end")).pipe(
    Effect.tap(({ blockers, outcome }) =>
      note({ wal: outcome === "Complete" ? "emptied" : `not emptied: ${outcome}, ${holderNames(blockers)}` }),
    ),
    Effect.flatMap(GuardedCheckpoint.warnIfIncomplete),
  )
  const users = Effect.map(database.others, (others) => Option.getOrElse(others, () => []).filter(isUsing))
  const truncateUnlessShared = Effect.flatMap(users, (others) =>
    others.length === 0
      ? truncate
      : Effect.annotateLogs(Effect.logInfo("wal_checkpoint truncate skipped"), {
          reason: `still open in ${namesOf(others)}`,
        }),
  )

  const aggregate = Effect.gen(function* () {
    const { finished } = yield* checkpoint.status
    const latency = latencyOfAll(finished)
    yield* note({
      checkpoints: finished.at(-1)?.number ?? 0,
      checkpoint_p95_ms: "p95_ms" in latency ? latency.p95_ms : 0,
      checkpoints_slow: latency.slow,
    })
    yield* Effect.annotateLogs(Effect.logInfo("wal_checkpoint aggregate"), {
      runs: "interval", // what the figures without a prefix cover; the page and the API have those of all runs
      ...LatencyWindow.summary(yield* Ref.get(window)),
      all_n: latency.n,
      ...("p50_ms" in latency
        ? { all_p50_ms: latency.p50_ms, all_p95_ms: latency.p95_ms, all_max_ms: latency.max_ms }
        : {}),
      all_slow: latency.slow,
    })
  })

  return Effect.fnUntraced(function* ({ forget, stop }: Ending) {
    // A loop that was stopped or changed before may still be in a checkpoint that hangs: who has the turn knows.
    const stopped = yield* Shutdown.step("stop wal_checkpoint loop", Effect.andThen(stop, checkpoint.ended), {
      atMost: stopBound,
    })
    yield* note({ wal: "not emptied: that step failed" })
    yield* contained(aggregate)
    yield* contained(control.quiesce)
    yield* contained(
      stopped === "done"
        ? Shutdown.step("wal_checkpoint truncate", writers === "here" ? truncate : truncateUnlessShared)
        : Effect.annotateLogs(Effect.logError("wal_checkpoint truncate skipped"), {
            reason: "a checkpoint still runs",
          }),
    )
    yield* contained(
      Shutdown.step("restore autocheckpoint", Effect.ensuring(autocheckpoint.giveBack(identity), forget)),
    )
  })
})
