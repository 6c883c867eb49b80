/**
 * One subject of a database, and how it is examined. It answers with what it saw and what it found; when it cannot be
 * examined, that is a notice which says why, and the others go on.
 */
import type * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Effect, Schema, type Scope } from "effect"
import { wordsOf } from "../files/SystemError.ts"
import type { Facts } from "../facts/Facts.ts"
import { NotExamined, tryAgain } from "./NotExamined.ts"
import type { Reading } from "./ReadableCopy.ts"

/**
 * - `critical`: the database or its WAL is damaged, or commits are lost.
 * - `warning`: nothing is lost yet; it will cost something if it stays.
 * - `notice`: worth knowing; also what could not be examined.
 */
export const Severity = Schema.Literals(["critical", "warning", "notice"])
export type Severity = typeof Severity.Type

/** Figures by their names: pids, frames, offsets, bytes, versions. */
export const Evidence = Schema.Record(
  Schema.String,
  Schema.Union([Schema.String, Schema.Finite, Schema.Array(Schema.Finite), Schema.Array(Schema.String)]),
)
export type Evidence = typeof Evidence.Type

/** What a finding says, whatever its subject is. */
export const found = {
  severity: Severity,
  /** One sentence. */
  message: Schema.String,
  evidence: Evidence,
  /** One command or setting, ready to paste; it may change files, or end a process. */
  remedy: Schema.String,
}
export type Found = Schema.Struct.Type<typeof found>

export interface Seen {
  /** The state of the subject, also when nothing is wrong with it. */
  readonly seen: string
  readonly findings: ReadonlyArray<Found>
}

export const nothing = (seen: string): Seen => ({ seen, findings: [] })

/** The facts, and what is looked up only when a subject asks for it. */
export interface Examined extends Facts {
  readonly readable: Reading
  /** The newest first. */
  readonly backups: ReadonlyArray<string>
}

export interface Examination<Name extends string = string> {
  readonly subject: Name
  /** For the help, the documents and the report: one line without a full stop. */
  readonly description: string
  /** Opens the database with SQLite, and so comes after all that is read as bytes (see `FileBytes`). */
  readonly opens?: true
  readonly examine: (it: Examined) => Effect.Effect<Seen, Error, NodeServices.NodeServices | Scope.Scope>
}

export const make = <const Name extends string>(examination: Examination<Name>): Examination<Name> => examination

export const run = <Name extends string>(it: Examined, { description, examine, subject }: Examination<Name>) =>
  Effect.matchCauseEffect(examine(it), {
    onSuccess: ({ findings, seen }) =>
      Effect.succeed({
        examined: [{ subject, description, seen }],
        findings: findings.map((finding) => ({ ...finding, subject })),
      }),
    onFailure: (cause) => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
      const error = Cause.squash(cause)
      const finding: Found = {
        severity: "notice",
        message: `not examined: ${wordsOf(error)}`,
        evidence: {},
        remedy: error instanceof NotExamined ? error.remedy : tryAgain(it),
      }
      return Effect.succeed({ examined: [], findings: [{ ...finding, subject }] })
    },
  })
