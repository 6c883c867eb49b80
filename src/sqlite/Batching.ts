/**
 * Everything that waits becomes one batch, and while one is handled the next gathers. No timer; without anything to do
 * there is no fiber either.
 *
 * Bounded: a batch takes at most `capacity` items, what is more waits its turn in the order of asking. A caller that offers
 * waits until its item was handled, so that no more are waiting than there are callers, but for those who gave up; `keep`
 * takes these out.
 */
import { Context, Deferred, Effect } from "effect"

export interface Batching<A> {
  /** False when nothing is taken any more. Not an effect, because it is the hot path of every write. */
  readonly offer: (item: A) => boolean
  /** How much is waiting, without what is being handled. */
  readonly size: () => number
  /** Takes nothing more, and succeeds once everything that was taken has been handled. */
  readonly close: Effect.Effect<void>
  /** Takes out what is waiting and does not pass. Not an effect, as `offer`. */
  readonly keep: (passes: (item: A) => boolean) => void
  /** Takes out what has not been handled. */
  readonly takeBack: Effect.Effect<ReadonlyArray<A>>
}

interface BatchingOptions {
  /** How much one batch takes at most. */
  readonly capacity: number
  /** Whether the first batch waits for the event loop to turn, and takes what came meanwhile. */
  readonly gathers: boolean
}

/** The same services in one map: a context remembers each addition by itself, and every statement of a batch looks into it. */
const flat = <R>({ mapUnsafe }: Context.Context<R>): Context.Context<R> => Context.makeUnsafe(mapUnsafe)

/** `handle` never overlaps itself. */
export const make = Effect.fnUntraced(function* <A, R>(
  { capacity, gathers }: BatchingOptions,
  handle: (batch: ReadonlyArray<A>) => Effect.Effect<void, never, R>,
): Effect.fn.Return<Batching<A>, never, R> {
  const fork = Effect.runForkWith(flat(yield* Effect.context<R>()))
  const idle = Deferred.makeUnsafe<void>()
  let waiting: Array<A> = []
  let running = false
  let closed = false

  const take = (): ReadonlyArray<A> => {
    if (waiting.length > capacity) return waiting.splice(0, capacity)
    const all = waiting
    waiting = []
    return all
  }
  const turn: Effect.Effect<void, never, R> = Effect.suspend(() => {
    if (waiting.length > 0) {
      return Effect.andThen(Effect.ignoreCause(handle(take()), { log: "Error", message: "batch failed" }), turn)
    }
    running = false
    if (closed) Deferred.doneUnsafe(idle, Effect.void)
    return Effect.void
  })

  return {
    offer: (item) => {
      if (closed) return false
      waiting.push(item)
      if (!running) {
        running = true
        fork(gathers ? Effect.andThen(Effect.yieldNow, turn) : turn)
      }
      return true
    },
    size: () => waiting.length,
    keep: (passes) => {
      waiting = waiting.filter(passes)
    },
    takeBack: Effect.sync(() => waiting.splice(0)),
    close: Effect.suspend(() => {
      closed = true
      return running ? Deferred.await(idle) : Effect.void
    }),
  }
})
