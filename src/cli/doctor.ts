/** `seawall doctor`: what is wrong with databases, the worst first, and what fixes it. Changes nothing. */
import { Console, Effect, Result, Schema } from "effect"
import { Command } from "effect/cli"
import * as Doctor from "../doctor/Doctor.ts"
import { Report } from "../doctor/Finding.ts"
import { sentence } from "../doctor/Subjects.ts"
import * as NamedDatabases from "../facts/NamedDatabases.ts"
import { count } from "../facts/Format.ts"
import { clean, printable } from "../files/Printable.ts"
import * as ExitCode from "./ExitCode.ts"
import * as OneShot from "./OneShot.ts"
import * as Several from "./Several.ts"

const exitCode = ({ findings }: Report) => {
  if (findings.some(({ severity }) => severity === "critical")) return ExitCode.damaged
  return findings.some(({ severity }) => severity === "warning") ? ExitCode.attention : ExitCode.ended
}

const figures = (evidence: Report["findings"][number]["evidence"]) =>
  Object.entries(evidence)
    .filter(([, value]) => !Array.isArray(value) || value.length > 0)
    .map(([name, value]) => `${name}=${Array.isArray(value) ? inShort(value) : String(value)}`)
    .join(" ")

/** All of it is in the JSON. */
const inShort = (values: ReadonlyArray<string | number>) => {
  const first = values.slice(0, 3).map((value) => String(value).slice(0, 120))
  return first.join(",") + (values.length > first.length ? `,... (${values.length})` : "")
}

const asText = (report: Report): string => {
  const { examined, file, findings } = report
  const above = findings.filter(({ severity }) => severity !== "notice")
  const head = above.length === 0 ? `${clean(file)}: no problems` : `${clean(file)}: ${count(above.length, "problem")}`
  const blocks = findings.map(({ evidence, message, remedy, severity, subject }) =>
    [
      `${severity.toUpperCase()} ${subject}: ${clean(message)}`,
      `  evidence: ${clean(figures(evidence))}`,
      `  fix:      ${printable(remedy)}`,
    ]
      .filter((line) => !line.endsWith("evidence: "))
      .join("\n"),
  )
  const rows = examined.map(({ seen, subject }) => [subject, clean(seen)])
  return [head, ...blocks, OneShot.table([["EXAMINED", "SEEN"], ...rows])].join("\n\n")
}

/** Checks read whole files: two at a time keep a disk busy and leave it to others. */
const concurrency = 2

/** The worst first, as the findings are. */
const summary = (codes: ReadonlyArray<number>) => {
  const of = (code: number) => codes.filter((one) => one === code).length
  const [critical, warned, healthy] = [of(ExitCode.damaged), of(ExitCode.attention), of(ExitCode.ended)]
  const parts = [
    [critical, "critical"],
    [codes.length - critical - warned - healthy, "not examined"],
    [warned, "with warnings"],
    [healthy, "without problems"],
  ] as const
  const said = parts.flatMap(([n, what]) => (n > 0 ? [`${n} ${what}`] : []))
  return `${count(codes.length, "database")}: ${said.join(", ")}`
}

interface Input {
  readonly databases: ReadonlyArray<string>
  readonly json: boolean
}

const answer = Effect.fnUntraced(function* ({ databases, json }: Input) {
  const { failures, files } = yield* NamedDatabases.find(databases)
  const codes: Array<number> = yield* Effect.forEach(failures, (error) => OneShot.refuse("doctor", error))
  const isOne = files.length + failures.length === 1
  const print = Effect.fnUntraced(function* (report: Report) {
    if (json) yield* Console.log(yield* Effect.orDie(Schema.encodeEffect(Schema.fromJsonString(Report))(report)))
    else yield* Console.log(isOne ? asText(report) : `${asText(report)}\n`)
    return exitCode(report)
  })
  const refuse = (error: Error) => OneShot.refuse("doctor", error)
  yield* Several.each({
    files,
    concurrency,
    ask: Doctor.examine,
    tell: Effect.fnUntraced(function* (result) {
      codes.push(Result.isSuccess(result) ? yield* print(result.success) : yield* refuse(result.failure))
    }),
  })
  if (!isOne && !json) yield* Console.log(summary(codes))
  return ExitCode.worst(codes)
})

export const doctor = Command.make("doctor", { databases: OneShot.databases, json: OneShot.json }, (input) =>
  OneShot.run("doctor", answer(input), { progress: true }),
).pipe(
  Command.withShortDescription("Find what is wrong with databases, and what fixes it"),
  Command.withDescription(
    `Find what is wrong with a database, the worst first: each finding with its evidence and the one command or setting that fixes it.

${sentence} What cannot be examined here is a notice that says why.

${Several.help} Two are examined at the same time; the last line sums up.

Nothing is changed, in the database or beside it. While others have it open the integrity check is a reader, and the WAL
cannot start again at its beginning until it has ended.

--json prints one object, of several databases one a line: {"file", "examined": [{"subject", "description", "seen"}],
"findings": [{"severity", "subject", "message", "evidence", "remedy"}]}.

Of several databases the worst exit code counts: 65 over 1 over 2 over 0.

Exit codes:
  0   no problems: no finding above a notice
  1   it could not be examined: no such file, not a database, no permission, a folder without databases
  2   warnings
  65  critical: the database or its WAL is damaged, commits are lost, or a process has another file of this name open`,
  ),
  Command.withExamples([
    { command: "seawall doctor app.db", description: "What is wrong, and what fixes it" },
    { command: "seawall doctor data/", description: "All databases of a folder" },
    {
      command: `seawall doctor app.db --json | jq -r '.findings[] | "\\(.severity) \\(.remedy)"'`,
      description: "The remedies alone",
    },
  ]),
)
