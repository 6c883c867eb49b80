/**
 * Whether an operator should look: the reasons that a snapshot gives, in words. Nothing else decides `/health`.
 *
 * A guard that is off has promised nothing, so its exposure is no reason; nor is one that cannot be known.
 */
import { holderNames } from "../processes/Processes.ts"
import type { DatabaseStatus, HealthReason } from "./Snapshot.ts"

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

const rules = { blocked, exposure, failing, replaced } as const satisfies Record<HealthReason["reason"], unknown>

/** Every reason, by database in their order. */
export const reasons = (databases: ReadonlyArray<DatabaseStatus>): ReadonlyArray<HealthReason> =>
  databases.flatMap((database) =>
    Object.entries(rules).flatMap(([reason, rule]) => {
      const detail = rule(database)
      return detail === undefined ? [] : [{ reason: reason as HealthReason["reason"], database: database.name, detail }]
    }),
  )
