/**
 * What the database holds: whether it is sound, sessions that an engine never closed, and whether there is a backup to go
 * back to. The only examinations that open it with SQLite, read-only, and after everything that is read as bytes.
 */
import { Clock, DateTime, Effect, Option, Path, Result } from "effect"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import { restoreCommand, unfinished } from "../sqlite/copies/BackupFiles.ts"
import * as Integrity from "../sqlite/copies/Integrity.ts"
import * as ReadOnly from "../sqlite/outside/ReadOnly.ts"
import { endStatement, openSessions } from "../state/OpenSessions.ts"
import * as EngineLease from "./EngineLease.ts"
import { NotExamined, type Seen } from "./Examination.ts"
import { type Facts, isAtRest, isOpen, processesOf } from "./Facts.ts"
import type { Finding } from "./Finding.ts"
import type { Reading } from "./Readable.ts"
import { command, quoted } from "../sqlite/ShellCommand.ts"
import { count } from "./Wording.ts"

const nothing = (seen: string): Seen => ({ seen, findings: [] })

/** What a damaged database is mended with: the newest backup that passes its own check, else what can be read of it. */
export const restore = Effect.fnUntraced(function* (file: string, backups: ReadonlyArray<string>) {
  return Option.match(yield* Integrity.newestSound(backups), {
    onNone: () => `${command("sqlite3", file)} .recover | ${command("sqlite3", `${file}.recovered`)}`,
    onSome: (backup) => restoreCommand(file, backup),
  })
})

/** Beside who has it open the check is a reader: it takes its time, and the log grows meanwhile. */
export const integrity = (readable: Reading, backups: ReadonlyArray<string>) =>
  Effect.fnUntraced(function* (facts: Facts) {
    if (facts.bytes === 0) return nothing("the file is empty")
    const { file } = yield* readable
    const check = Effect.result(Integrity.check(file))
    const first = yield* check
    // A database at rest is read without a lock: who opened and wrote it meanwhile made the verdict worthless.
    const isStale =
      Result.isFailure(first) &&
      isAtRest(facts) &&
      isOpen({ processes: yield* processesOf(DatabaseFile.resolve(file)) })
    const result = isStale ? yield* check : first
    if (Result.isSuccess(result)) return nothing("quick_check found nothing")
    const { findings, reason } = result.failure
    if (reason === "NotChecked") {
      return yield* new NotExamined({
        message: findings.join("; "),
        remedy: command("sudo seawall doctor", facts.file),
      })
    }
    return {
      seen: "quick_check found damage",
      findings: [
        {
          severity: "critical",
          message: `the database is damaged: ${findings[0] ?? ""}${findings.length > 1 ? `, and ${findings.length - 1} more` : ""}`,
          evidence: { quick_check: findings },
          remedy: yield* restore(facts.file, backups),
        },
      ],
    } satisfies Seen
  })

/**
 * The newest session runs while an engine has the lease. Where none is taken it may be running while a process has the database
 * open for writing; what a crashed engine left of its lease says that it is not.
 */
export const sessions = (readable: Reading) =>
  Effect.fnUntraced(function* (facts: Facts) {
    if (facts.bytes === 0) return nothing("the file is empty")
    const { file, situation } = yield* readable
    const { answer: found, lease } = yield* EngineLease.around(
      facts.file,
      Effect.provide(openSessions, ReadOnly.layer(file, situation)),
    )
    if (Option.isNone(found)) return nothing("no engine keeps its memory here")
    const isWritten = Option.exists(facts.processes, (them) => them.some(({ mayWrite }) => mayWrite))
    const mayRun = EngineLease.isHeld(lease) || (isWritten && !EngineLease.isLeft(lease))
    const never = found.value.filter(({ isNewest }) => !(isNewest && mayRun))
    const running = Option.match(EngineLease.engineOf(lease), {
      onNone: () => "may be running",
      onSome: (engine) => `runs: ${engine}`,
    })
    const seen = `${count(found.value.length, "session")} without an end${never.length < found.value.length ? `, the newest ${running}` : ""}`
    if (never.length === 0) return nothing(seen)
    return {
      seen,
      findings: [
        {
          severity: "warning",
          message: `${count(never.length, "session")} of an engine ${never.length === 1 ? "was" : "were"} never closed: it was killed, or lost its power`,
          evidence: {
            session_ids: never.map(({ sessionId }) => sessionId),
            started_at: never.map(({ startedAt }) => startedAt),
          },
          remedy: `${command("sqlite3", facts.file)} "${endStatement(never)}"`,
        },
      ],
    } satisfies Seen
  })

const day = 24 * 60 * 60 * 1000

/** A week is the longest routine that people have for backups: what is older was made by none. */
const oldest = 7 * day

const stampedAt = (backup: string): Option.Option<number> => {
  const [, date = "", h = "", m = "", s = "", ms = ""] = /\.(\d{8})T(\d\d)(\d\d)(\d\d)(\d{3})Z$/.exec(backup) ?? []
  const iso = `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}T${h}:${m}:${s}.${ms}Z`
  return Option.map(DateTime.make(iso), DateTime.toEpochMillis)
}

/**
 * Only the newest is checked. None at all is a notice, because other programs make backups that are not seen here; one
 * that got old or went bad is a warning, because somebody relies on it. What was never finished only takes room.
 */
export const backup = (backups: ReadonlyArray<string>) =>
  Effect.fnUntraced(function* (facts: Facts) {
    const path = yield* Path.Path
    const remedy = command("seawall backup", facts.file)
    const findings: Array<Omit<Finding, "subject">> = []
    const left = Option.isSome(facts.processes) ? yield* unfinished(facts.file) : [] // else it may be on its way
    if (left.length > 0) {
      const message = `${count(left.length, "file")} of a backup that was never finished ${left.length === 1 ? "is" : "are"} beside it; no process that can be seen has it open`
      findings.push({ severity: "notice", message, evidence: { files: left }, remedy: command("rm", ...left) })
    }
    const [newest] = backups
    if (newest === undefined) {
      const message = `there is no backup of it (${path.basename(facts.file)}.bak.* or .post.*) beside it`
      findings.push({ severity: "notice", message, evidence: { backups: 0 }, remedy })
      return { seen: "none", findings } satisfies Seen
    }
    const now = yield* Clock.currentTimeMillis
    const madeAt = Option.getOrElse(stampedAt(newest), () => now)
    const days = Math.floor((now - madeAt) / day)
    const evidence = { backups: backups.length, newest, age_days: days }
    if (now - madeAt > oldest && facts.modifiedAt > madeAt) {
      const message = `the newest backup is ${count(days, "day")} old, and the database was written since`
      findings.push({ severity: "warning", message, evidence, remedy })
    }
    const checked = yield* Effect.result(Integrity.check(newest))
    if (Result.isFailure(checked)) {
      const isDamaged = checked.failure.reason === "Damaged"
      findings.push({
        severity: isDamaged ? "warning" : "notice",
        message: `the newest backup, ${quoted(newest)}, ${isDamaged ? "is damaged" : "could not be checked"}: ${checked.failure.findings[0] ?? ""}`,
        evidence: { ...evidence, quick_check: checked.failure.findings },
        remedy,
      })
    }
    const verdict = Result.isSuccess(checked) ? ", passes its check" : ""
    return { seen: `${count(backups.length, "backup")}, the newest ${count(days, "day")} old${verdict}`, findings }
  })
