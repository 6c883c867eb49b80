/** What the database file, its log and the log's index say as bytes. Nothing here opens the database with SQLite. */
import { Effect, Option, Result } from "effect"
import * as LogIndex from "../sqlite/outside/LogIndex.ts"
import * as SqliteVersion from "../sqlite/SqliteVersion.ts"
import { type Examination, needsLinux, type Seen } from "./Examination.ts"
import { type Facts, isOpen, validIndex } from "./Facts.ts"
import * as LogDamage from "./LogDamage.ts"
import { command } from "../sqlite/ShellCommand.ts"
import { count, size } from "./Wording.ts"

const nothing = (seen: string): Seen => ({ seen, findings: [] })

/** In WAL mode, or with a log that its next user will read. */
export const isWal = ({ header, logBytes }: Facts) =>
  Option.exists(header, ({ journalMode }) => journalMode === "wal") || Option.exists(logBytes, (bytes) => bytes > 0)

const log: Examination<never> = {
  subject: "log",
  examine: Effect.fnUntraced(function* (facts) {
    const parsed = yield* Effect.fromResult(facts.log)
    const damage = LogDamage.find(facts)
    const keeps = Option.match(parsed, {
      onNone: () => "there is none",
      onSome: ({ commits, end, recoverableFrames }) =>
        end.reason === "Empty"
          ? "it is empty"
          : `a recovery keeps ${count(commits, "commit")} (${count(recoverableFrames, "frame")}); end: ${end.reason}`,
    })
    const beside = Option.match(isOpen(facts) ? validIndex(facts) : Option.none(), {
      onNone: () => "",
      onSome: (index) =>
        `; in use: ${count(index.mxFrame, "frame")}, ${LogIndex.framesNotCheckpointed(index)} not checkpointed`,
    })
    return {
      seen: keeps + beside,
      findings: Option.toArray(damage).map(({ evidence, message, severity }) => ({
        severity,
        message,
        evidence,
        remedy: LogDamage.remedy(facts),
      })),
    }
  }),
}

const leftBehind: Examination<never> = {
  subject: "left-behind",
  examine: Effect.fnUntraced(function* (facts) {
    const bytes = Option.getOrElse(facts.logBytes, () => 0)
    const files = [
      ...(Option.isSome(facts.logBytes) ? [facts.target.wal] : []),
      ...(facts.hasIndex ? [facts.target.shm] : []),
      ...(facts.hasHotJournal ? [facts.target.journal] : []),
    ]
    if (files.length === 0) return nothing("no log, no index and no journal beside the database")
    if (Option.isNone(facts.processes)) return yield* needsLinux
    if (isOpen(facts)) return nothing(`${count(files.length, "file")} of those who have it open`)
    const parsed = Option.flatten(Result.getSuccess(facts.log))
    const commits = Option.match(parsed, { onNone: () => 0, onSome: (found) => found.commits })
    const evidence = { files, log_bytes: bytes, commits }
    if (facts.hasHotJournal) {
      return {
        seen: "a rollback journal without an owner",
        findings: [
          {
            severity: "warning",
            message: "a transaction was not ended, and its rollback journal is left: the next user rolls it back",
            evidence,
            remedy: `${command("sqlite3", facts.file)} 'SELECT count(*) FROM sqlite_schema'`,
          },
        ],
      }
    }
    return {
      seen: `${count(files.length, "file")} without an owner`,
      findings: [
        {
          severity: commits > 0 ? "warning" : "notice",
          message:
            commits > 0
              ? `a log is left that nobody has open, with ${count(commits, "commit")}: never move the database without it`
              : "the files of a log are left that nobody has open; they hold no commit",
          evidence,
          remedy: LogDamage.remedy(facts),
        },
      ],
    }
  }),
}

/** The bug needs WAL mode, and two connections that write or checkpoint; those of one process cannot be told apart. */
export const judgeVersion = (facts: Facts): Seen => {
  const writtenBy = Option.flatMap(facts.header, (header) => header.writtenBy)
  if (Option.isNone(writtenBy)) return nothing("the header does not say who wrote it last")
  const last = writtenBy.value
  const seen = `last written by SQLite ${last}`
  if (!isWal(facts)) return nothing(`${seen}, not in WAL mode`)
  const writers = SqliteVersion.writersOf(Option.getOrElse(facts.processes, () => []))
  return Option.match(SqliteVersion.riskOf(last, writers.length), {
    onNone: () => nothing(`${seen}, whose log reset is safe`),
    onSome: ({ message, remedy, severity }): Seen => ({
      seen,
      findings: [
        {
          severity,
          message: `the last writer: ${message}`,
          evidence: { sqlite_version: last, pids: writers.map(({ pid }) => pid), link: SqliteVersion.walResetBug },
          remedy: `in the program that writes: ${remedy}`,
        },
      ],
    }),
  })
}

const version: Examination<never> = {
  subject: "sqlite-version",
  examine: (facts) => Effect.succeed(judgeVersion(facts)),
}

/** A rollback journal is right on a network file system, which is why that comes first. */
const walOff: Examination<never> = {
  subject: "wal-off",
  examine: (facts) => {
    if (Option.isNone(facts.header)) return Effect.succeed(nothing("the file is empty, and has no journal mode yet"))
    if (isWal(facts)) return Effect.succeed(nothing("the database is in WAL mode"))
    if (Option.isSome(facts.network))
      return Effect.succeed(nothing("not in WAL mode, as a network file system wants it"))
    return Effect.succeed({
      seen: "the database is not in WAL mode",
      findings: [
        {
          severity: "warning",
          message: "WAL is not enabled: readers and the writer wait for each other, and there is no log to guard",
          evidence: { journal_mode: "rollback", bytes: facts.bytes },
          remedy: `${command("sqlite3", facts.file)} 'PRAGMA journal_mode = WAL'`,
        },
      ],
    })
  },
}

/** A guard is a second connection, which a program whose SQLite has the WAL-reset bug must not have. */
const bounded = (facts: Facts) =>
  Option.exists(
    Option.flatMap(facts.header, ({ writtenBy }) => writtenBy),
    (last) => SqliteVersion.verdict(last) === "Unsafe",
  )
    ? "in the program that writes: PRAGMA wal_checkpoint(TRUNCATE)"
    : command("seawall guard", facts.file)

/** SQLite's own autocheckpoint keeps a log of pages of 4 KiB at about this length: below it nothing is wrong. */
const shortLog = 4 * 1024 * 1024

const logSize: Examination<never> = {
  subject: "log-size",
  examine: Effect.fnUntraced(function* (facts) {
    const parsed = yield* Effect.fromResult(facts.log)
    const index = isOpen(facts) ? validIndex(facts) : Option.none()
    const inLog = Option.match(parsed, { onNone: () => 0, onSome: (found) => found.recoverableFrames })
    const frames = Option.match(index, { onNone: () => inLog, onSome: ({ mxFrame }) => mxFrame })
    const pageSize = Option.getOrElse(
      Option.orElse(
        Option.map(facts.header, (header) => header.pageSize),
        () => Option.flatMap(parsed, (found) => Option.map(found.header, (header) => header.pageSize)),
      ),
      () => 0,
    )
    const length = frames * pageSize
    const seen = `${count(frames, "frame")} (${size(length)}) beside ${size(facts.bytes)} of database`
    if (length <= facts.bytes || length <= shortLog) return nothing(seen)
    return {
      seen,
      findings: [
        {
          severity: "warning",
          message: `the log (${size(length)}) is larger than its database (${size(facts.bytes)})`,
          evidence: {
            log_frames: frames,
            log_frame_bytes: length,
            log_bytes: Option.getOrElse(facts.logBytes, () => 0),
            database_bytes: facts.bytes,
            ...Option.match(index, {
              onNone: () => ({}),
              onSome: (found) => ({ not_checkpointed_frames: LogIndex.framesNotCheckpointed(found) }),
            }),
          },
          remedy: isOpen(facts) ? bounded(facts) : LogDamage.remedy(facts),
        },
      ],
    }
  }),
}

export const examinations = [log, leftBehind, version, walOff, logSize]
