/** Whether the database is sound, by `quick_check` in a process of its own. */
import { Effect, Option, Result } from "effect"
import { type Facts, isAtRest, isUsed, processesOf } from "../../facts/Facts.ts"
import { clean } from "../../files/Printable.ts"
import { restoreCommand } from "../../sqlite/copies/BackupFiles.ts"
import * as Integrity from "../../sqlite/copies/Integrity.ts"
import { command } from "../../sqlite/ShellCommand.ts"
import { make, nothing, type Seen } from "../Examination.ts"
import { NotExamined, tryAgain } from "../NotExamined.ts"

/** What a damaged database is fixed with: the newest backup that passes its own check, else what can be read of it. */
export const restore = Effect.fnUntraced(function* (file: string, backups: ReadonlyArray<string>) {
  return Option.match(yield* Integrity.newestSound(backups), {
    onNone: () => {
      const recovered = `${file}.recovered`
      return `${command("sqlite3", file)} .recover | ${command("sqlite3", recovered)} && ${command("seawall restore", recovered, file)}`
    },
    onSome: (backup) => restoreCommand(file, backup),
  })
})

/** SQLite says only that the image is malformed. */
const cutOff = ({ bytes, header }: Facts): ReadonlyArray<string> => {
  const { pageSize, pages } = Option.getOrElse(header, () => ({ pageSize: 1, pages: 0 }))
  const there = Math.floor(bytes / pageSize)
  return there < pages
    ? [`the file ends at page ${there.toLocaleString("en-US")} of ${pages.toLocaleString("en-US")}`]
    : []
}

/** How much of a finding says what kind of damage it is, in characters. */
const mostWords = 120

const inShort = (findings: ReadonlyArray<string>) => {
  const first = clean(findings[0] ?? "")
  const more = findings.length > 1 ? `, and ${findings.length - 1} more` : ""
  return `${first.length > mostWords ? `${first.slice(0, mostWords)}...` : first}${more}`
}

/** Beside who has it open the check is a reader: it takes its time, and the WAL grows meanwhile. */
export const integrity = make({
  subject: "integrity",
  description: "whether it is sound (quick_check)",
  opens: true,
  examine: Effect.fnUntraced(function* (facts) {
    if (facts.bytes === 0) return nothing("the file is empty")
    const { file } = yield* facts.readable
    const check = Effect.result(Integrity.check(file))
    const first = yield* check
    // A database at rest is read without a lock: who opened and wrote it meanwhile made the verdict worthless.
    const isStale =
      Result.isFailure(first) && isAtRest(facts) && isUsed({ processes: yield* processesOf(facts.target) })
    const result = isStale ? yield* check : first
    if (Result.isSuccess(result)) return nothing("quick_check found nothing")
    const { findings, reason } = result.failure
    if (reason === "NotChecked") {
      return yield* new NotExamined({
        message: findings.join("; "),
        remedy: tryAgain(facts),
      })
    }
    return {
      seen: "quick_check found damage",
      findings: [
        {
          severity: "critical",
          message: `the database is damaged: ${[...cutOff(facts), inShort(findings)].join("; ")}`,
          evidence: { quick_check: findings },
          remedy: yield* restore(facts.file, facts.backups),
        },
      ],
    } satisfies Seen
  }),
})
