/**
 * Looks at a database from all sides, and says what it found, the worst first, with what fixes it. Changes nothing: not
 * the database, not its WAL, not the folder; a database that others have open stays theirs.
 *
 * First what is read as bytes, then what is read with SQLite: in one process it must not be the other way round (see
 * `FileBytes`), so it refuses in a process that has the database open itself; of a connection that Seawall did not open
 * it knows on Linux alone, in WAL mode. An examination that cannot be made is a notice, and the others go on.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Array as Arr, Effect, Order } from "effect"
import * as Facts from "../facts/Facts.ts"
import * as BackupFiles from "../sqlite/copies/BackupFiles.ts"
import * as Examination from "./Examination.ts"
import { type Finding, type Report, Subject, worstFirst } from "./Finding.ts"
import * as ReadableCopy from "./ReadableCopy.ts"
import { subjects } from "./Subjects.ts"
import { integrity, restore } from "./subjects/Integrity.ts"

export { Finding, Report } from "./Finding.ts"

/** The database cannot be examined at all: no such file, no database, no permission, or one that is open here. */
export type DoctorError = Facts.FactsError

/** A file that is no database, but has backups, was one. */
const lostHeader = Effect.fnUntraced(function* (file: string, backups: ReadonlyArray<string>, message: string) {
  const { description, subject } = integrity
  const remedy = yield* restore(file, backups)
  return {
    file,
    examined: [{ subject, description, seen: "the file is not a SQLite database" }],
    findings: [{ severity: "critical", subject, message, evidence: { backups }, remedy }],
  } satisfies Report
})

/** A damaged database cannot be backed up: it is restored first. */
const possible = (all: ReadonlyArray<Finding>) => {
  const damage = all.find(({ severity, subject }) => subject === integrity.subject && severity === "critical")
  return (finding: Finding): Finding =>
    damage !== undefined && finding.remedy.startsWith("seawall backup ")
      ? { ...finding, remedy: `${damage.remedy}, and then: ${finding.remedy}` }
      : finding
}

/** The database is opened after the last byte of its files was read. */
const inTurn = Arr.sortWith(subjects, ({ opens }: Examination.Examination) => (opens === true ? 1 : 0), Order.Number)

/**
 * Fails when there is no such file, when it is no database (and has no backup), when this user may not read it, or when
 * this process has it open (`OpenHereError`). Its integrity check takes as long as reading the whole file, and is a reader
 * of a database that others have open.
 */
export const examine: (file: string) => Effect.Effect<Report, DoctorError> = Effect.fn("Doctor.examine")(
  function* (file: string) {
    const gathered = yield* Effect.result(Facts.gather(file, { wal: "always" }))
    const backups = yield* BackupFiles.list(file)
    if (gathered._tag === "Failure") {
      const error = gathered.failure
      if (error._tag !== "DatabaseHeaderError" || error.reason !== "NotADatabase" || backups.length === 0) {
        return yield* error
      }
      return yield* lostHeader(file, backups, error.message)
    }
    const facts = gathered.success
    const it = { ...facts, backups, readable: yield* Effect.cached(ReadableCopy.make(facts)) }
    const all = yield* Effect.forEach(inTurn, (examination) => Examination.run(it, examination))
    const examined = all.flatMap((one) => one.examined)
    const found = all.flatMap(({ findings }) => findings)
    return {
      file,
      examined: Arr.sortWith(examined, ({ subject }) => Subject.literals.indexOf(subject), Order.Number),
      findings: worstFirst(found.map(possible(found))),
    }
  },
  Effect.scoped,
  Effect.provide(NodeServices.layer),
)
