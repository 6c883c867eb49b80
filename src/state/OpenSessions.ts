/**
 * The sessions of an engine that have no end, read from a database of any program: none when it holds no engine's
 * memory. Reads alone; brings no schema up to date, unlike `StateManager`.
 */
import { Effect, Option, Schema } from "effect"
import * as Columns from "./Columns.ts"
import { stateError } from "./StateError.ts"

const OpenSession = Schema.Struct({
  sessionId: Schema.Int,
  /** ISO 8601, UTC. */
  startedAt: Schema.String,
  /** Whether no session came after it: it may be running. */
  isNewest: Schema.BooleanFromBit,
})
export type OpenSession = typeof OpenSession.Type

/** More of them say nothing more. */
const most = 100

const columns = ["session_id", "parent_session_id", "started_at", "ended_at", "halt_reason"]

/** The last 100 of them, in the order of their numbers. A table of the same name with other columns is another program's. */
export const openSessions = Effect.gen(function* () {
  const sql = yield* Columns.ownNames
  const { has } = yield* Columns.read(sql, "sessions")
  if (!has("sessions", ...columns)) return Option.none()
  const open = yield* sql.unsafe(`SELECT session_id AS "sessionId", started_at AS "startedAt",
    CAST(session_id = (SELECT max(session_id) FROM sessions) AS INTEGER) AS "isNewest"
    FROM sessions WHERE ended_at IS NULL ORDER BY session_id DESC LIMIT ${most}`)
  return Option.some((yield* Schema.decodeUnknownEffect(Schema.Array(OpenSession))(open)).toReversed())
}).pipe(Effect.withSpan("openSessions"), stateError("openSessions"))

/** Ends them: a statement for the owner of the database to paste. */
export const endStatement = (sessions: ReadonlyArray<OpenSession>): string =>
  `UPDATE sessions SET ended_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), halt_reason = 'unexpected_halt' WHERE session_id IN (${sessions.map(({ sessionId }) => sessionId).join(", ")})`
