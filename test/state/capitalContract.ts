/** What is said of capital, whatever stores it: one suite, run against each store. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, type Layer, Option, Result } from "effect"
import { SqlClient, Statement } from "effect/sql"
import { CapitalError } from "../../src/state/CapitalEvent.ts"
import { StateError } from "../../src/state/StateError.ts"
import { startingValueKey } from "../../src/state/StateKeys.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import { TestClock } from "effect/testing"
import { commit, rlusdIn, rlusdOut, xrpIn } from "../support/movements.ts"

/** A store, and its words for a table that takes no rows and no changes. */
interface Store<E> {
  readonly name: string
  /** An empty one each time it is built, and the client that it shares with the test. */
  readonly layer: Layer.Layer<StateManager.StateManager | SqlClient.SqlClient, E>
  readonly refuse: (table: string) => ReadonlyArray<string>
  readonly allow: (table: string) => ReadonlyArray<string>
}

const failureOf = Effect.fnUntraced(function* <A, E, R>(self: Effect.Effect<A, E, R>) {
  return Option.getOrThrow(Result.getFailure(yield* Effect.result(self)))
})

const rows = (query: string) =>
  Effect.map(
    SqlClient.SqlClient.use((sql) => sql.unsafe<Record<string, unknown>>(query)),
    (found) => found.map((row) => ({ ...row })),
  )

const events = rows("SELECT event_type, asset, amount, basis_delta_rlusd AS delta FROM capital_events ORDER BY id")
const startingValue = StateManager.StateManager.use((state) => state.get(startingValueKey))

export const capitalContract = <E>(store: Store<E>) =>
  describe(`capital on ${store.name}`, () => {
    it.effect("an event is stored as it is, with its time", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        yield* TestClock.adjust("4 seconds")
        expect((yield* state.recordCapitalEvent(xrpIn)).basisDeltaRlusd).toBe(50)
        yield* state.recordCapitalEvent(commit)
        expect(yield* rows("SELECT * FROM capital_events")).toEqual([
          {
            id: 1,
            asset: "XRP",
            event_type: "deposit",
            amount: 100,
            price_rlusd: 0.5,
            basis_delta_rlusd: 50,
            source_note: "bank",
            created_at: "1970-01-01T00:00:04.000Z",
          },
          {
            id: 2,
            asset: "RLUSD",
            event_type: "basis_commit",
            amount: 30,
            price_rlusd: null,
            basis_delta_rlusd: -30,
            source_note: "bank",
            created_at: "1970-01-01T00:00:04.000Z",
          },
        ])
        expect(yield* state.netBasisRlusd).toBe(20)
      }).pipe(Effect.provide(store.layer)),
    )

    it.effect("an event that breaks a rule is a CapitalError, and nothing is stored", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        const all: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
          state.recordCapitalEvent({ ...rlusdOut, basisDeltaRlusd: 1 }),
          state.injectCapital({ amount: Number.NaN, sourceNote: "bank" }),
          state.injectCapital({ asset: "XRP", amount: 1, sourceNote: "bank" }),
          state.writeInitialBasis({ amount: -1 }),
          state.withdrawCapital({ amount: -1, valueRlusd: 100, sourceNote: "bank" }),
          state.withdrawCapital({ asset: "XRP", amount: 1, valueRlusd: 100, sourceNote: "bank" }),
          state.withdrawCapital({ amount: 1, valueRlusd: Number.NaN, sourceNote: "bank" }),
        ]
        for (const refused of all) {
          expect(yield* failureOf(refused)).toBeInstanceOf(CapitalError)
        }
        expect(yield* events).toEqual([])
        expect(yield* startingValue).toEqual(Option.none())
      }).pipe(Effect.provide(store.layer)),
    )

    it.effect("before the first event the net basis is 0, and an unknown change counts as 0", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        expect(yield* state.netBasisRlusd).toBe(0)
        yield* state.recordCapitalEvent(rlusdIn)
        yield* rows("INSERT INTO capital_events (event_type, basis_delta_rlusd) VALUES ('deposit', NULL)")
        expect(yield* state.netBasisRlusd).toBe(250)
      }).pipe(Effect.provide(store.layer)),
    )

    it.effect("an injection is a deposit, and raises what profit is counted from by the same worth", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        yield* state.set(startingValueKey, "2000.5")
        const change = yield* state.injectCapital({ asset: "XRP", amount: 100, priceRlusd: 0.5, sourceNote: "cold" })
        expect(yield* events).toEqual([{ event_type: "deposit", asset: "XRP", amount: 100, delta: 50 }])
        expect(yield* startingValue).toEqual(Option.some("2050.5"))
        expect([change.before.netBasisRlusd, change.after.netBasisRlusd]).toEqual([0, 50])
        expect(change.before.startingValue).toEqual(Option.some("2000.5"))
        expect(change.after).toEqual(yield* state.capital)
      }).pipe(Effect.provide(store.layer)),
    )

    it.effect("an injection where nothing was counted yet counts from 0", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        yield* state.clear(startingValueKey)
        yield* state.injectCapital({ amount: 250, sourceNote: "bank" })
        yield* state.injectCapital({ amount: 50, sourceNote: "bank" })
        expect(yield* startingValue).toEqual(Option.some("300"))
      }).pipe(Effect.provide(store.layer)),
    )

    for (const text of ["a lot", " ", "NaN", "Infinity", "1.7e308"]) {
      it.effect(`an injection on a starting value of "${text}" is refused, and neither is changed`, () =>
        Effect.gen(function* () {
          const state = yield* StateManager.StateManager
          yield* state.set(startingValueKey, text)
          const error = yield* failureOf(state.injectCapital({ amount: 1.7e308, sourceNote: "bank" }))
          expect(error).toMatchObject({ _tag: "CapitalError", field: startingValueKey })
          expect(yield* events).toEqual([])
          expect(yield* startingValue).toEqual(Option.some(text))
        }).pipe(Effect.provide(store.layer)),
      )
    }

    for (const table of ["engine_state", "capital_events"]) {
      it.effect(`an injection whose write to ${table} fails leaves neither, and the next one is whole`, () =>
        Effect.gen(function* () {
          const state = yield* StateManager.StateManager
          yield* state.set(startingValueKey, "1000")
          for (const statement of store.refuse(table)) yield* rows(statement)
          const error = yield* failureOf(state.injectCapital({ amount: 250, sourceNote: "bank" }))
          if (!(error instanceof StateError)) throw new Error(`expected a StateError, got ${String(error)}`)
          expect(error.operation).toBe("injectCapital")
          expect(error.message).toContain("forced")
          expect(yield* events).toEqual([])
          expect(yield* startingValue).toEqual(Option.some("1000"))

          for (const statement of store.allow(table)) yield* rows(statement)
          yield* state.injectCapital({ amount: 250, sourceNote: "bank" })
          expect(yield* events).toHaveLength(1)
          expect(yield* startingValue).toEqual(Option.some("1250"))
        }).pipe(Effect.provide(store.layer)),
      )
    }

    it.effect("injections at the same time all count, beside one that is refused", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        const amounts = Array.from({ length: 20 }, (_, i) => (i === 7 ? Number.NaN : 1))
        const outcomes = yield* Effect.forEach(
          amounts,
          (amount) => Effect.exit(state.injectCapital({ amount, sourceNote: "bank" })),
          { concurrency: "unbounded" },
        )
        expect(outcomes.filter(Exit.isFailure)).toHaveLength(1)
        expect(yield* state.netBasisRlusd).toBe(19)
        expect(yield* startingValue).toEqual(Option.some("19"))
      }).pipe(Effect.provide(store.layer)),
    )

    it.effect("the initial basis is stored once, also when it is asked for twice at the same time", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        const changes = yield* Effect.forEach([1000, 2000], (amount) => state.writeInitialBasis({ amount }), {
          concurrency: "unbounded",
        })
        expect(changes.map(({ event }) => Option.isSome(event))).toEqual([true, false])
        expect(
          yield* rows("SELECT event_type, asset, amount, basis_delta_rlusd, source_note FROM capital_events"),
        ).toEqual([
          {
            event_type: "basis_commit",
            asset: "RLUSD",
            amount: 1000,
            basis_delta_rlusd: 1000,
            source_note: "synthetic_initial_basis",
          },
        ])
        expect(yield* startingValue).toEqual(Option.none())
      }).pipe(Effect.provide(store.layer)),
    )

    it.effect("a deposit with the note of the initial basis is none", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        yield* state.recordCapitalEvent({ ...rlusdIn, sourceNote: "synthetic_initial_basis" })
        expect(Option.isSome((yield* state.writeInitialBasis({ amount: 1000 })).event)).toBe(true)
      }).pipe(Effect.provide(store.layer)),
    )

    it.effect("is read at one moment: what another writes meanwhile is in all figures or in none", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        const inject = Effect.orDie(state.injectCapital({ amount: 1, sourceNote: "bank" }))
        /** Before each statement another client injects, and all of that is done when the statement begins. */
        const busy: Statement.Transformer = (statement) =>
          Effect.as(Effect.provideService(inject, Statement.CurrentTransformer, undefined), statement)
        const seen = yield* Effect.provideService(state.capital, Statement.CurrentTransformer, busy)
        expect(seen.netBasisRlusd).toBeGreaterThan(0)
        expect(seen.startingValue).toEqual(Option.some(String(seen.netBasisRlusd)))
      }).pipe(Effect.provide(store.layer)),
    )

    it.effect("a withdrawal takes profit first, by the basis that is stored", () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        yield* state.writeInitialBasis({ amount: 1000 })
        const sourceNote = "rent"
        const first = yield* state.withdrawCapital({ amount: 150, valueRlusd: 1200, sourceNote })
        expect(first).toEqual({ profit: 150, basisDelta: 0 })
        const second = yield* state.withdrawCapital({
          asset: "XRP",
          amount: 200,
          priceRlusd: 0.5,
          valueRlusd: 1050,
          sourceNote,
        })
        expect(second).toEqual({ profit: 50, basisDelta: -50 })
        expect(yield* events).toEqual([
          { event_type: "basis_commit", asset: "RLUSD", amount: 1000, delta: 1000 },
          { event_type: "withdrawal", asset: "RLUSD", amount: 150, delta: 0 },
          { event_type: "withdrawal", asset: "XRP", amount: 200, delta: -50 },
        ])
        expect(yield* state.netBasisRlusd).toBe(950)
      }).pipe(Effect.provide(store.layer)),
    )
  })
