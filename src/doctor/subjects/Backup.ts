/** Whether there is a backup to go back to, and what interrupted backups left. */
import { Array as Arr, Clock, Effect, Option, Path, Result } from "effect"
import { count, duration } from "../../facts/Format.ts"
import { kindOf, madeAt, unfinished } from "../../sqlite/copies/BackupFiles.ts"
import * as Integrity from "../../sqlite/copies/Integrity.ts"
import { command, quoted } from "../../sqlite/ShellCommand.ts"
import { type Found, make, type Seen } from "../Examination.ts"

const day = 24 * 60 * 60 * 1000

/** A week is the longest routine that people have for backups: what is older was made by none. */
const oldest = 7 * day

/**
 * The newest of each kind is checked. None at all is a notice, because other programs make backups that are not seen here; one
 * that got old or went bad is a warning, because people rely on it. An unfinished copy only takes room.
 */
export const backup = make({
  subject: "backup",
  description: "the newest backup of each kind",
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
    const ageOf = (name: string) => Math.max(0, now - Option.getOrElse(madeAt(name), () => now))
    const age = ageOf(newest)
    const evidence = { backups: backups.length, newest, age_days: Math.floor(age / day) }
    if (age > oldest && facts.modifiedAt > now - age) {
      const message = `the newest backup is ${duration(age)} old, and the database was written since`
      findings.push({ severity: "warning", message, evidence, remedy })
    }
    const ofEachKind = Arr.dedupeWith(backups, (one, other) => kindOf(one) === kindOf(other))
    const verdicts = yield* Effect.forEach(ofEachKind, (name) =>
      Effect.map(Effect.result(Integrity.check(name)), (checked) => ({ name, checked })),
    )
    for (const { checked, name } of verdicts) {
      if (Result.isSuccess(checked)) continue
      const isDamaged = checked.failure.reason === "Damaged"
      findings.push({
        severity: isDamaged ? "warning" : "notice",
        message: `the newest backup of its kind, ${quoted(name)}, ${isDamaged ? "is damaged" : "could not be checked"}: ${checked.failure.findings[0] ?? ""}`,
        evidence: { ...evidence, quick_check: checked.failure.findings },
        remedy,
      })
    }
    const isSound = ({ checked }: (typeof verdicts)[number]) => Result.isSuccess(checked)
    const said = ofEachKind.map((name) => `${kindOf(name)} ${duration(ageOf(name))} old`).join(", ")
    const verdict = verdicts.every(isSound)
      ? `, ${verdicts.length === 1 ? "passes its check" : "each passes its check"}`
      : ""
    return { seen: `${count(backups.length, "backup")}, the newest: ${said}${verdict}`, findings }
  }),
})
