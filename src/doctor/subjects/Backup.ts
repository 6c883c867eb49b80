/** Whether there is a backup to go back to, and what interrupted backups left. */
import { Clock, DateTime, Effect, Option, Path, Result } from "effect"
import { count } from "../../facts/Wording.ts"
import { unfinished } from "../../sqlite/copies/BackupFiles.ts"
import * as Integrity from "../../sqlite/copies/Integrity.ts"
import { command, quoted } from "../../sqlite/ShellCommand.ts"
import { type Found, make, type Seen } from "../Examination.ts"

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
 * that got old or went bad is a warning, because people rely on it. What was never finished only takes room.
 */
export const backup = make({
  subject: "backup",
  description: "the newest backup",
  opens: true,
  examine: Effect.fnUntraced(function* (facts) {
    const path = yield* Path.Path
    const remedy = command("seawall backup", facts.file)
    const findings: Array<Found> = []
    const left = Option.isSome(facts.processes) ? yield* unfinished(facts.file) : [] // else it may be on its way
    if (left.length > 0) {
      const message = `${count(left.length, "file")} of a backup that was never finished ${left.length === 1 ? "is" : "are"} beside it; no process that can be seen has it open`
      findings.push({ severity: "notice", message, evidence: { files: left }, remedy: command("rm", ...left) })
    }
    const { backups } = facts
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
  }),
})
