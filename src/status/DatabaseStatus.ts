/**
 * What can be known of a SQLite database from outside, without being felt: takes no lock that a writer or a checkpointer could
 * feel, waits for none, and creates, changes and leaves nothing.
 *
 * In this order, because POSIX drops all of a process's locks on a file when any descriptor for it is closed: the facts, which
 * are bytes and processes, and at the very end, when anything is to be read by SQLite, one connection for milliseconds.
 * Refuses in a process that has the database open itself; of a connection that Seawall did not open it knows on Linux
 * alone, in WAL mode.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { DateTime, Effect, Option, Schema } from "effect"
import * as Lease from "../lease/Lease.ts"
import * as EngineLease from "../facts/EngineLease.ts"
import * as Facts from "../facts/Facts.ts"
import { WalLock } from "../processes/LockTable.ts"
import type { Process } from "../processes/Processes.ts"
import type { FileBytesError } from "../sqlite/outside/FileBytes.ts"
import { WalEndReason } from "../sqlite/outside/WalFile.ts"
import * as EngineFields from "./EngineFields.ts"
import * as StoredEngine from "./StoredEngine.ts"
import * as WalStatus from "./WalStatus.ts"

export type { OpenHereError } from "../processes/OpenFiles.ts"
export type { OtherFileError } from "../processes/OtherFile.ts"
export type { DatabaseHeaderError } from "../sqlite/outside/DatabaseHeader.ts"
export type { FileBytesError }

const Nullable = Schema.OptionFromNullOr

/** Bytes, frames, pages. */
const Count = Schema.Int

const Time = Schema.String

/** A process that has the database open. */
export const OpenedBy = Schema.Struct({
  pid: Schema.Int,
  /** As it was started, at most 200 characters. */
  command: Schema.String,
  /** Locks on the WAL; `read0` to `read4` are the slots of readers. */
  locks: Schema.Array(WalLock),
  /** What it has open: this database, the same by another name with another WAL, a deleted file (or WAL) or another one of its name, or what cannot be told. */
  has: Schema.Literals(["this", "elsewhere", "deleted", "unknown", "another"]),
  /** It may have opened the database later. */
  process_started_at: Nullable(Time),
  /** Since when each look has found it in the same read slot. Null for one look alone. */
  reading_since: Nullable(Time),
  /** Since when each look has found it with the lock of a writer, which it has for as long as its transaction is. */
  writing_since: Nullable(Time),
})
export type OpenedBy = typeof OpenedBy.Type

/** What `read` answers: none where the JSON has null. Sizes are in bytes and frames, times in ISO 8601 (UTC). */
export class Status extends Schema.Class<Status>("seawall/status/Status")({
  file: Schema.String,
  looked_at: Time,
  database_bytes: Count,
  /** By a checkpoint, in WAL mode: a commit changes only the WAL. */
  database_changed_at: Nullable(Time),
  page_bytes: Nullable(Count),
  /** These four are from the header of the file: in WAL mode as of the last checkpoint. */
  pages: Nullable(Count),
  free_pages: Nullable(Count),
  user_version: Nullable(Schema.Int),
  application_id: Nullable(Schema.Int),
  journal_mode: Nullable(Schema.Literals(["wal", "rollback"])),
  /** The file's size: it does not shrink when its frames are checkpointed. */
  log_bytes: Count,
  index_bytes: Count,
  /** Where the frames come from: the index of those that have it open, or a WAL that was left and would be recovered. */
  log_read_from: Nullable(Schema.Literals(["index", "log"])),
  log_frames: Nullable(Count),
  checkpointed_frames: Nullable(Count),
  /** Not yet checkpointed. */
  backlog_frames: Nullable(Count),
  /** How often the WAL was started again at its beginning. */
  checkpoint_sequence: Nullable(Count),
  /** Transactions in a WAL that was left, which the next to open it keeps. */
  log_commits: Nullable(Count),
  /** Why a WAL that was left ends where it does. */
  log_end: Nullable(WalEndReason),
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
  engine_holder: Nullable(Lease.LeaseHolder),
  ...EngineFields.fields,
}) {}

/** As one line, as `seawall status --json` prints it. */
export const StatusJson = Schema.fromJsonString(Status)

const isReadSlot = (lock: WalLock) => lock.startsWith("read")

/** Whether it holds a read slot, so that the WAL cannot start again at its beginning.
 * @internal
 */
export const isReading = ({ locks }: Pick<OpenedBy, "locks">) => locks.some(isReadSlot)

/** Whether it has the lock of a writer.
 * @internal
 */
export const isWriting = ({ locks }: Pick<OpenedBy, "locks">) => locks.includes("write")

/** The later of two looks, with since when the looks have found each reader in its slot, and the writer with its lock. */
export const following = (before: Option.Option<Pick<Status, "opened_by">>, now: Status): Status => {
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
  const writingSince = (opener: OpenedBy) => {
    if (!isWriting(opener)) return Option.none()
    const known = Option.getOrElse(earlier, () => []).find((it) => it.pid === opener.pid && isWriting(it))
    return known === undefined ? Option.some(now.looked_at) : known.writing_since
  }
  const opened_by = Option.map(now.opened_by, (openers) =>
    openers.map((opener) => ({ ...opener, reading_since: since(opener), writing_since: writingSince(opener) })),
  )
  return new Status({ ...now, opened_by })
}

/** No database, one that cannot be read, or one that is open here. Nothing was changed. */
export type DatabaseStatusError = Facts.FactsError | FileBytesError

const engineFields = (engine: StoredEngine.StoredEngine, mayRun: boolean) => ({
  engine_state: engine.state,
  engine_state_reason: engine.state === "not_read" ? Option.some(engine.reason) : Option.none(),
  ...EngineFields.of(engine.state === "read" ? Option.some(engine.stored) : Option.none(), mayRun),
})

const iso = (millis: number) => DateTime.formatIso(DateTime.makeUnsafe(millis))

const openedBy = ({ command, has, locks, pid, runningSince }: Process): OpenedBy => ({
  pid,
  command,
  locks,
  has,
  process_started_at: Option.map(runningSince, iso),
  reading_since: Option.none(),
  writing_since: Option.none(),
})

/** Needs the right to read the database and its sidecars, nothing else. An unknown value is none in the answer. */
export const read: (file: string) => Effect.Effect<Status, DatabaseStatusError> = Effect.fn("DatabaseStatus.read")(
  function* (file: string) {
    const lookedAt = yield* DateTime.now
    const facts = yield* Facts.gather(file, { wal: "whenLeft" })
    const wal = yield* WalStatus.of(facts)
    // From here on nothing may read the files as bytes before the connection is closed again.
    const { answer: engine, lease } = yield* EngineLease.around(file, facts.lease, StoredEngine.read(facts))
    const mayUse = Facts.isUsed(facts) || Option.isNone(facts.processes)
    const mayRun = EngineLease.isHeld(lease) || (!EngineLease.isLeft(lease) && mayUse)
    return new Status({
      file,
      looked_at: DateTime.formatIso(lookedAt),
      database_bytes: facts.bytes,
      database_changed_at: Option.map(facts.changedAt, iso),
      page_bytes: Option.map(facts.header, ({ pageSize }) => pageSize),
      pages: Option.map(facts.header, ({ pages }) => pages),
      free_pages: Option.map(facts.header, ({ freePages }) => freePages),
      user_version: Option.map(facts.header, ({ userVersion }) => userVersion),
      application_id: Option.map(facts.header, ({ applicationId }) => applicationId),
      journal_mode: Option.map(facts.header, ({ journalMode }) => journalMode),
      log_bytes: Facts.walSize(facts),
      index_bytes: Option.getOrElse(facts.indexBytes, () => 0),
      ...wal,
      opened_by: Option.map(facts.everyProcess, (them) => them.map(openedBy)),
      engine_lease:
        lease._tag === "Unknown"
          ? Option.none()
          : Option.some(EngineLease.isHeld(lease) ? "held" : EngineLease.isLeft(lease) ? "left" : "free"),
      engine_lease_reason: lease._tag === "Unknown" ? Option.some(lease.why) : Option.none(),
      engine_holder: EngineLease.holderOf(lease),
      ...engineFields(engine, mayRun),
    })
  },
  Effect.provide([NodeFileSystem.layer, NodePath.layer]),
)
