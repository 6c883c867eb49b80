/** Whether the database is in WAL mode. */
import { Effect, Option } from "effect"
import { command } from "../../sqlite/ShellCommand.ts"
import { make, nothing } from "../Examination.ts"
import { isWal } from "../WalMode.ts"

/** A rollback journal is right on a network file system, which is why that comes first. */
export const walOff = make({
  subject: "wal-off",
  description: "whether it is in WAL mode",
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
          message: "WAL is not enabled: readers and the writer wait for each other, and there is no WAL to guard",
          evidence: { journal_mode: "rollback", bytes: facts.bytes },
          remedy: `${command("sqlite3", facts.file)} 'PRAGMA journal_mode = WAL'`,
        },
      ],
    })
  },
})
