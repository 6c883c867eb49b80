/** `seawall doctor`: what is wrong with a database, the worst first, and what mends it. Changes nothing. */
import { Console, Effect, Schema } from "effect"
import { Command } from "effect/cli"
import * as Doctor from "../doctor/Doctor.ts"
import { Report } from "../doctor/Finding.ts"
import { count } from "../facts/Wording.ts"
import { clean } from "../processes/Processes.ts"
import * as ExitCode from "./ExitCode.ts"
import * as OneShot from "./OneShot.ts"

const exitCode = ({ findings }: Report) => {
  if (findings.some(({ severity }) => severity === "critical")) return ExitCode.damaged
  return findings.some(({ severity }) => severity === "warning") ? ExitCode.attention : ExitCode.ended
}

const figures = (evidence: Report["findings"][number]["evidence"]) =>
  Object.entries(evidence)
    .map(([name, value]) => `${name}=${Array.isArray(value) ? value.join(",") : String(value)}`)
    .join(" ")

const asText = (report: Report): string => {
  const { examined, file, findings } = report
  const above = findings.filter(({ severity }) => severity !== "notice")
  const head = above.length === 0 ? `${file}: nothing to mend` : `${file}: ${count(above.length, "finding")} to mend`
  const blocks = findings.map(({ evidence, message, remedy, severity, subject }) =>
    [
      `${severity.toUpperCase()} ${subject}: ${clean(message)}`,
      `  evidence: ${clean(figures(evidence))}`,
      `  mend:     ${remedy}`,
    ]
      .filter((line) => !line.endsWith("evidence: "))
      .join("\n"),
  )
  const rows = examined.map(({ seen, subject }) => [subject, clean(seen)])
  return [head, ...blocks, OneShot.table([["EXAMINED", "SEEN"], ...rows])].join("\n\n")
}

const answer = Effect.fnUntraced(function* ({ db, json }: { readonly db: string; readonly json: boolean }) {
  const report = yield* Doctor.examine(db)
  yield* Console.log(json ? yield* Schema.encodeEffect(Schema.fromJsonString(Report))(report) : asText(report))
  return exitCode(report)
})

export const doctor = Command.make("doctor", { db: OneShot.database, json: OneShot.json }, (input) =>
  OneShot.run("doctor", answer(input), { progress: true }),
).pipe(
  Command.withShortDescription("Find what is wrong with a database, and what mends it"),
  Command.withDescription(
    `Find what is wrong with a database, the worst first: each finding with its evidence and the one command or setting that mends it.

Examined: integrity; whether name, file and log belong together; the log frame by frame; a log without an owner; network file system; who has it open; readers that pin
the log; the last writer's SQLite version; WAL mode; autocheckpoint beside a guard; a log larger than its data; disk
space; sessions never closed; the newest backup. What cannot be examined here is a notice that says why.

Nothing is changed, in the database or beside it. While others have it open the integrity check is a reader, and the log
cannot start anew until it has ended.

--json prints one object: {"file", "examined": [{"subject", "seen"}], "findings": [{"severity", "subject", "message",
"evidence", "remedy"}]}.

Exit codes:
  0   nothing to mend: no finding above a notice
  1   it could not be examined: no such file, not a database, no permission
  2   warnings
  65  critical: the database or its log is damaged, commits are lost, or a process has another file of this name open`,
  ),
  Command.withExamples([
    { command: "seawall doctor app.db", description: "What is wrong, and what mends it" },
    {
      command: `seawall doctor app.db --json | jq -r '.findings[] | "\\(.severity) \\(.remedy)"'`,
      description: "The remedies alone",
    },
  ]),
)
