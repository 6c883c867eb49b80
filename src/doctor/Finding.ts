/**
 * What an operator is told about a database: what was found, how bad it is, the figures that prove it, and the one command
 * or setting that fixes it. `Report` is the whole answer, the same for eyes and as JSON.
 */
import { Array as Arr, Order, Schema } from "effect"
import { found, Severity } from "./Examination.ts"
import { subjects } from "./Subjects.ts"

/** The subjects, in the order of the report. */
export const Subject = Schema.Literals(subjects.map(({ subject }) => subject))
export type Subject = typeof Subject.Type

/** One thing to know or to fix. */
export const Finding = Schema.Struct({ subject: Subject, ...found })
export type Finding = typeof Finding.Type

/** What `Doctor.examine` answers; `Schema.fromJsonString(Report)` is the JSON of `seawall doctor --json`. */
export const Report = Schema.Struct({
  /** As it was given. */
  file: Schema.String,
  /** Each subject, and what was found there. A subject that could not be examined is a finding that says why. */
  examined: Schema.Array(Schema.Struct({ subject: Subject, description: Schema.String, seen: Schema.String })),
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
