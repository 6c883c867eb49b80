/** The space that is left on the disk of the database. */
import { Effect, Path } from "effect"
import { type Facts, walSize } from "../../facts/Facts.ts"
import { size } from "../../facts/Format.ts"
import * as Room from "../../files/Room.ts"
import { command } from "../../sqlite/ShellCommand.ts"
import { make, type Seen } from "../Examination.ts"
import { NotExamined } from "../NotExamined.ts"

/** File systems become slow at about this part, small ones; 5 % of a large one is room for years. */
const smallestPart = 0.05
const mostOfPart = 1024 ** 3

/**
 * Enough is room for one more copy of the database and its WAL, which a backup, a restore, a VACUUM or a WAL behind a
 * reader takes, and never less than 5 % of the disk, or 1 GiB where that is less. @internal
 */
export const judge = (facts: Facts, { free: freeBytes, total: totalBytes }: Room.Room): Seen => {
  const copy = facts.bytes + walSize(facts)
  const enough = Math.ceil(Math.max(Math.min(totalBytes * smallestPart, mostOfPart), copy))
  const seen = `${size(freeBytes)} of ${size(totalBytes)} free, ${size(enough)} is enough`
  if (freeBytes >= enough) return { seen, findings: [] }
  return {
    seen,
    findings: [
      {
        severity: "warning",
        message: `the disk is nearly full: ${size(freeBytes)} free, and ${size(enough)} would be enough`,
        evidence: { free_bytes: freeBytes, total_bytes: totalBytes, enough_bytes: enough, copy_bytes: copy },
        remedy: `free ${size(enough - freeBytes)} on the disk of ${facts.target.path}`,
      },
    ],
  }
}

export const diskSpace = make({
  subject: "disk-space",
  description: "the disk space that is left",
  examine: Effect.fnUntraced(function* (facts) {
    const path = yield* Path.Path
    const folder = path.dirname(facts.target.path)
    const room = yield* Effect.mapError(
      Room.at(folder),
      (cause) => new NotExamined({ message: cause.message, remedy: command("df -h", folder) }),
    )
    return judge(facts, room)
  }),
})
