/** Figures that are no finite numbers: what is refused by name, and that nothing of it is stored. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import * as StateManager from "../../src/state/StateManager.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { stateErrorOf } from "./stateManagerContract.ts"

const onSqlite = () => Layer.provideMerge(StateManager.layer(), TemporaryDatabase.layer())

const notFinite = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]

describe("the worth of a session", () => {
  for (const field of ["starting", "ending"] as const) {
    it.effect(`whose ${field} is not finite is refused, and leaves the session open`, () =>
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        const sessionId = yield* state.openSession({ parentSessionId: Option.none() })
        for (const value of notFinite) {
          const worth = Option.some({ starting: 100, ending: 107, [field]: value })
          const { message } = yield* stateErrorOf(state.closeSession({ sessionId, haltReason: "kill_switch", worth }))
          expect(message).toBe(
            `closeSession failed: expected worth.${field} to be a finite number, got ${value}; nothing was stored`,
          )
        }
        const session = Option.getOrThrow(yield* state.lastSession)
        expect([session.endedAt, session.haltReason]).toEqual([Option.none(), Option.none()])
      }).pipe(Effect.provide(onSqlite())),
    )
  }
})
