/**
 * What an engine has stored, for readers outside the engine: read in one short transaction, from the client in
 * reach, without bringing any schema up to date. A database that is no engine's has none of it, which is no error.
 */
import { Array as Arr, Effect, Option, Schema } from "effect"
import { SqlClient } from "effect/sql"
import * as Columns from "./Columns.ts"
import { engineStatusKey, haltDetailKey, haltReasonKey } from "./StateKeys.ts"
import * as StateManager from "./StateManager.ts"

export interface StoredState {
  readonly engineStatus: Option.Option<string>
  readonly haltReason: Option.Option<string>
  readonly haltDetail: Option.Option<string>
  /** The session with the highest number. */
  readonly lastSession: Option.Option<StateManager.SessionRow>
}

const keys = [engineStatusKey, haltReasonKey, haltDetailKey] as const

const values = `SELECT key AS key, CAST(COALESCE(value, '') AS TEXT) AS value FROM engine_state
  WHERE key IN (${keys.map((key) => `'${key}'`).join(", ")})`

const Values = Schema.Array(Schema.Struct({ key: Schema.String, value: Schema.String }))

const read = Effect.gen(function* () {
  const sql = yield* Columns.ownNames
  const { has, isKeyedBy } = yield* Columns.read(sql, "engine_state", "sessions")
  if (!has("engine_state", "key", "value")) return Option.none()
  const rows = yield* Schema.decodeUnknownEffect(Values)(yield* sql.unsafe(values))
  const valueOf = (key: (typeof keys)[number]) =>
    Option.filter(
      Option.map(
        Arr.findFirst(rows, (row) => row.key === key),
        ({ value }) => value,
      ),
      (value) => value !== "",
    )

  /** An older table may lack some. */
  const column = (name: string, as: string) => (has("sessions", name) ? `${name} AS "${as}"` : `NULL AS "${as}"`)
  // By its key the last one is found at once, however many there are.
  const sessions = isKeyedBy("sessions", "session_id")
    ? yield* sql.unsafe(`SELECT session_id AS "sessionId", ${column("parent_session_id", "parentSessionId")},
        COALESCE(${has("sessions", "started_at") ? "started_at" : "NULL"}, '') AS "startedAt",
        ${column("ended_at", "endedAt")}, ${column("halt_reason", "haltReason")},
        ${column("starting_value_rlusd", "startingValueRlusd")}, ${column("ending_value_rlusd", "endingValueRlusd")}
        FROM sessions ORDER BY session_id DESC LIMIT 1`)
    : []
  return Option.some<StoredState>({
    engineStatus: valueOf(engineStatusKey),
    haltReason: valueOf(haltReasonKey),
    haltDetail: valueOf(haltDetailKey),
    lastSession: Arr.head(yield* Schema.decodeUnknownEffect(Schema.Array(StateManager.SessionRow))(sessions)),
  })
})

/** None when the database has no table of an engine's state. */
export const stored = SqlClient.SqlClient.use((sql) => sql.withTransaction(read)).pipe(Effect.withSpan("StoredState"))
