/** A WAL, an index or a rollback journal beside a database that no process has open. */
import { Effect, Option, Result } from "effect"
import { isOpen, walSize } from "../../facts/Facts.ts"
import { count } from "../../facts/Format.ts"
import { command } from "../../sqlite/ShellCommand.ts"
import { make, nothing } from "../Examination.ts"
import { needsLinux } from "../NotExamined.ts"
import * as WalDamage from "../WalDamage.ts"

export const leftBehind = make({
  subject: "left-behind",
  description: "a WAL or a journal that no process has open",
  examine: Effect.fnUntraced(function* (facts) {
    const bytes = walSize(facts)
    const files = [
      ...(Option.isSome(facts.walBytes) ? [facts.target.wal] : []),
      ...(Option.isSome(facts.indexBytes) ? [facts.target.shm] : []),
      ...(facts.hasHotJournal ? [facts.target.journal] : []),
    ]
    if (files.length === 0) return nothing("no WAL, no index and no journal beside the database")
    if (Option.isNone(facts.processes)) return yield* needsLinux
    if (isOpen(facts)) return nothing(`${count(files.length, "file")} of those who have it open`)
    const parsed = Option.flatten(Result.getSuccess(facts.wal))
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
              ? `a WAL is left that no process has open, with ${count(commits, "commit")}: never move the database without it`
              : "the files of a WAL are left that no process has open; they hold no commit",
          evidence,
          remedy: WalDamage.remedy(facts),
        },
      ],
    }
  }),
})
