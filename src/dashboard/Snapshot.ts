/**
 * What an operator sees of a running program at one moment: the answer of `/api/status`, and each tick of the page.
 *
 * Only plain JSON, so that what is encoded is what stands here. Times are milliseconds since 1970, and every name ends in
 * its unit. An unknown value is null, never 0.
 */
import { Schema } from "effect"
import { WalLock } from "../processes/LockTable.ts"
import { CheckpointMode, CheckpointOutcome } from "../wal/Checkpoint.ts"

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const { Finite } = Schema

/** A checkpoint that ended. */
export const CheckpointPoint = Schema.Struct({
  /** Counts up from 1 for the life of the guard. */
  number: Count,
  at_ms: Finite,
  mode: CheckpointMode,
  /** What asked for it. */
  why: Schema.Literals(["interval", "size", "end"]),
  outcome: Schema.Literals([...CheckpointOutcome.literals, "Failed"]),
  elapsed_ms: Finite,
})
export type CheckpointPoint = typeof CheckpointPoint.Type

/** Checkpoints that cannot finish, and the processes that block them. */
const Blocked = Schema.Struct({
  outcome: CheckpointOutcome,
  /** Runs in a row that could not finish. */
  runs: Count,
  since_ms: Finite,
  seconds: Finite,
  /** The processes that are seen to block them; `command` is short, as in log lines. */
  blockers: Schema.Array(
    Schema.Struct({ pid: Schema.Int, command: Schema.String, lock: WalLock, since_ms: Finite, seconds: Finite }),
  ),
})

/** Figures of the remembered checkpoints. */
const Latency = Schema.Struct({
  /** By interval, by size and at the end, also those that failed; the aggregate line has those by interval beside them. */
  runs: Schema.Literal("all"),
  n: Count,
  p50_ms: Schema.NullOr(Finite),
  p95_ms: Schema.NullOr(Finite),
  max_ms: Schema.NullOr(Finite),
  /** How many took longer than `slow_checkpoint_ms`. */
  slow: Count,
})

const FileFacts = Schema.Struct({
  /** Size of the database file. */
  database_bytes: Schema.NullOr(Count),
  /** Size of the WAL, which does not shrink when its frames are copied. */
  log_bytes: Count,
  /** On the disk of the database, for this user. */
  disk_free_bytes: Schema.NullOr(Finite),
  /** When the newest backup beside it was made; null when there is none. */
  last_backup_ms: Schema.NullOr(Finite),
})
/** What the files take, and what is left; some seconds old. */
export type FileFacts = typeof FileFacts.Type

const WriteFigures = Schema.Struct({
  /** Transactions of the writer: each has one write or many. */
  batches_per_second: Finite,
  commit_p50_ms: Schema.NullOr(Finite),
  commit_p99_ms: Schema.NullOr(Finite),
  /** Null where nothing is synced by itself. */
  sync_p99_ms: Schema.NullOr(Finite),
  /** Writes that waited when the last batch was taken. */
  queue_depth: Finite,
})
/** The writes of the last minute through the `Writer`; a quantile is the upper bound of the bucket in which it lies. */
export type WriteFigures = typeof WriteFigures.Type

/** Something that went wrong with a database, or does. */
export const Incident = Schema.Struct({
  kind: Schema.Literals(["blocked", "failing", "slow", "replaced"]),
  database: Schema.String,
  /** By whom, or how often. */
  detail: Schema.String,
  since_ms: Finite,
  /** Null while it lasts. */
  until_ms: Schema.NullOr(Finite),
})
export type Incident = typeof Incident.Type

/** One database: its WAL, what a power cut could take, and how its checkpoints go. */
export const DatabaseStatus = Schema.Struct({
  name: Schema.String,
  /** `off`: the guard does not checkpoint. `replaced`: the file was moved or replaced, and is left alone. */
  state: Schema.Literals(["guarded", "off", "replaced"]),
  /** From the end of one checkpoint to the start of the next; 0 = off. */
  interval_seconds: Finite,
  log_frames: Schema.NullOr(Count),
  backlog_frames: Schema.NullOr(Count),
  /** The age of the oldest commit that a power cut could take. Null when other processes write: it cannot be seen. */
  exposure_seconds: Schema.NullOr(Finite),
  last_checkpoint: Schema.NullOr(CheckpointPoint),
  latency: Latency,
  /** Checkpoints in a row that failed. */
  failures: Count,
  /** Null as long as checkpoints finish, or have been held up for a moment only. */
  blocked: Schema.NullOr(Blocked),
  /** The length of the WAL that is held beside the interval, in frames; 0 = off. */
  bound_frames: Count,
  /** A frame has 24 bytes more. */
  page_bytes: Schema.NullOr(Count),
  /** What an acknowledged write survives; null of a guard beside other programs. */
  durability: Schema.NullOr(Schema.String),
  sqlite_version: Schema.NullOr(Schema.String),
  files: Schema.NullOr(FileFacts),
  /** Null where nothing is written through a `Writer` of this process. */
  writes: Schema.NullOr(WriteFigures),
})
export type DatabaseStatus = typeof DatabaseStatus.Type

/** The engine of this process. */
export const EngineStatus = Schema.Struct({
  session_id: Schema.Int,
  status: Schema.Literals(["RUNNING", "HALTING"]),
  ticks: Count,
  /** Why this session halts, once that is known; `HALTING` from then on. */
  halt_reason: Schema.NullOr(Schema.String),
  /** How the session before this one ended. */
  last_halt_reason: Schema.NullOr(Schema.String),
  /** The figures of its program: see `EngineProgram.title` and `EngineProgram.figures`. */
  title: Schema.String,
  figures: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      label: Schema.String,
      value: Finite,
      unit: Schema.String,
      is_gain: Schema.Boolean,
    }),
  ),
})
export type EngineStatus = typeof EngineStatus.Type

/** Which of the machines around a server runs the engine. */
export const LeadershipStatus = Schema.Struct({
  /** The server, database and schema, without a secret. */
  where: Schema.String,
  /** Whether it is this process. */
  leads_here: Schema.Boolean,
  /** Null without a leader. */
  leader: Schema.NullOr(
    Schema.Struct({
      session_id: Schema.Int,
      pid: Schema.Int,
      command: Schema.String,
      host: Schema.String,
      /** Null when what is stored there is no time. */
      since_ms: Schema.NullOr(Finite),
      /** How long ago the server last heard of it: the lag of its heartbeat. */
      heard_seconds: Finite,
    }),
  ),
  /** The machines that wait for the lease, `host:pid` each. */
  standbys: Schema.Array(Schema.String),
  /** After which a leader that is not heard is replaced. */
  lease_seconds: Finite,
  /** For how long there was no leader, as far as this process has seen; 0 while there is one. */
  leaderless_seconds: Finite,
  /** Why the server cannot be asked; then the rest is from when it could. */
  problem: Schema.NullOr(Schema.String),
})
export type LeadershipStatus = typeof LeadershipStatus.Type

/** What the program calls slow, how much of the past it remembers, and how often it speaks: said once, here. */
const Limits = Schema.Struct({
  /** A checkpoint that takes longer is called slow. */
  slow_checkpoint_ms: Finite,
  /** Samples of each database, one a second; with very many databases fewer. */
  samples: Count,
  /** Checkpoints of each database. */
  checkpoints: Count,
  /** Lines of log. */
  log_lines: Count,
  /** From one tick of the stream to the next. */
  tick_ms: Finite,
})

/** Why `/health` answers 503. */
export const HealthReason = Schema.Struct({
  reason: Schema.Literals(["blocked", "exposure", "failing", "replaced", "leaderless", "unheard", "unreachable"]),
  /** Its name; of the last three that of the server. */
  database: Schema.String,
  detail: Schema.String,
})
export type HealthReason = typeof HealthReason.Type

/** All of it at one moment. */
export const Snapshot = Schema.Struct({
  seawall_version: Schema.String,
  /** Names this run of the program; another one after a restart. */
  run_id: Schema.String,
  pid: Schema.Int,
  at_ms: Finite,
  elapsed_seconds: Finite,
  health: Schema.Struct({ ok: Schema.Boolean, reasons: Schema.Array(HealthReason) }),
  limits: Limits,
  databases: Schema.Array(DatabaseStatus),
  /** The newest first, at most 20 of those that are remembered; the rest is at `/api/incidents`. */
  incidents: Schema.Array(Incident),
  /** Null where no engine runs, as in a guard, or while it stands by. */
  engine: Schema.NullOr(EngineStatus),
  /** Null where no other machine can run the engine, as on SQLite. */
  leadership: Schema.NullOr(LeadershipStatus),
})
export type Snapshot = typeof Snapshot.Type
