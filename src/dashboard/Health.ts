/**
 * Whether an operator should look: the reasons that a snapshot gives, in words. Nothing else decides `/health`.
 *
 * A guard that is off has promised nothing, so its exposure is no reason; nor is one that cannot be known.
 */
import { holderNames } from "../processes/ProcessName.ts"
import type { DatabaseStatus, HealthReason, LeadershipStatus } from "./Snapshot.ts"

/** A commit is exposed for an interval by design, and for one more while a checkpoint that was due is late. */
const exposedIntervals = 2

const times = (n: number, what: string) => (n === 1 ? `1 ${what}` : `${n} ${what}s`)

const blocked = ({ blocked: it }: DatabaseStatus): string | undefined => {
  if (it === null) return undefined
  const who = holderNames(it.blockers)
  return `${it.outcome} for ${it.seconds.toFixed(1)} s by ${who === "" ? "an unknown process" : who}`
}

const exposure = ({ exposure_seconds, interval_seconds }: DatabaseStatus): string | undefined => {
  const most = exposedIntervals * interval_seconds
  if (exposure_seconds === null || interval_seconds === 0 || exposure_seconds <= most) return undefined
  return `a power cut could take commits of the last ${exposure_seconds.toFixed(1)} s, expected at most ${most} s`
}

const failing = ({ failures }: DatabaseStatus): string | undefined =>
  failures === 0 ? undefined : `${times(failures, "checkpoint")} in a row failed; the log says why`

const replaced = ({ state }: DatabaseStatus): string | undefined =>
  state === "replaced" ? "the file was moved or replaced; restart to guard what is there now" : undefined

const rules = { blocked, exposure, failing, replaced } as const

/** Another leads within the lease and a second; until twice that no operator has to look. */
const leaderless = ({ leaderless_seconds, lease_seconds, problem }: LeadershipStatus): string | undefined =>
  problem !== null || leaderless_seconds <= 2 * (lease_seconds + 1)
    ? undefined
    : `no leader for ${leaderless_seconds.toFixed(0)} s: no machine can, or the engine ended on purpose; the log says why`

/** A value that is read once a second may be a second old. */
const unheard = ({ leader, lease_seconds, problem }: LeadershipStatus): string | undefined =>
  problem !== null || leader === null || leader.heard_seconds <= lease_seconds + 1
    ? undefined
    : `${leader.host}:${leader.pid} leads, and was not heard for ${leader.heard_seconds.toFixed(1)} s`

const unreachable = ({ problem }: LeadershipStatus): string | undefined => problem ?? undefined

const leadershipRules = { leaderless, unheard, unreachable } as const

type Reason = HealthReason["reason"]

const apply = <A>(all: Partial<Readonly<Record<Reason, (of: A) => string | undefined>>>, of: A, name: string) =>
  Object.entries(all).flatMap(([reason, rule]) => {
    const detail = rule(of)
    return detail === undefined ? [] : [{ reason: reason as Reason, database: name, detail }]
  })

/** Every reason, by database in their order, then those of a server. */
export const reasons = (
  databases: ReadonlyArray<DatabaseStatus>,
  leadership: LeadershipStatus | null = null,
): ReadonlyArray<HealthReason> => [
  ...databases.flatMap((database) => apply(rules, database, database.name)),
  ...(leadership === null ? [] : apply(leadershipRules, leadership, leadership.where)),
]
