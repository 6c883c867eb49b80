/**
 * One database as an operator sees it, put together from what its guard and its connection know already: no statement
 * is issued, no lock is taken, and no caller waits.
 */
import { Clock, Duration, Effect, Metric, Option } from "effect"
import { shortCommand } from "../processes/ProcessName.ts"
import * as Database from "../sqlite/Database.ts"
import { DatabaseControl } from "../sqlite/DatabaseControl.ts"
import type { Incident } from "../wal/BlockedWatch.ts"
import { exposureSeconds } from "../wal/GuardedCheckpoint.ts"
import { type FinishedCheckpoint, latencyOfAll, type GuardStatus } from "../wal/GuardStatus.ts"
import * as WalGuard from "../wal/WalGuard.ts"
import * as FileFactsOf from "./FileFacts.ts"
import type { CheckpointPoint, DatabaseStatus, FileFacts } from "./Snapshot.ts"

/** A database that is watched. */
export interface Watched {
  /** What the operator calls it: the path as it was given. */
  readonly name: string
  readonly guard: WalGuard.WalGuard["Service"]
  /** Whether the file was moved or replaced since it was opened, which makes `/health` say so; asked every second. Default never. */
  readonly replaced?: Effect.Effect<boolean>
  /** What does not change while it is open. */
  readonly about?: { readonly pageBytes: number | null; readonly durability: string; readonly sqliteVersion: string }
  /** What its files take; asked every second. Default nothing is known. */
  readonly files?: Effect.Effect<FileFacts | null>
  /** What tells its metrics from those of others in the same process; default its name as `database`, as the guard has it. */
  readonly attributes?: Readonly<Record<string, string>>
}

export const inReach = Effect.gen(function* () {
  const guard = yield* WalGuard.WalGuard
  const { durability, filename, sql, version } = yield* Database.Database
  const { isReplaced } = yield* DatabaseControl
  const asked = sql.unsafe<{ readonly page_size: unknown }>("PRAGMA page_size").withoutTransform
  const pageBytes = yield* asked.pipe(
    Effect.map((rows) => Number(Object.values(rows[0] ?? {})[0] ?? Number.NaN)),
    Effect.orElseSucceed(() => Number.NaN),
    Effect.withTracerEnabled(false),
  )
  return {
    name: filename,
    guard,
    about: { pageBytes: Number.isSafeInteger(pageBytes) ? pageBytes : null, durability, sqliteVersion: version },
    files: yield* FileFactsOf.make(filename),
    replaced: Effect.sync(isReplaced),
    attributes: { database: filename },
  } satisfies Watched
})

/** Gauges of its own for each database: one with other attributes at each update computes its key each time. */
const gaugesOf = (attributes: Readonly<Record<string, string>>) => ({
  exposureSeconds: Metric.gauge(exposureSeconds.id, { attributes, description: exposureSeconds.description }),
  blockedSeconds: Metric.gauge("seawall_wal_blocked_seconds", {
    attributes,
    description: "For how long checkpoints could not finish, in seconds; 0 when they do",
  }),
  walBytes: Metric.gauge("seawall_wal_bytes", { attributes, description: "Size of the file of the WAL, in bytes" }),
  databaseBytes: Metric.gauge("seawall_database_bytes", {
    attributes,
    description: "Size of the database file, in bytes",
  }),
  diskFreeBytes: Metric.gauge("seawall_disk_free_bytes", {
    attributes,
    description: "Free on the disk of the database, in bytes",
  }),
  failuresInARow: Metric.gauge("seawall_wal_checkpoint_failures", {
    attributes,
    description: "Checkpoints in a row that failed, up to now",
  }),
})

const pointOf = ({ at, elapsedMillis, ...rest }: FinishedCheckpoint): CheckpointPoint => ({
  ...rest,
  at_ms: at,
  elapsed_ms: elapsedMillis,
})

const latencyOf = (finished: GuardStatus["finished"]): DatabaseStatus["latency"] => ({
  runs: "all",
  p50_ms: null,
  p95_ms: null,
  max_ms: null,
  ...latencyOfAll(finished),
})

export interface DatabaseSource {
  readonly name: string
  readonly now: Effect.Effect<DatabaseStatus>
  /** The checkpoints that ended after this one, oldest first, as far as they are remembered. */
  readonly checkpointsAfter: (number: number) => Effect.Effect<ReadonlyArray<CheckpointPoint>>
  /** Brings up to date what a metric only knows when it is told. */
  readonly measure: (status: DatabaseStatus) => Effect.Effect<void>
}

const nothing: Effect.Effect<null> = Effect.succeed(null)

/** An incident with its ages, as the page shows it. */
const blockedOf = Effect.fnUntraced(function* ({ outcome, runs, seen, since }: Incident) {
  const millis = yield* Clock.currentTimeMillis
  const nanos = yield* Clock.monotonicTimeNanos
  const age = (from: bigint) => {
    const seconds = Number(nanos - from) / 1e9
    return { seconds, since_ms: Math.round(millis - seconds * 1000) }
  }
  const blockers = [...seen.values()].map(({ command, lock, pid, since: from }) => ({
    pid,
    command: shortCommand(command),
    lock,
    ...age(from),
  }))
  return { outcome, runs, ...age(since), blockers }
})

export const make = ({
  about,
  attributes: given,
  files = nothing,
  guard,
  name,
  replaced = Effect.succeed(false),
}: Watched): DatabaseSource => {
  const gauges = gaugesOf(given ?? { database: name })
  let measured: { readonly blocked?: number; readonly failures?: number; readonly files?: FileFacts | null } = {}
  /** Sorting 512 numbers is for when there is a new one. */
  let summary = { of: 0, latency: latencyOf([]) }
  const latest = (finished: GuardStatus["finished"]) => {
    const number = finished.at(-1)?.number ?? 0
    if (number !== summary.of) summary = { of: number, latency: latencyOf(finished) }
    return summary.latency
  }

  const now = Effect.gen(function* () {
    const status = yield* guard.status
    const { exposureSeconds: exposed, failures, finished, frames, incident, interval, maxFrames, writers } = status
    const last = finished.at(-1)
    const state = Duration.isZero(interval) ? "off" : "guarded"
    return {
      name,
      state: (yield* replaced) ? "replaced" : state,
      interval_seconds: Duration.toSeconds(interval),
      log_frames: Option.match(frames, { onNone: () => null, onSome: ({ log }) => log }),
      backlog_frames: Option.match(frames, {
        onNone: () => null,
        onSome: ({ checkpointed, log }) => log - checkpointed,
      }),
      exposure_seconds: Option.getOrNull(exposed),
      last_checkpoint: last === undefined ? null : pointOf(last),
      latency: latest(finished),
      failures,
      blocked: Option.isSome(incident) && incident.value.told ? yield* blockedOf(incident.value) : null,
      bound_frames: maxFrames,
      page_bytes: about?.pageBytes ?? null,
      durability: writers === "elsewhere" ? null : (about?.durability ?? null),
      sqlite_version: about?.sqliteVersion ?? null,
      files: yield* files,
      writes: null,
    } satisfies DatabaseStatus
  })

  return {
    name,
    now,
    checkpointsAfter: (number) =>
      Effect.map(guard.status, ({ finished }) => finished.filter((it) => it.number > number).map(pointOf)),
    measure: Effect.fnUntraced(function* (status: DatabaseStatus) {
      if (status.exposure_seconds !== null) yield* Metric.update(gauges.exposureSeconds, status.exposure_seconds) // the guard sets it, too
      if (status.files !== null && status.files !== measured.files) {
        yield* Metric.update(gauges.walBytes, status.files.log_bytes)
        if (status.files.database_bytes !== null)
          yield* Metric.update(gauges.databaseBytes, status.files.database_bytes)
        if (status.files.disk_free_bytes !== null)
          yield* Metric.update(gauges.diskFreeBytes, status.files.disk_free_bytes)
      }
      const blocked = status.blocked?.seconds ?? 0
      if (blocked !== measured.blocked) yield* Metric.update(gauges.blockedSeconds, blocked)
      if (status.failures !== measured.failures) yield* Metric.update(gauges.failuresInARow, status.failures)
      measured = { blocked, failures: status.failures, files: status.files }
    }),
  }
}
