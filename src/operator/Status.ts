/**
 * What can be known of a SQLite database from outside, without being felt: the form of it, which is its JSON, too.
 *
 * Sizes are in bytes and frames, times in ISO 8601 (UTC). What is null is not known, or is not there. `Look` fills it.
 */
import { Option, Schema } from "effect"
import { LeaseHolder } from "../engine/Lease.ts"
import { LogEndReason } from "../sqlite/outside/LogFile.ts"
import { WalLock } from "../processes/LockTable.ts"

const Nullable = Schema.OptionFromNullOr

/** Bytes, frames, pages. */
const Count = Schema.Int

const Time = Schema.String

/** A process that has the database open. */
export const OpenedBy = Schema.Struct({
  pid: Schema.Int,
  /** As it was started, at most 200 characters. */
  command: Schema.String,
  /** Of the log; `read0` to `read4` are the slots of readers. */
  locks: Schema.Array(WalLock),
  /** What it has open: this database, the same by another name with another WAL, a deleted file (or WAL) or another one of its name, or what cannot be told. */
  has: Schema.Literals(["this", "elsewhere", "deleted", "unknown", "another"]),
  /** It may have opened the database later. */
  process_started_at: Nullable(Time),
  /** Since this look every one has found it in the same read slot. Null for one look alone. */
  reading_since: Nullable(Time),
})
export type OpenedBy = typeof OpenedBy.Type

/** What `look` answers: none where the JSON has null. */
export class Status extends Schema.Class<Status>("seawall/operator/Status")({
  file: Schema.String,
  looked_at: Time,
  database_bytes: Count,
  /** By a checkpoint, in WAL mode: a commit changes only the log. */
  database_changed_at: Nullable(Time),
  page_bytes: Nullable(Count),
  journal_mode: Nullable(Schema.Literals(["wal", "rollback"])),
  /** The file's size: it does not shrink when its frames are checkpointed. */
  log_bytes: Count,
  index_bytes: Count,
  /** Where the frames come from: the index of who has it open, or a log that was left and would be recovered. */
  log_read_from: Nullable(Schema.Literals(["index", "log"])),
  log_frames: Nullable(Count),
  checkpointed_frames: Nullable(Count),
  /** Not yet checkpointed. */
  backlog_frames: Nullable(Count),
  /** How often the log was started anew. */
  checkpoint_sequence: Nullable(Count),
  /** Transactions in a log that was left, which the next to open it keeps. */
  log_commits: Nullable(Count),
  /** Why a log that was left ends where it does. */
  log_end: Nullable(LogEndReason),
  /** Null where no process can be seen. Empty: no process is seen to use it; one in another container may be invisible. */
  opened_by: Nullable(Schema.Array(OpenedBy)),
  /** `absent`: no engine keeps its memory here. */
  engine_state: Schema.Literals(["read", "absent", "not_read"]),
  /** Why it was not read. */
  engine_state_reason: Nullable(Schema.String),
  /**
   * `held`: an engine runs. `left`: none does, and the last one crashed. `free`: none does, or one that takes no lease. Null when it
   * cannot be told, which `engine_lease_reason` explains.
   */
  engine_lease: Nullable(Schema.Literals(["held", "left", "free"])),
  engine_lease_reason: Nullable(Schema.String),
  /** The engine that runs; null also while it has not said who it is. */
  engine_holder: Nullable(LeaseHolder),
  engine_status: Nullable(Schema.String),
  halt_reason: Nullable(Schema.String),
  halt_detail: Nullable(Schema.String),
  session_id: Nullable(Schema.Int),
  parent_session_id: Nullable(Schema.Int),
  session_started_at: Nullable(Time),
  session_ended_at: Nullable(Time),
  /** `not_closed`: it has no end, and its engine crashed, or no process is seen to have the database open. */
  session_state: Nullable(Schema.Literals(["open", "closed", "not_closed"])),
  session_halt_reason: Nullable(Schema.String),
  session_starting_value_rlusd: Nullable(Schema.Finite),
  session_ending_value_rlusd: Nullable(Schema.Finite),
}) {}

/** As one line, as `seawall status --json` prints it. */
export const StatusJson = Schema.fromJsonString(Status)

const isReadSlot = (lock: WalLock) => lock.startsWith("read")

export const isReading = ({ locks }: Pick<OpenedBy, "locks">) => locks.some(isReadSlot)

/** The later of two looks, with since when the looks have found each reader in its slot. */
export const following = (before: Option.Option<Status>, now: Status): Status => {
  const earlier = Option.flatMap(before, ({ opened_by }) => opened_by)
  const since = (opener: OpenedBy) => {
    if (!isReading(opener)) return Option.none()
    const known = Option.getOrElse(earlier, () => []).find(
      ({ locks, pid, reading_since }) =>
        pid === opener.pid &&
        Option.isSome(reading_since) &&
        locks.some((lock) => isReadSlot(lock) && opener.locks.includes(lock)),
    )
    return known === undefined ? Option.some(now.looked_at) : known.reading_since
  }
  const opened_by = Option.map(now.opened_by, (openers) =>
    openers.map((opener) => ({ ...opener, reading_since: since(opener) })),
  )
  return new Status({ ...now, opened_by })
}
