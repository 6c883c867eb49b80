/** Whether the database lies on a file system of several machines. */
import { Effect, Option } from "effect"
import type { Facts } from "../../facts/Facts.ts"
import { command } from "../../sqlite/ShellCommand.ts"
import { make, type Seen } from "../Examination.ts"
import { isWal } from "../WalMode.ts"

/** WAL mode corrupts there; a rollback journal only is as good as the locks of that file system. @internal */
export const judge = (facts: Facts): Seen => {
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

export const networkFileSystem = make({
  subject: "network-file-system",
  description: "a network file system",
  examine: (facts) => Effect.succeed(judge(facts)),
})
