/**
 * One look at one subject of a database. It answers with what it saw and what it found; when it cannot be made, that is a
 * notice which says why, and the others go on.
 */
import { Cause, Effect, Schema } from "effect"
import type { Facts } from "./Facts.ts"
import type { Finding, Subject } from "./Finding.ts"
import { command } from "../sqlite/ShellCommand.ts"

export interface Seen {
  /** What is there, said also when nothing is wrong with it. */
  readonly seen: string
  readonly findings: ReadonlyArray<Omit<Finding, "subject">>
}

export interface Examination<R> {
  readonly subject: Subject
  readonly examine: (facts: Facts) => Effect.Effect<Seen, Error, R>
}

/** An examination that cannot be made, and what would make it possible. */
export class NotExamined extends Schema.TaggedError<NotExamined>()("NotExamined", {
  message: Schema.String,
  remedy: Schema.String,
}) {}

/** Other systems do not show who has a file open. */
export const needsLinux = new NotExamined({
  message: "who has a file open can be seen on Linux only",
  remedy: "set nothing; stop the programs that use the database, then ask again",
})

export const run = <R>(facts: Facts, { examine, subject }: Examination<R>) =>
  Effect.matchCauseEffect(examine(facts), {
    onSuccess: ({ findings, seen }) =>
      Effect.succeed({
        examined: [{ subject, seen }],
        findings: findings.map((finding): Finding => ({ ...finding, subject })),
      }),
    onFailure: (cause) => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
      const error = Cause.squash(cause)
      const finding: Finding = {
        severity: "notice",
        subject,
        message: `not examined: ${error instanceof Error ? error.message : String(error)}`,
        evidence: {},
        remedy: error instanceof NotExamined ? error.remedy : command("sudo seawall doctor", facts.file),
      }
      return Effect.succeed({ examined: [], findings: [finding] })
    },
  })
