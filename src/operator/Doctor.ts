/**
 * Looks at a database from all sides, and says what it found, the worst first, with what mends it. Changes nothing: not
 * the database, not its log, not the folder; a database that others have open stays theirs.
 *
 * First what is read as bytes, then what is read with SQLite: in one process it must not be the other way round (see
 * `FileBytes`), so it refuses in a process that has the database open itself; of a connection that Seawall did not open
 * it knows on Linux alone, in WAL mode. An examination that cannot be made is a notice, and the others go on.
 */
import type * as NodeServices from "@effect/platform-node/NodeServices"
import { Array as Arr, Effect, Order, type Scope } from "effect"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import { ensureNotOpenHere, type OpenHereError } from "../processes/OpenFiles.ts"
import { ensureSameFile, type OtherFileError } from "../processes/OtherFile.ts"
import * as BackupFiles from "../sqlite/copies/BackupFiles.ts"
import type { DatabaseHeaderError } from "../sqlite/outside/DatabaseHeader.ts"
import * as ContentExaminations from "./ContentExaminations.ts"
import * as Examination from "./Examination.ts"
import * as Facts from "./Facts.ts"
import { type Report, Subject, worstFirst } from "./Finding.ts"
import * as IdentityExaminations from "./IdentityExaminations.ts"
import * as LogExaminations from "./LogExaminations.ts"
import * as ProcessExaminations from "./ProcessExaminations.ts"
import * as Readable from "./Readable.ts"
import * as SystemExaminations from "./SystemExaminations.ts"

const inOrder = (examined: Report["examined"]): Report["examined"] =>
  Arr.sortWith(examined, ({ subject }) => Subject.literals.indexOf(subject), Order.Number)

/** What is no database, but has backups, was one. */
const lostHeader = Effect.fnUntraced(function* (file: string, backups: ReadonlyArray<string>, message: string) {
  return {
    file,
    examined: [{ subject: "integrity", seen: "the file is not a SQLite database" }],
    findings: [
      {
        severity: "critical",
        subject: "integrity",
        message,
        evidence: { backups },
        remedy: yield* ContentExaminations.restore(file, backups),
      },
    ],
  } satisfies Report
})

/**
 * Fails when there is no such file, when it is no database (and has no backup), when this user may not read it, or when
 * this process has it open (`OpenHereError`). Its integrity check takes as long as reading the whole file, and is a reader
 * of a database that others have open.
 */
export const examine = Effect.fn("Doctor.examine")(function* (
  file: string,
): Effect.fn.Return<
  Report,
  DatabaseHeaderError | OpenHereError | OtherFileError,
  NodeServices.NodeServices | Scope.Scope
> {
  const target = DatabaseFile.resolve(file)
  yield* ensureNotOpenHere(target)
  if (target.found === undefined) yield* ensureSameFile(target)
  const gathered = yield* Effect.result(Facts.gather(file))
  const backups = yield* BackupFiles.list(file)
  if (gathered._tag === "Failure") {
    const error = gathered.failure
    if (error.reason === "NotADatabase" && backups.length > 0) return yield* lostHeader(file, backups, error.message)
    return yield* error
  }
  const facts = gathered.success
  const readable = yield* Effect.cached(Readable.make(facts))
  const all = yield* Effect.forEach(
    [
      ...IdentityExaminations.examinations,
      ...LogExaminations.examinations,
      ...ProcessExaminations.examinations,
      ...SystemExaminations.examinations,
      { subject: "integrity", examine: ContentExaminations.integrity(readable, backups) } as const,
      { subject: "open-session", examine: ContentExaminations.sessions(readable) } as const,
      { subject: "backup", examine: ContentExaminations.backup(backups) } as const,
    ],
    (examination) => Examination.run(facts, examination),
  )
  return {
    file,
    examined: inOrder(all.flatMap(({ examined }) => examined)),
    findings: worstFirst(all.flatMap(({ findings }) => findings)),
  } satisfies Report
}, Effect.scoped)
