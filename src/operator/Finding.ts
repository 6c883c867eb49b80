/**
 * What an operator is told about a database: what was found, how bad it is, the figures that prove it, and the one command
 * or setting that mends it. `Report` is the whole answer, the same for eyes and as JSON.
 */
import { Array as Arr, Order, Schema } from "effect"

/**
 * - `critical`: the database or its log is damaged, or commits are lost.
 * - `warning`: nothing is lost yet; it will cost something if it stays.
 * - `notice`: worth knowing; also what could not be examined.
 */
export const Severity = Schema.Literals(["critical", "warning", "notice"])
export type Severity = typeof Severity.Type

/** What is examined, in the order in which it is told. */
export const Subject = Schema.Literals([
  "integrity",
  "identity",
  "log",
  "left-behind",
  "network-file-system",
  "open-elsewhere",
  "pinned-log",
  "sqlite-version",
  "wal-off",
  "autocheckpoint",
  "log-size",
  "disk-space",
  "open-session",
  "backup",
])
export type Subject = typeof Subject.Type

/** Figures by their names: pids, frames, offsets, bytes, versions. */
export const Evidence = Schema.Record(
  Schema.String,
  Schema.Union([Schema.String, Schema.Finite, Schema.Array(Schema.Finite), Schema.Array(Schema.String)]),
)
export type Evidence = typeof Evidence.Type

/** One thing to know or to mend. */
export const Finding = Schema.Struct({
  severity: Severity,
  subject: Subject,
  /** One sentence. */
  message: Schema.String,
  evidence: Evidence,
  /** One command or setting, ready to paste; it may change files, or end a process. */
  remedy: Schema.String,
})
export type Finding = typeof Finding.Type

/** What `Doctor.examine` answers; `Schema.fromJsonString(Report)` is the JSON of `seawall doctor --json`. */
export const Report = Schema.Struct({
  /** As it was given. */
  file: Schema.String,
  /** What was examined, and what was seen there. What could not be is a finding that says why. */
  examined: Schema.Array(Schema.Struct({ subject: Subject, seen: Schema.String })),
  /** The worst first. */
  findings: Schema.Array(Finding),
})
export type Report = typeof Report.Type

/** The worst first, and in the order of the subjects within. */
export const worstFirst = (findings: ReadonlyArray<Finding>): ReadonlyArray<Finding> =>
  Arr.sort(
    findings,
    Order.combine(
      Order.mapInput(Order.Number, ({ severity }: Finding) => Severity.literals.indexOf(severity)),
      Order.mapInput(Order.Number, ({ subject }: Finding) => Subject.literals.indexOf(subject)),
    ),
  )
