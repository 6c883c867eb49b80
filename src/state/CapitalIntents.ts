/**
 * The part of `StateManager` that moves capital: one method per intent, each one transaction, all or nothing.
 *
 * The rules are those of `CapitalEvent`; what is written and read is in `Capital`.
 */
import { Effect } from "effect"
import type { Writer } from "../sql/Writer.ts"
import * as Capital from "./Capital.ts"
import {
  type CapitalError,
  type CapitalEvent,
  type CapitalMovement,
  type ClassifiedWithdrawal,
  classifyWithdrawal,
  must,
  validate,
  worthOf,
} from "./CapitalEvent.ts"
import { capitalOrStateError, stateError, type StateError } from "./StateError.ts"

/** What leaves: as a deposit is given, and the worth that says how much of it is profit. */
export type CapitalWithdrawal = Capital.Deposit & {
  /** What all holdings are worth before the withdrawal, in RLUSD, finite; taken as it is given. */
  readonly valueRlusd: number
}

type Result<A> = Effect.Effect<A, StateError | CapitalError>

/** What breaks a rule is a `CapitalError`, and stores nothing; whatever else goes wrong is a `StateError`. */
export interface CapitalIntents {
  /** Where the capital stands, at one moment. */
  readonly capital: Effect.Effect<Capital.Capital, StateError>
  /** The sum of what all capital events changed. */
  readonly netBasisRlusd: Effect.Effect<number, StateError>
  /** Stores a movement of capital that keeps every rule. What profit is counted from stays as it is. */
  readonly recordCapitalEvent: (movement: CapitalMovement) => Result<CapitalEvent>
  /**
   * A deposit, and what profit is counted from raised by the same worth: both or neither. Where nothing was counted yet
   * it counts from 0; what is no number there is a `CapitalError`.
   */
  readonly injectCapital: (deposit: Capital.Deposit) => Result<Capital.CapitalChange>
  /** Stores a withdrawal: profit leaves first, only the rest lowers the basis (`classifyWithdrawal`). */
  readonly withdrawCapital: (withdrawal: CapitalWithdrawal) => Result<ClassifiedWithdrawal>
  /**
   * Stores the basis from before there were books, in RLUSD, above 0: once, whatever the first amount was. Without an
   * event in the answer, it was there before.
   */
  readonly writeInitialBasis: (options: { readonly amount: number }) => Result<Capital.CapitalChange>
}

export const make = (store: Capital.CapitalStore, writer: Writer["Service"]): CapitalIntents => {
  const capital = Capital.read(store.sql).pipe(Effect.withSpan("StateManager.capital"), stateError("capital"))
  const record = Effect.fnUntraced(function* (movement: CapitalMovement) {
    const event = yield* Effect.fromResult(validate(movement))
    yield* Capital.record(store, event)
    return event
  })

  return {
    capital,
    netBasisRlusd: Effect.map(capital, ({ netBasisRlusd }) => netBasisRlusd),

    recordCapitalEvent: Effect.fn("StateManager.recordCapitalEvent")(function* (movement) {
      return yield* writer.transaction(record(movement))
    }, capitalOrStateError("recordCapitalEvent")),

    injectCapital: Effect.fn("StateManager.injectCapital")(function* (deposit) {
      const event = yield* Effect.fromResult(Capital.deposit(deposit))
      return yield* writer.transaction(Capital.carryOut(store, Capital.injection(event)))
    }, capitalOrStateError("injectCapital")),

    withdrawCapital: Effect.fn("StateManager.withdrawCapital")(function* ({ asset = "RLUSD", valueRlusd, ...rest }) {
      yield* Effect.fromResult(must(Number.isFinite(valueRlusd), "value_rlusd", "a finite number", valueRlusd))
      const movement = { ...rest, asset }
      return yield* writer.transaction(
        Effect.gen(function* () {
          const { netBasisRlusd: netBasis } = yield* Capital.read(store.sql)
          const classified = classifyWithdrawal({ value: valueRlusd, netBasis, amount: worthOf(movement) })
          yield* record({ ...movement, eventType: "withdrawal", basisDeltaRlusd: classified.basisDelta })
          return classified
        }),
      )
    }, capitalOrStateError("withdrawCapital")),

    writeInitialBasis: Effect.fn("StateManager.writeInitialBasis")(function* ({ amount }) {
      const event = yield* Effect.fromResult(Capital.initialBasis(amount))
      return yield* writer.transaction(Capital.carryOut(store, Capital.initialBasisOnce(event)))
    }, capitalOrStateError("writeInitialBasis")),
  }
}
