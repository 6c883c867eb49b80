/**
 * A movement of capital, and every rule that it must keep.
 *
 * The basis is what was put in, in RLUSD: a deposit raises it, a withdrawal lowers it by what was not profit, and a
 * `basis_commit` sets it right without money moving. A `CapitalEvent` exists only where `validate` made it.
 * Nothing here knows of storage or time.
 */
import { Result, Schema } from "effect"

/** RLUSD is what worth is counted in; XRP takes a price. */
export const Asset = Schema.Literals(["XRP", "RLUSD"])
export type Asset = typeof Asset.Type

/** Put in, taken out, or the basis set right without money moving. */
const CapitalEventType = Schema.Literals(["deposit", "withdrawal", "basis_commit"])
type CapitalEventType = typeof CapitalEventType.Type

/** A movement of capital that breaks a rule. Nothing of it is stored. */
export class CapitalError extends Schema.TaggedError<CapitalError>()("CapitalError", {
  /** Its name in the table, or `value_rlusd`, or the state key that stands in the way. */
  field: Schema.String,
  expected: Schema.String,
  got: Schema.String,
}) {
  override get message() {
    return `expected ${this.field} to be ${this.expected}, got ${this.got}; nothing was stored`
  }
}

/** What a caller asks to record. */
export interface CapitalMovement {
  readonly asset: Asset
  readonly eventType: CapitalEventType
  /** In units of the asset, above 0; of a `basis_commit` the absolute change of the basis. */
  readonly amount: number
  /** RLUSD per unit of the asset, above 0: needed for XRP, not for RLUSD, and not allowed for a `basis_commit`. */
  readonly priceRlusd?: number | undefined
  /**
   * By how much it moves the basis, in RLUSD. A deposit: 0 or more, its worth when absent. A withdrawal: needed, 0 or
   * less. A `basis_commit`, which is in RLUSD: needed, any.
   */
  readonly basisDeltaRlusd?: number | undefined
  /** Where it comes from, for a later reader of the books; not blank. */
  readonly sourceNote: string
}

/** A movement that keeps every rule. */
class CapitalEvent extends Schema.Class<CapitalEvent>("seawall/state/CapitalEvent")({
  asset: Asset,
  eventType: CapitalEventType,
  amount: Schema.Finite,
  priceRlusd: Schema.NullOr(Schema.Finite),
  basisDeltaRlusd: Schema.Finite,
  sourceNote: Schema.String,
}) {}
export type { CapitalEvent } // its constructor goes round the rules

/** A rule of a field.
 * @internal
 */
export const must = (
  holds: boolean,
  field: string,
  expected: string,
  got: unknown,
): Result.Result<void, CapitalError> =>
  holds
    ? Result.succeed(undefined)
    : Result.fail(
        new CapitalError({
          field,
          expected,
          got: typeof got === "string" ? JSON.stringify(got) : String(got ?? "none"),
        }),
      )

const isPositive = (value: number | undefined) => Number.isFinite(value) && Number(value) > 0

/** In RLUSD; not a number when the price that it takes is absent.
 * @internal
 */
export const worthOf = ({ amount, asset, priceRlusd = Number.NaN }: Omit<CapitalMovement, "eventType">) =>
  asset === "RLUSD" ? amount : amount * priceRlusd

/** The one way to a `CapitalEvent`. The first rule that is broken is the error.
 * @internal
 */
export const validate = (movement: CapitalMovement): Result.Result<CapitalEvent, CapitalError> =>
  Result.gen(function* () {
    const { amount, asset, eventType, priceRlusd, sourceNote } = movement
    yield* must(Schema.is(CapitalEventType)(eventType), "event_type", "deposit, withdrawal or basis_commit", eventType)
    yield* must(Schema.is(Asset)(asset), "asset", "XRP or RLUSD", asset)
    yield* must(
      Schema.is(Schema.String)(sourceNote) && sourceNote.trim() !== "",
      "source_note",
      "a text that says where this comes from",
      sourceNote,
    )
    const basisDeltaRlusd = yield* rules[eventType](movement)
    return new CapitalEvent({
      asset,
      eventType,
      amount,
      priceRlusd: priceRlusd ?? null,
      basisDeltaRlusd: basisDeltaRlusd + 0, // makes 0 of -0
      sourceNote,
    })
  })

const amountAndPrice = ({ amount, asset, priceRlusd }: CapitalMovement) =>
  Result.gen(function* () {
    yield* must(isPositive(amount), "amount", "a finite number greater than 0", amount)
    const expected = `a finite number greater than 0${asset === "XRP" ? " for XRP" : ", or absent"}`
    yield* must(
      isPositive(priceRlusd) || (priceRlusd === undefined && asset === "RLUSD"),
      "price_rlusd",
      expected,
      priceRlusd,
    )
  })

/** What the rules of each type leave as the change of the basis. */
const rules: Readonly<Record<CapitalEventType, (movement: CapitalMovement) => Result.Result<number, CapitalError>>> = {
  deposit: (movement) =>
    Result.gen(function* () {
      yield* amountAndPrice(movement)
      const delta = movement.basisDeltaRlusd ?? worthOf(movement)
      yield* must(Number.isFinite(delta) && delta >= 0, "basis_delta_rlusd", "a finite number, 0 or more", delta)
      return delta
    }),
  withdrawal: (movement) =>
    Result.gen(function* () {
      yield* amountAndPrice(movement)
      const { basisDeltaRlusd } = movement
      const delta = basisDeltaRlusd ?? Number.NaN
      yield* must(
        Number.isFinite(delta) && delta <= 0,
        "basis_delta_rlusd",
        "a finite number, 0 or less",
        basisDeltaRlusd,
      )
      return delta
    }),
  basis_commit: ({ amount, asset, basisDeltaRlusd, priceRlusd }) =>
    Result.gen(function* () {
      yield* must(asset === "RLUSD", "asset", "RLUSD for a basis_commit", asset)
      yield* must(priceRlusd === undefined, "price_rlusd", "absent for a basis_commit", priceRlusd)
      const delta = basisDeltaRlusd ?? Number.NaN
      yield* must(Number.isFinite(delta), "basis_delta_rlusd", "a finite number", basisDeltaRlusd)
      const size = Math.abs(delta)
      yield* must(amount === size, "amount", `${size}, the absolute basis_delta_rlusd`, amount)
      return delta
    }),
}

/** A withdrawal before it is split into profit and basis. */
export interface Withdrawal {
  /** What all of it is worth before the withdrawal, in RLUSD. */
  readonly value: number
  /** In RLUSD. */
  readonly netBasis: number
  /** The withdrawal, in RLUSD. */
  readonly amount: number
}

/** In RLUSD. */
export interface ClassifiedWithdrawal {
  /** The part of the amount that is profit. */
  readonly profit: number
  /** By how much the basis changes: minus the rest, never above 0. */
  readonly basisDelta: number
}

/** Profit (the value above the net basis) leaves first; only the rest lowers the basis. Checks and stores nothing. */
export const classifyWithdrawal = ({ amount, netBasis, value }: Withdrawal): ClassifiedWithdrawal => {
  const profit = Math.min(amount, Math.max(0, value - netBasis))
  return { profit, basisDelta: 0 - (amount - profit) }
}
