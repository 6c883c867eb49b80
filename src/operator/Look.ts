/**
 * One look at a SQLite database that belongs to somebody else: takes no lock that a writer or a checkpointer could feel,
 * waits for nobody, and creates, changes and leaves nothing.
 *
 * In this order, because POSIX drops all of a process's locks on a file when any descriptor for it is closed: the files as
 * bytes, who has them open, and at the very end, when anything is to be read by SQLite, one connection for milliseconds.
 * Refuses in a process that has the database open itself; of a connection that Seawall did not open it knows on Linux
 * alone, in WAL mode.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { DateTime, Effect, FileSystem, Option, Schema } from "effect"
import type { SqlClient } from "effect/sql"
import type { Layer } from "effect"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import { ensureNotOpenHere, type OpenHereError } from "../processes/OpenFiles.ts"
import { ensureSameFile, type OtherFileError } from "../processes/OtherFile.ts"
import { hasOther, isUsing, type Process, using } from "../processes/Processes.ts"
import * as DatabaseHeader from "../sqlite/outside/DatabaseHeader.ts"
import { DatabaseOpenError } from "../sqlite/DatabaseOpenError.ts"
import type { FileBytesError } from "../sqlite/outside/FileBytes.ts"
import * as LogFile from "../sqlite/outside/LogFile.ts"
import * as LogIndex from "../sqlite/outside/LogIndex.ts"
import { nativeMessage, nativeReason } from "../sqlite/NativeError.ts"
import { NotAtRestError } from "../sqlite/outside/AtRest.ts"
import * as ReadOnly from "../sqlite/outside/ReadOnly.ts"
import { stored, type StoredState } from "../state/StoredState.ts"
import * as EngineLease from "./EngineLease.ts"
import { Status } from "./Status.ts"

/** No database, one that cannot be read, or one that is open here. */
export type LookError = DatabaseHeader.DatabaseHeaderError | FileBytesError | OpenHereError | OtherFileError

interface Log extends Pick<
  Status,
  | "log_read_from"
  | "log_frames"
  | "checkpointed_frames"
  | "backlog_frames"
  | "checkpoint_sequence"
  | "log_commits"
  | "log_end"
> {}

const unknownLog: Log = {
  log_read_from: Option.none(),
  log_frames: Option.none(),
  checkpointed_frames: Option.none(),
  backlog_frames: Option.none(),
  checkpoint_sequence: Option.none(),
  log_commits: Option.none(),
  log_end: Option.none(),
}

/** Beside a writer the copies of the header may differ for as long as it takes to write one of them. */
const attempts = 5

const logInUse = Effect.fnUntraced(function* (target: DatabaseFile.DatabaseFile) {
  const index = yield* LogIndex.read(target.shm).pipe(
    Effect.repeat({ until: (it) => Option.isNone(it) || it.value.state === "Valid", times: attempts }),
  )
  if (Option.isNone(index) || index.value.state !== "Valid") return unknownLog
  const { mxFrame, nBackfill, salts } = index.value
  const header = yield* LogFile.readHeader(target.wal)
  const own = Option.filter(header, (it) => it.salts[0] === salts[0] && it.salts[1] === salts[1])
  return {
    ...unknownLog,
    log_read_from: Option.some("index"),
    log_frames: Option.some(mxFrame),
    checkpointed_frames: Option.some(Math.min(nBackfill, mxFrame)),
    backlog_frames: Option.some(LogIndex.framesNotCheckpointed({ mxFrame, nBackfill })),
    checkpoint_sequence: Option.map(own, ({ checkpointSequence }) => checkpointSequence),
  } satisfies Log
})

/** Its next user keeps the frames up to the last commit, and has all of them to copy, whatever was copied before. */
const logLeft = Effect.fnUntraced(function* (target: DatabaseFile.DatabaseFile) {
  const log = yield* LogFile.read(target.wal)
  if (Option.isNone(log)) return unknownLog
  const { commits, end, header, recoverableFrames } = log.value
  return {
    log_read_from: Option.some("log"),
    log_frames: Option.some(recoverableFrames),
    checkpointed_frames: Option.none(),
    backlog_frames: Option.some(recoverableFrames),
    checkpoint_sequence: Option.map(header, ({ checkpointSequence }) => checkpointSequence),
    log_commits: Option.some(commits),
    log_end: Option.some(end.reason),
  } satisfies Log
})

const emptyLog: Log = { ...unknownLog, log_frames: Option.some(0), backlog_frames: Option.some(0) }

type Engine =
  | { readonly state: "absent" }
  | { readonly state: "read"; readonly stored: StoredState }
  | { readonly state: "not_read"; readonly reason: string; readonly isPassing: boolean }

const notRead = (reason: string, isPassing = false): Engine => ({ state: "not_read", reason, isPassing })

const whyNot = (error: unknown) => {
  if (error instanceof NotAtRestError) {
    return error.reason === "Open"
      ? "another process opened the database during this look; look again"
      : `${error.what.join(", ")} was left by a process that was ended, and belongs to the database; whatever opens it for writing next takes it over`
  }
  if (Schema.isSchemaError(error)) return "its tables are not those of an engine that Seawall knows"
  if (error instanceof DatabaseOpenError && error.reason === "Unknown" && error.detail !== "") return error.detail
  if (nativeReason(error) === "Busy") return "somebody has the database for itself at this moment; look again"
  return nativeMessage(error)
}

const readThrough = <E>(connection: Layer.Layer<SqlClient.SqlClient, E>) =>
  stored.pipe(
    Effect.map(
      Option.match({
        onNone: (): Engine => ({ state: "absent" }),
        onSome: (it): Engine => ({ state: "read", stored: it }),
      }),
    ),
    Effect.provide(connection),
    Effect.catchDefect(Effect.fail),
    Effect.catch((error) => Effect.succeed(notRead(whyNot(error), nativeReason(error) === "ReadOnly"))),
  )

interface Seen {
  readonly target: DatabaseFile.DatabaseFile
  readonly journalMode: "wal" | "rollback"
  readonly isOpen: boolean
  readonly canSeeProcesses: boolean
  readonly logBytes: number
  /** A process has another, or a deleted, file of this name open. */
  readonly isMixed: boolean
}

const readEngine = ({
  canSeeProcesses,
  isMixed,
  isOpen,
  journalMode,
  logBytes,
  target,
}: Seen): Effect.Effect<Engine> => {
  if (isMixed) {
    return Effect.succeed(notRead("a process has another, or a deleted, file of this name open; see seawall doctor"))
  }
  if (!isOpen && logBytes === 0) return readThrough(ReadOnly.layer(target.path, "AtRest"))
  if (!isOpen) {
    const left = canSeeProcesses
      ? "the log was left by a process that did not close it"
      : "the processes that use the database cannot be seen on this system"
    return Effect.succeed(notRead(`${left}; opening the database could take the log over, which changes its files`))
  }
  if (journalMode === "rollback") {
    return Effect.succeed(notRead("it is not in WAL mode, so a writer would have to wait for the reader"))
  }
  // In the middle of a write of the header SQLite takes the index for damaged, and may not repair it.
  return Effect.repeat(readThrough(ReadOnly.layer(target.path, "OpenBriefly")), {
    until: (it) => it.state !== "not_read" || !it.isPassing,
    times: attempts,
  })
}

const engineFields = (engine: Engine, mayRun: boolean) => {
  const found = engine.state === "read" ? Option.some(engine.stored) : Option.none()
  const session = Option.flatMap(found, ({ lastSession }) => lastSession)
  const withoutEnd = mayRun ? ("open" as const) : ("not_closed" as const)
  return {
    engine_state: engine.state,
    engine_state_reason: engine.state === "not_read" ? Option.some(engine.reason) : Option.none(),
    engine_status: Option.flatMap(found, ({ engineStatus }) => engineStatus),
    halt_reason: Option.flatMap(found, ({ haltReason }) => haltReason),
    halt_detail: Option.flatMap(found, ({ haltDetail }) => haltDetail),
    session_id: Option.map(session, ({ sessionId }) => sessionId),
    parent_session_id: Option.flatMap(session, ({ parentSessionId }) => parentSessionId),
    session_started_at: Option.map(session, ({ startedAt }) => startedAt),
    session_ended_at: Option.flatMap(session, ({ endedAt }) => endedAt),
    session_state: Option.map(session, ({ endedAt }) => (Option.isSome(endedAt) ? ("closed" as const) : withoutEnd)),
    session_halt_reason: Option.flatMap(session, ({ haltReason }) => haltReason),
    session_starting_value_rlusd: Option.flatMap(session, ({ startingValueRlusd }) => startingValueRlusd),
    session_ending_value_rlusd: Option.flatMap(session, ({ endingValueRlusd }) => endingValueRlusd),
  }
}

const iso = (millis: number) => DateTime.formatIso(DateTime.makeUnsafe(millis))

const openedBy = ({ command, has, locks, pid, runningSince }: Process) => ({
  pid,
  command,
  locks,
  has,
  process_started_at: Option.map(runningSince, iso),
  reading_since: Option.none(),
})

/** Needs the right to read the database and its sidecars, nothing else. What is not known is none in the answer. */
export const look = Effect.fn("Look.look")(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const lookedAt = yield* DateTime.now
  const target = DatabaseFile.resolve(file)
  yield* ensureNotOpenHere(target)
  if (target.found === undefined) yield* ensureSameFile(target)
  const stat = (path: string) => Effect.option(fs.stat(path))
  const sizeOf = (path: string) =>
    Effect.map(stat(path), (found) =>
      Number(
        Option.getOrElse(
          Option.map(found, ({ size }) => size),
          () => 0n,
        ),
      ),
    )

  const header = yield* DatabaseHeader.read(file)
  const processes = yield* using(target)
  const canSeeProcesses = Option.isSome(processes)
  const isOpen = Option.exists(processes, (them) => them.some(isUsing))
  const database = yield* stat(target.path)
  const logBytes = yield* sizeOf(target.wal)
  const indexBytes = yield* sizeOf(target.shm)
  const journalMode = Option.map(header, (it) => it.journalMode)
  const withoutLog = Option.contains(journalMode, "wal") ? emptyLog : unknownLog
  const log = isOpen ? yield* logInUse(target) : logBytes > 0 ? yield* logLeft(target) : withoutLog

  // From here on nothing may read the files as bytes before the connection is closed again.
  const reading: Effect.Effect<Engine> = Option.isNone(journalMode)
    ? Effect.succeed({ state: "absent" })
    : readEngine({
        target,
        journalMode: journalMode.value,
        isOpen,
        canSeeProcesses,
        logBytes,
        isMixed: Option.exists(processes, (them) => them.some(hasOther)),
      })
  const { answer: engine, lease } = yield* EngineLease.around(file, reading)
  const mayRun = EngineLease.isHeld(lease) || (!EngineLease.isLeft(lease) && (isOpen || !canSeeProcesses))

  return new Status({
    file,
    looked_at: DateTime.formatIso(lookedAt),
    database_bytes: Number(
      Option.getOrElse(
        Option.map(database, ({ size }) => size),
        () => 0n,
      ),
    ),
    database_changed_at: Option.map(
      Option.flatMap(database, ({ mtime }) => mtime),
      (at) => iso(at.getTime()),
    ),
    page_bytes: Option.map(header, ({ pageSize }) => pageSize),
    journal_mode: journalMode,
    log_bytes: logBytes,
    index_bytes: indexBytes,
    ...log,
    opened_by: Option.map(processes, (them) => them.map(openedBy)),
    ...EngineLease.fieldsOf(lease),
    ...engineFields(engine, mayRun),
  })
}, Effect.provide(NodeFileSystem.layer))
