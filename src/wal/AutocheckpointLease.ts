/**
 * The one owner of a connection's `wal_autocheckpoint` while a guard runs: taken when the guard starts, so that no commit
 * pays for a checkpoint; lent back while the guard's own checkpointer hangs; given back at the end.
 */
import { Effect, Option, Ref } from "effect"
import type { SqlError } from "effect/sql"
import type { DatabaseControlService } from "../sqlite/DatabaseControl.ts"

type SetPages = (self: Effect.Effect<number, SqlError.SqlError>) => Effect.Effect<number, SqlError.SqlError>

export const make = Effect.fnUntraced(function* ({ autocheckpoint }: Pick<DatabaseControlService, "autocheckpoint">) {
  /** The setting before, in pages; none while the lease is free. */
  const found = yield* Ref.make(Option.none<number>())
  const isStandingIn = yield* Ref.make(false)
  return {
    /** Turns it off. */
    take: Effect.gen(function* () {
      yield* Ref.set(found, Option.some(yield* autocheckpoint(0)))
      yield* Ref.set(isStandingIn, false)
    }),

    /** SQLite's own stands in while it is needed. In a fiber of its own: its caller may hold the permit that this needs. */
    standIn: Effect.fnUntraced(function* (isNeeded: boolean) {
      const before = yield* Ref.get(found)
      if (Option.isNone(before) || (yield* Ref.getAndSet(isStandingIn, isNeeded)) === isNeeded) return
      yield* autocheckpoint(isNeeded ? before.value : 0).pipe(
        Effect.ignoreCause({ log: "Error", message: "wal_autocheckpoint failed" }),
        Effect.forkDetach,
      )
    }),

    /** Sets what was found, the way that `given` says. When that fails or is interrupted, the lease goes on. */
    giveBack: Effect.fnUntraced(function* (given: SetPages) {
      // From here on nothing stands in.
      const before = yield* Ref.getAndSet(found, Option.none())
      if (Option.isNone(before)) return
      yield* Effect.onError(given(autocheckpoint(before.value)), () => Ref.set(found, before))
    }),
  }
})

export type AutocheckpointLease = Effect.Success<ReturnType<typeof make>>
