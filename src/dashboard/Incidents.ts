/**
 * What went wrong, since when, by whom and until when: kept in memory beside the log, whose lines are soon pushed out by others.
 * The newest hundred, each of one database.
 */
import type { DatabaseStatus, Incident } from "./Snapshot.ts"

/** Bound for all databases together. */
export const mostIncidents = 100

/** Without a slow checkpoint for so long, in milliseconds, the next one is another incident. */
const slowPause = 60_000

/** What lasts: its name, and its detail while it is so. */
const lasting = {
  blocked: ({ blocked }: DatabaseStatus) =>
    blocked === null
      ? undefined
      : `${blocked.outcome}: ${blocked.blockers.map(({ command, pid }) => `${command} (pid ${pid})`).join(", ") || "an unknown process"}`,
  failing: ({ failures }: DatabaseStatus) =>
    failures === 0
      ? undefined
      : `${failures} ${failures === 1 ? "checkpoint" : "checkpoints"} in a row; the log says why`,
  replaced: ({ state }: DatabaseStatus) => (state === "replaced" ? "the file was moved or replaced" : undefined),
} as const

export interface Incidents {
  /** Takes note of how all of them are now. */
  readonly take: (atMillis: number, databases: ReadonlyArray<DatabaseStatus>) => void
  /** The newest first. */
  readonly all: () => ReadonlyArray<Incident>
}

export const make = (slowMillis: number): Incidents => {
  let incidents: ReadonlyArray<Incident> = []
  const open = new Map<string, Incident>()
  /** The last checkpoint of each that was looked at. */
  const lookedAt = new Map<string, number>()
  const slow = new Map<string, { readonly incident: Incident; readonly times: number; readonly slowest: number }>()
  const replace = (before: Incident, after: Incident) => {
    incidents = incidents.map((it) => (it === before ? after : it))
  }
  const add = (incident: Incident) => {
    incidents = [incident, ...incidents].slice(0, mostIncidents)
    return incident
  }
  const noteLasting = (at: number, status: DatabaseStatus) => {
    for (const [kind, detailOf] of Object.entries(lasting)) {
      const key = `${kind} ${status.name}`
      const before = open.get(key)
      const detail = detailOf(status)
      if (detail === undefined && before !== undefined) {
        replace(before, { ...before, until_ms: at })
        open.delete(key)
      } else if (detail !== undefined) {
        const since_ms = before?.since_ms ?? (kind === "blocked" ? status.blocked?.since_ms : undefined) ?? at
        const now = { kind: kind as Incident["kind"], database: status.name, detail, since_ms, until_ms: null }
        if (before?.detail === detail) continue
        open.set(key, now)
        if (before === undefined) add(now)
        else replace(before, now)
      }
    }
  }
  /** Many in a row are one. */
  const noteSlow = (database: string, at: number, elapsed: number) => {
    const before = slow.get(database)
    const goesOn =
      before !== undefined && at - (before.incident.until_ms ?? at) < slowPause && incidents.includes(before.incident)
    const times = goesOn ? before.times + 1 : 1
    const slowest = Math.max(elapsed, goesOn ? before.slowest : 0)
    const detail =
      times === 1
        ? `a checkpoint took ${Math.round(elapsed)} ms`
        : `${times} checkpoints, the slowest ${Math.round(slowest)} ms`
    const since_ms = goesOn ? before.incident.since_ms : at - elapsed
    const incident: Incident = { kind: "slow", database, detail, since_ms, until_ms: at }
    if (goesOn) replace(before.incident, incident)
    else add(incident)
    slow.set(database, { incident, times, slowest })
  }
  return {
    take: (at, databases) => {
      for (const status of databases) {
        noteLasting(at, status)
        const last = status.last_checkpoint
        if (last === null || lookedAt.get(status.name) === last.number) continue
        lookedAt.set(status.name, last.number)
        if (last.elapsed_ms > slowMillis) noteSlow(status.name, last.at_ms, last.elapsed_ms)
      }
    },
    all: () => incidents,
  }
}
