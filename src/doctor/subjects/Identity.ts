/** Whether this name, this file and what stands beside it belong together, forevery process that uses one of them. */
import { Effect, Option } from "effect"
import type { Facts } from "../../facts/Facts.ts"
import { count } from "../../facts/Format.ts"
import { nameOf } from "../../processes/ProcessName.ts"
import type { Process } from "../../processes/Processes.ts"
import { command } from "../../sqlite/ShellCommand.ts"
import { make, type Seen } from "../Examination.ts"

const what: Readonly<Record<Process["has"], string>> = {
  this: "has it open",
  unknown: "may have it open",
  another: "has another file of this name open",
  deleted: "has a deleted file, or a deleted WAL, of this name open",
  elsewhere: "has it open by another name, with another WAL",
}

/** @internal */
export const judge = ({ file, isMountPoint, links, strangers, target }: Facts): Seen => {
  const others = Option.getOrElse(strangers, () => []).map((process) => ({
    severity: "critical" as const,
    message: `${nameOf(process)} ${what[process.has]}: what it writes does not reach this database, and may be lost`,
    evidence: { pid: process.pid, has: process.has },
    remedy: `stop process ${process.pid} so that it closes its file, then: ${command("seawall doctor", file)}`,
  }))
  const names =
    links > 1
      ? [
          {
            severity: "warning" as const,
            message: `the database has ${links} names (hard links), and each has a WAL of its own: programs that use different names overwrite each other's commits`,
            evidence: { hard_links: links },
            remedy: command("find / -xdev -samefile", target.path),
          },
        ]
      : []
  const mount = isMountPoint
    ? [
        {
          severity: "warning" as const,
          message: `${target.path} is itself a mount point: its WAL lies on another file system than that of the same file outside`,
          evidence: { file: target.path },
          remedy: "mount the folder that holds the database instead of the file",
        },
      ]
    : []
  const seen = Option.isNone(strangers)
    ? "one name, as far as this system shows"
    : `${count(links, "name")}, and ${count(others.length, "process", "processes")} with another file of it`
  return { seen, findings: [...others, ...names, ...mount] }
}

export const identity = make({
  subject: "identity",
  description: "whether name, file and WAL belong together, forevery process that uses one of them",
  examine: (facts) => Effect.succeed(judge(facts)),
})
