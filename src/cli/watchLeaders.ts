/** Watches the leader, for the dashboard and the status line of `seawall run`. Loaded for that alone, because it needs the driver of PostgreSQL. */
import { DateTime, Duration, Effect, Option } from "effect"
import * as os from "node:os"
import type { LeadershipStatus } from "../dashboard/Snapshot.ts"
import type { EngineConfig } from "../engine/EngineConfig.ts"
import { optionsOf } from "../engine/PostgresSession.ts"
import * as Leaders from "../postgres/Leaders.ts"

const statusOf = ({ leader, leaderless, lease, problem, standbys, where }: Leaders.Watched): LeadershipStatus => ({
  where,
  leads_here: Option.exists(leader, ({ host, pid }) => pid === process.pid && host === os.hostname()),
  leader: Option.getOrNull(
    Option.map(leader, ({ command, heard, host, pid, sessionId, since }) => ({
      session_id: sessionId,
      pid,
      command,
      host,
      since_ms: Option.getOrNull(Option.map(DateTime.make(since), DateTime.toEpochMillis)),
      heard_seconds: Duration.toSeconds(heard),
    })),
  ),
  standbys,
  lease_seconds: Duration.toSeconds(lease),
  leaderless_seconds: Duration.toSeconds(leaderless),
  problem: Option.getOrNull(problem),
})

/** As long as the scope is open; to be asked as often as one likes. */
export const watch = (config: EngineConfig) =>
  Effect.map(Leaders.watch(optionsOf(config)), (now) => Effect.map(now, statusOf))
