/**
 * Where the capital of an engine stands, and how it moves in the database: the table `capital_events`, and the worth that
 * profit is counted from.
 *
 * `read` takes any database, also one of an older program or of none: what is absent counts as nothing. The writes take
 * a schema that is up to date, and a transaction around them, which is the `StateManager`'s.
 */
import { DateTime, Effect, Option, Result, Schema } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { type CapitalError, type CapitalEvent, type CapitalMovement, must, validate } from "./CapitalEvent.ts"
import * as Columns from "./Columns.ts"
import { startingValueKey } from "./StateKeys.ts"

const initialBasisNote = "synthetic_initial_basis"

/** Where the capital stands. */
export interface Capital {
  /** The sum of what all events changed. */
  readonly netBasisRlusd: number
  /** The text of `paper.pnl_starting_value_rlusd`, none when it was never set, or was cleared. */
  readonly startingValue: Option.Option<string>
  /** Whether `writeInitialBasis` has stored its event. */
  readonly hasInitialBasis: boolean
}

const Rows = Schema.NonEmptyArray(
  Schema.Struct({
    netBasisRlusd: Schema.Finite,
    startingValue: Schema.OptionFromNullOr(Schema.String),
    hasInitialBasis: Schema.BooleanFromBit,
  }),
)

/** Reads only. One statement tells all of it, so that no write comes between one figure and another.
 * @internal
 */
export const read = Effect.fnUntraced(function* (sql: SqlClient.SqlClient) {
  const { has } = yield* Columns.read(sql, "capital_events", "engine_state")
  const netBasis = has("capital_events", "basis_delta_rlusd")
    ? sql`(SELECT CAST(coalesce(sum(basis_delta_rlusd), 0) AS DOUBLE PRECISION) FROM capital_events)`
    : sql`0`
  const startingValue = has("engine_state", "key", "value")
    ? sql`(SELECT CAST(value AS TEXT) FROM engine_state WHERE key = ${startingValueKey} AND CAST(value AS TEXT) <> '')`
    : sql`NULL`
  const initialBasis = has("capital_events", "event_type", "source_note")
    ? sql`(SELECT CAST(count(*) > 0 AS INTEGER) FROM capital_events
        WHERE event_type = 'basis_commit' AND source_note = ${initialBasisNote})`
    : sql`0`
  const rows = yield* sql`SELECT ${netBasis} AS "netBasisRlusd", ${startingValue} AS "startingValue",
    ${initialBasis} AS "hasInitialBasis"`
  const [capital] = yield* Schema.decodeUnknownEffect(Rows)(rows)
  return capital satisfies Capital
}, Columns.ownNumbers)

/** What an intent does: the event that it stores, none when there is nothing to do, and where the capital stood and stands. */
export interface CapitalChange {
  readonly before: Capital
  readonly event: Option.Option<CapitalEvent>
  readonly after: Capital
}

/** Works an intent out without a database.
 * @internal
 */
export type CapitalPlan = (before: Capital) => Result.Result<CapitalChange, CapitalError>

/** A deposit or a withdrawal, by the rules of `CapitalMovement`. */
export type Deposit = Pick<CapitalMovement, "amount" | "priceRlusd" | "sourceNote"> & {
  /** Default `RLUSD`. */
  readonly asset?: CapitalMovement["asset"] | undefined
}

/** @internal */
export const deposit = ({ asset = "RLUSD", ...rest }: Deposit) => validate({ ...rest, asset, eventType: "deposit" })

/** A basis from before there were books.
 * @internal
 */
export const initialBasis = (amount: number): Result.Result<CapitalEvent, CapitalError> =>
  Result.andThen(must(amount > 0, "amount", "a finite number greater than 0", amount), () =>
    validate({
      asset: "RLUSD",
      eventType: "basis_commit",
      amount,
      basisDeltaRlusd: amount,
      sourceNote: initialBasisNote,
    }),
  )

const raisedBasis = ({ netBasisRlusd }: Capital, { basisDeltaRlusd }: CapitalEvent) => netBasisRlusd + basisDeltaRlusd

/** An injection is no profit: what profit is counted from rises by as much as the basis. Absent, it counts as 0.
 * @internal
 */
export const injection =
  (event: CapitalEvent): CapitalPlan =>
  (before) => {
    const text = Option.getOrElse(before.startingValue, () => "0")
    const startingValue = (text.trim() === "" ? Number.NaN : Number(text)) + event.basisDeltaRlusd
    const netBasisRlusd = raisedBasis(before, event)
    const after = { ...before, netBasisRlusd, startingValue: Option.some(String(startingValue)) }
    return Result.map(
      must(Number.isFinite(startingValue), startingValueKey, "a number that can be raised; set it right", text),
      () => ({ before, event: Option.some(event), after }),
    )
  }

/** Once, whatever the amount of the first one was.
 * @internal
 */
export const initialBasisOnce =
  (event: CapitalEvent): CapitalPlan =>
  (before) =>
    Result.succeed(
      before.hasInitialBasis
        ? { before, event: Option.none(), after: before }
        : {
            before,
            event: Option.some(event),
            after: { ...before, netBasisRlusd: raisedBasis(before, event), hasInitialBasis: true },
          },
    )

/** Where capital is written. */
export interface CapitalStore {
  readonly sql: SqlClient.SqlClient
  /** Sets a state key, as a part of the transaction around it. */
  readonly set: (key: string, value: string) => Effect.Effect<unknown, SqlError.SqlError>
}

/** All that is written to the table goes through this. Inside a transaction.
 * @internal
 */
export const record = Effect.fnUntraced(function* ({ sql }: CapitalStore, event: CapitalEvent) {
  const row = sql.insert({
    asset: event.asset,
    event_type: event.eventType,
    amount: event.amount,
    price_rlusd: event.priceRlusd,
    basis_delta_rlusd: event.basisDeltaRlusd,
    source_note: event.sourceNote,
    created_at: DateTime.formatIso(yield* DateTime.now),
  })
  yield* sql`INSERT INTO capital_events ${row}`
})

/** Does what the plan says, inside a transaction.
 * @internal
 */
export const carryOut = Effect.fnUntraced(function* (store: CapitalStore, plan: CapitalPlan) {
  const { after, before, event } = yield* Effect.fromResult(plan(yield* read(store.sql)))
  if (Option.isSome(event)) yield* record(store, event.value)
  const value = Option.getOrElse(after.startingValue, () => "")
  if (value !== Option.getOrElse(before.startingValue, () => "")) yield* store.set(startingValueKey, value)
  return { before, event, after: yield* read(store.sql) } satisfies CapitalChange
})
