/** What a status says of the engine that keeps its books in a database or on a server. */
import { Option, Schema } from "effect"
import type { StoredState } from "../state/StoredState.ts"

const Nullable = Schema.OptionFromNullOr

/** As they are in the JSON. Times in ISO 8601 (UTC). */
export const fields = {
  engine_status: Nullable(Schema.String),
  halt_reason: Nullable(Schema.String),
  halt_detail: Nullable(Schema.String),
  session_id: Nullable(Schema.Int),
  parent_session_id: Nullable(Schema.Int),
  session_started_at: Nullable(Schema.String),
  session_ended_at: Nullable(Schema.String),
  /** `not_closed`: it has no end, and its engine crashed, or none is seen to run. */
  session_state: Nullable(Schema.Literals(["open", "closed", "not_closed"])),
  session_halt_reason: Nullable(Schema.String),
  session_starting_value_rlusd: Nullable(Schema.Finite),
  session_ending_value_rlusd: Nullable(Schema.Finite),
}

/** None of it where nothing is stored. A session without an end is open where an engine may run. */
export const of = (found: Option.Option<StoredState>, mayRun: boolean) => {
  const session = Option.flatMap(found, ({ lastSession }) => lastSession)
  const withoutEnd = mayRun ? ("open" as const) : ("not_closed" as const)
  return {
    engine_status: Option.flatMap(found, ({ engineStatus }) => engineStatus),
    halt_reason: Option.flatMap(found, ({ haltReason }) => haltReason),
    halt_detail: Option.flatMap(found, ({ haltDetail }) => haltDetail),
    session_id: Option.map(session, ({ sessionId }) => sessionId),
    parent_session_id: Option.flatMap(session, ({ parentSessionId }) => parentSessionId),
    session_started_at: Option.map(session, ({ startedAt }) => startedAt),
    session_ended_at: Option.flatMap(session, ({ endedAt }) => endedAt),
    session_state: Option.map(session, ({ endedAt }) => (Option.isSome(endedAt) ? ("closed" as const) : withoutEnd)),
    session_halt_reason: Option.flatMap(session, ({ haltReason }) => haltReason),
    session_starting_value_rlusd: Option.flatMap(session, ({ startingValueRlusd }) => startingValueRlusd),
    session_ending_value_rlusd: Option.flatMap(session, ({ endingValueRlusd }) => endingValueRlusd),
  }
}
