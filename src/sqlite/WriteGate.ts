/**
 * The write gate of a connection: holds writers back between two of their statements, for a bounded time, while something is done
 * that no write may come between. The fibers wait, the event loop does not.
 */
import { Deferred, Duration, Effect, type Exit, Fiber, Option, type Semaphore } from "effect"

/** How long the gate waits for the permit: far longer than any transaction that does not wait for something else. */
const gateWait = Duration.seconds(1)

/** How long the gate stays closed to writers when nothing else is asked for: a stall too short to notice. */
const gateHold = Duration.millis(100)

/** How the work under the gate ended: in time, still going on when writers were let in again, or not begun. */
export type GateEnd<A, E> =
  | { readonly _tag: "Done"; readonly exit: Exit.Exit<A, E> }
  | { readonly _tag: "Overdue" }
  | { readonly _tag: "NotClosed" }

/** Makes the gate of the connection of this permit. A fiber inside a transaction would wait for itself. */
export const make = (permit: Semaphore.Semaphore, isInside: Effect.Effect<boolean>) =>
  Effect.fnUntraced(function* <A, E, R>(
    self: Effect.Effect<A, E, R>,
    hold: Duration.Duration = gateHold,
  ): Effect.fn.Return<GateEnd<A, E>, never, R> {
    if (yield* isInside) return { _tag: "NotClosed" }
    const closed = yield* Deferred.make<void>()
    const open = yield* Deferred.make<void>()
    // A fiber of its own holds the permit, so that giving up the wait can never lose it.
    const keeper = yield* Deferred.succeed(closed, undefined).pipe(
      Effect.andThen(Deferred.await(open)),
      permit.withPermit,
      Effect.forkDetach({ startImmediately: true }),
    )
    return yield* Effect.gen(function* (): Effect.fn.Return<GateEnd<A, E>, never, R> {
      if (Option.isNone(yield* Effect.timeoutOption(Deferred.await(closed), gateWait))) return { _tag: "NotClosed" }
      const work = yield* Effect.forkDetach(self, { startImmediately: true })
      const exit = yield* Effect.timeoutOption(Fiber.await(work), hold)
      return Option.match(exit, {
        onNone: () => ({ _tag: "Overdue" }),
        onSome: (ended) => ({ _tag: "Done", exit: ended }),
      })
    }).pipe(Effect.ensuring(Effect.andThen(Deferred.succeed(open, undefined), Fiber.interrupt(keeper))))
  })
