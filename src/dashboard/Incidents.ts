/**
 * What went wrong, since when, by whom and until when: kept in memory beside the log, whose lines are soon pushed out by others.
 * The newest hundred, each of one database.
 */
import type { DatabaseStatus, Incident } from "./Snapshot.ts"

/** Of all databases together. */
export const mostIncidents = 100

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
  return {
    take: (at, databases) => {
      for (const status of databases) {
        noteLasting(at, status)
        const last = status.last_checkpoint
        const isNew = last !== null && lookedAt.get(status.name) !== last.number
        if (!isNew) continue
        lookedAt.set(status.name, last.number)
        if (last.elapsed_ms <= slowMillis) continue
        const detail = `a checkpoint took ${Math.round(last.elapsed_ms)} ms`
        const since_ms = last.at_ms - last.elapsed_ms
        add({ kind: "slow", database: status.name, detail, since_ms, until_ms: last.at_ms })
      }
    },
    all: () => incidents,
  }
}
