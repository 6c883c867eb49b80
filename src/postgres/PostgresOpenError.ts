/** Why an engine's place in PostgreSQL could not be had: one error, a closed set of reasons, and for each a sentence that says what to do. */
import { Option, Runtime, Schema } from "effect"
import { messageOf, reasonOf, stateOf } from "./SqlState.ts"

/**
 * - `Invalid`: an option, named in `detail`.
 * - `Unreachable`: no server answers there, or the server is not ready.
 * - `Refused`: the role, its password, or the rules of the server for it (`pg_hba.conf`).
 * - `DatabaseMissing`, `EngineMissing`: nothing was to be created: the database never is, the schema not by a command.
 * - `TooOld`: before PostgreSQL 14, which can end an idle session.
 * - `ReadOnly`: a replica, or a server that is set to take no writes.
 * - `Pooler`: something in between keeps back the settings of a session, or hands out sessions by the transaction, so that no lock of one holds.
 * - `NoPermission`: the role may not create or use the schema.
 * - `Unknown`: none of these; `detail` and `cause` say what.
 */
export const PostgresOpenReason = Schema.Literals([
  "Invalid",
  "Unreachable",
  "Refused",
  "DatabaseMissing",
  "EngineMissing",
  "TooOld",
  "ReadOnly",
  "Pooler",
  "NoPermission",
  "Unknown",
])
export type PostgresOpenReason = typeof PostgresOpenReason.Type

const advice: Readonly<Record<PostgresOpenReason, string>> = {
  Invalid: "correct it",
  Unreachable: "start the server, or correct the host and port of the URL",
  Refused: "correct the role and the password of the URL, or let the server accept them (pg_hba.conf)",
  DatabaseMissing: "create the database, or correct its name in the URL",
  EngineMissing: "correct the schema, or start an engine there first",
  TooOld: "use PostgreSQL 14 or later",
  ReadOnly: "connect to the primary server",
  Pooler: "connect to the server itself",
  NoPermission: "grant it to the role of the URL, or use another role",
  Unknown: "",
}

/** A start that was refused, before anything was written but a missing schema. Exit code 1; 78 where an option is wrong. */
export class PostgresOpenError extends Schema.TaggedError<PostgresOpenError>()("PostgresOpenError", {
  reason: PostgresOpenReason,
  /** The server, database and schema, without a secret. */
  where: Schema.String,
  detail: Schema.String,
  cause: Schema.optionalKey(Schema.Defect()),
}) {
  override readonly [Runtime.errorExitCode] = this.reason === "Invalid" ? 78 : 1
  /** The problem, and what to do. */
  get problem(): string {
    const toDo = advice[this.reason]
    return `${this.detail}${toDo === "" ? "" : `; ${toDo}`}`
  }
  override get message() {
    return `cannot use ${this.where}: ${this.problem}`
  }
}

/** The settings of a session are not those that were asked for. */
export const notReached = (where: string) =>
  new PostgresOpenError({
    reason: "Pooler",
    where,
    detail: "the settings of a session do not reach the server, as through a pooler",
  })

const byState: Readonly<Record<string, PostgresOpenReason>> = {
  "3D000": "DatabaseMissing",
  "28000": "Refused",
  "28P01": "Refused",
  "42501": "NoPermission",
  "42704": "TooOld", // a setting that this server does not know
  "0A000": "Pooler", // a setting that a pooler does not hand on
  "08P01": "Pooler",
  "26000": "Pooler", // another session than the one that prepared the statement
  "25006": "ReadOnly",
}

/** What the driver said, in the words of this error. */
export const fromDriver =
  (where: string) =>
  (cause: unknown): PostgresOpenError => {
    if (cause instanceof PostgresOpenError) return cause
    const state = Option.getOrElse(stateOf(cause), () => "")
    const reason = byState[state] ?? (reasonOf(cause) === "Unreachable" ? "Unreachable" : "Unknown")
    return new PostgresOpenError({ reason, where, detail: messageOf(cause), cause })
  }
