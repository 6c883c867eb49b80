/** Where the database lies: the kind of file system, and the space that is left on it. */
import { Effect, Option, Path } from "effect"
import { statfs } from "node:fs/promises"
import { type Examination, NotExamined, type Seen } from "./Examination.ts"
import type { Facts } from "./Facts.ts"
import { isWal } from "./LogExaminations.ts"
import { command } from "../sqlite/ShellCommand.ts"
import { size } from "./Wording.ts"

/** WAL mode corrupts there; a rollback journal only is as good as the locks of that file system. */
export const judgeNetwork = (facts: Facts): Seen => {
  if (Option.isNone(facts.network)) return { seen: "the database lies on a local file system", findings: [] }
  return {
    seen: `the database lies on ${facts.network.value}`,
    findings: [
      {
        severity: isWal(facts) ? "warning" : "notice",
        message: `the database lies on a network file system (${facts.network.value}), where WAL mode is not supported and corrupts`,
        evidence: { file_system: facts.network.value, file: facts.target.path },
        remedy: command("seawall backup", facts.file, "/a/local/disk/copy.db"),
      },
    ],
  }
}

const network: Examination<never> = {
  subject: "network-file-system",
  examine: (facts) => Effect.succeed(judgeNetwork(facts)),
}

interface Space {
  readonly freeBytes: number
  readonly totalBytes: number
}

/** File systems become slow, and the reserve of the administrator begins, at about this part. */
const smallestPart = 0.05

/**
 * Enough is room for one more copy of the database and its log, which a backup, a restore, a VACUUM or a log behind a
 * reader takes, and never less than 5 % of the disk.
 */
export const judgeSpace = (facts: Facts, { freeBytes, totalBytes }: Space): Seen => {
  const copy = facts.bytes + Option.getOrElse(facts.logBytes, () => 0)
  const enough = Math.ceil(Math.max(totalBytes * smallestPart, copy))
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

const space: Examination<Path.Path> = {
  subject: "disk-space",
  examine: Effect.fnUntraced(function* (facts: Facts) {
    const path = yield* Path.Path
    const folder = path.dirname(facts.target.path)
    const { bavail, blocks, bsize } = yield* Effect.tryPromise({
      try: () => statfs(folder),
      catch: (cause) => new NotExamined({ message: String(cause), remedy: command("df -h", folder) }),
    })
    return judgeSpace(facts, { freeBytes: bavail * bsize, totalBytes: blocks * bsize })
  }),
}

export const examinations = [network, space]
