/** Why a subject was not looked at: the report has it as a notice. */
import { Option, Schema } from "effect"
import type { Facts } from "../facts/Facts.ts"
import { namesOf } from "../processes/ProcessName.ts"
import { command } from "../sqlite/ShellCommand.ts"

/** An examination that cannot be made, and what would make it possible. */
export class NotExamined extends Schema.TaggedError<NotExamined>()("NotExamined", {
  message: Schema.String,
  remedy: Schema.String,
}) {}

/** What would let an examination succeed that failed: a process that has the file open may have locked it, or it may need root. */
export const tryAgain = ({ file, processes }: Pick<Facts, "file" | "processes">): string => {
  const again = command("seawall doctor", file)
  const them = Option.getOrElse(processes, () => [])
  if (them.length > 0) return `end the transactions of ${namesOf(them)}, or stop them, then: ${again}`
  return process.getuid?.() === 0 ? `look at the disk and the log of the system, then: ${again}` : `sudo ${again}`
}

/** Other systems do not show who has a file open. */
export const needsLinux = new NotExamined({
  message: "who has a file open can be seen on Linux only",
  remedy: "set nothing; stop the programs that use the database, then ask again",
})
