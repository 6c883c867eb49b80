/**
 * The part of `StateManager` that keeps the sessions: a row for each run of an engine.
 *
 * A row without an end may come from a crash long ago: it is not proof that an engine is running.
 */
import { Array as Arr, DateTime, Effect, Option, Schema } from "effect"
import type { SqlClient } from "effect/sql"
import type { Row, Writer } from "../sql/Writer.ts"
import { ownNumbers } from "./Columns.ts"
import { finite } from "./Finite.ts"
import * as SessionNumber from "./SessionNumber.ts"
import { stateError, type StateError } from "./StateError.ts"

/** One run of an engine. */
export class SessionRow extends Schema.Class<SessionRow>("seawall/state/SessionRow")({
  sessionId: Schema.Int,
  parentSessionId: Schema.OptionFromNullOr(Schema.Int),
  /** ISO 8601, UTC. */
  startedAt: Schema.String,
  /** ISO 8601, UTC. */
  endedAt: Schema.OptionFromNullOr(Schema.String),
  haltReason: Schema.OptionFromNullOr(Schema.String),
  startingValueRlusd: Schema.OptionFromNullOr(Schema.Finite),
  endingValueRlusd: Schema.OptionFromNullOr(Schema.Finite),
}) {}

/** What a session was worth, in RLUSD. */
export interface Worth {
  readonly starting: number
  readonly ending: number
}

type Result<A> = Effect.Effect<A, StateError>

/** Each is one transaction, or one read. */
export interface SessionIntents {
  /**
   * Opens a session now and returns its number; `parentSessionId` is the one that it recovers. Under a lease with an `epoch` that
   * is its number, and sessions before it that have no end are ended with `leadership_lost`; default the next number.
   */
  readonly openSession: (options: {
    readonly parentSessionId: Option.Option<number>
    readonly epoch?: Option.Option<number>
  }) => Result<number>
  /** Closes a session now, with its worth where that is known; fails when no session of this number was opened. */
  readonly closeSession: (options: {
    readonly sessionId: number
    readonly haltReason: string
    readonly worth: Option.Option<Worth>
  }) => Result<void>
  /** The session with the highest number. */
  readonly lastSession: Result<Option.Option<SessionRow>>
}

const NewId = Schema.NonEmptyArray(Schema.Struct({ id: Schema.Int }))
const idOf = (rows: ReadonlyArray<Row>) => Effect.map(Schema.decodeUnknownEffect(NewId)(rows), ([{ id }]) => id)

const now = Effect.map(DateTime.now, DateTime.formatIso)

export const make = (own: SqlClient.SqlClient, writer: Writer["Service"]): SessionIntents => ({
  openSession: Effect.fn("StateManager.openSession")(
    function* ({ epoch = Option.none(), parentSessionId }) {
      const startedAt = yield* now
      const row = { parent_session_id: Option.getOrNull(parentSessionId), started_at: startedAt }
      const opening = Effect.gen(function* () {
        const number = Option.isSome(epoch) ? Option.some(epoch.value) : yield* SessionNumber.next(own)
        if (Option.isSome(epoch)) {
          yield* own`UPDATE sessions SET ended_at = ${startedAt}, halt_reason = 'leadership_lost'
            WHERE ended_at IS NULL AND session_id < ${epoch.value}`
        }
        const values = own.insert(
          Option.match(number, { onNone: () => row, onSome: (id) => ({ session_id: id, ...row }) }),
        )
        return yield* own`INSERT INTO sessions ${values.returning(own`session_id AS id`)}`
      })
      return yield* idOf(yield* writer.transaction(opening))
    },
    ownNumbers,
    stateError("openSession"),
  ),

  closeSession: Effect.fn("StateManager.closeSession")(
    function* ({ sessionId, haltReason, worth }) {
      if (Option.isSome(worth))
        yield* finite({ "worth.starting": worth.value.starting, "worth.ending": worth.value.ending })
      const { starting, ending } = Option.getOrElse(worth, () => ({ starting: null, ending: null }))
      const row = own`UPDATE sessions SET ended_at = ${yield* now}, halt_reason = ${haltReason},
        starting_value_rlusd = ${starting}, ending_value_rlusd = ${ending}
        WHERE session_id = ${sessionId} RETURNING session_id AS id`
      yield* idOf(yield* writer.transaction(row))
    },
    ownNumbers,
    stateError("closeSession"),
  ),

  lastSession: Effect.gen(function* () {
    const rows = yield* own`SELECT session_id AS "sessionId", parent_session_id AS "parentSessionId",
      started_at AS "startedAt", ended_at AS "endedAt", halt_reason AS "haltReason",
      starting_value_rlusd AS "startingValueRlusd", ending_value_rlusd AS "endingValueRlusd"
      FROM sessions ORDER BY session_id DESC LIMIT 1`
    return Arr.head(yield* Schema.decodeUnknownEffect(Schema.Array(SessionRow))(rows))
  }).pipe(Effect.withSpan("StateManager.lastSession"), ownNumbers, stateError("lastSession")),
})
