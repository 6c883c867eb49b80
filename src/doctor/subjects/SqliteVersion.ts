/** The SQLite that wrote the database last, and whether its WAL reset is safe. */
import { Effect, Option } from "effect"
import type { Facts } from "../../facts/Facts.ts"
import * as SqliteVersion from "../../sqlite/SqliteVersion.ts"
import { make, nothing, type Seen } from "../Examination.ts"
import { isWal } from "../WalMode.ts"

/** The bug needs WAL mode, and two connections that write or checkpoint; those of one process cannot be told apart. @internal */
export const judge = (facts: Facts): Seen => {
  const writtenBy = Option.flatMap(facts.header, (header) => header.writtenBy)
  if (Option.isNone(writtenBy)) return nothing("the header does not say who wrote it last")
  const last = writtenBy.value
  const seen = `last written by SQLite ${last}`
  if (!isWal(facts)) return nothing(`${seen}, not in WAL mode`)
  const writers = SqliteVersion.writersOf(Option.getOrElse(facts.processes, () => []))
  return Option.match(SqliteVersion.riskOf(last, writers.length), {
    onNone: () => nothing(`${seen}, whose WAL reset is safe`),
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

export const sqliteVersion = make({
  subject: "sqlite-version",
  description: "the SQLite that wrote it last, and whether its WAL reset is safe",
  examine: (facts) => Effect.succeed(judge(facts)),
})
