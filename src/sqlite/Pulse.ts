/**
 * One timer for all that looks regularly: a fiber that sleeps for each database costs some 15 microseconds of every wake, and
 * hundreds of idle databases together a good part of a core. A beat calls each function that was registered, one after another.
 *
 * The fiber starts with the first function and ends with the last.
 */
import { Clock, Duration, Effect, Fiber, type Scope } from "effect"

/** The functions of one interval. */
interface Beating {
  readonly functions: Set<() => void>
  fiber: Fiber.Fiber<never> | undefined
}

/** By clock, because a test has one of its own, and by milliseconds. */
const all = new WeakMap<Clock.Clock, Map<number, Beating>>()

const beatingOf = (clock: Clock.Clock, millis: number): Beating => {
  const ofClock = all.get(clock) ?? new Map<number, Beating>()
  all.set(clock, ofClock)
  const beating = ofClock.get(millis) ?? { functions: new Set(), fiber: undefined }
  ofClock.set(millis, beating)
  return beating
}

/**
 * Calls the function at each beat, until the scope closes: the first time within one interval. It must be fast, and not throw,
 * because all others wait for it; what takes longer is for a fiber that it wakes.
 */
export const every = Effect.fnUntraced(function* (
  interval: Duration.Duration,
  call: () => void,
): Effect.fn.Return<void, never, Scope.Scope> {
  const beating = beatingOf(yield* Clock.Clock, Duration.toMillis(interval))
  const fork = Effect.runForkWith(yield* Effect.context())
  const beat = Effect.sync(() => {
    for (const one of beating.functions) one()
  })
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      beating.functions.add(call)
      beating.fiber ??= fork(Effect.forever(Effect.andThen(Effect.sleep(interval), beat)))
    }),
    () =>
      Effect.sync(() => {
        beating.functions.delete(call)
        if (beating.functions.size > 0) return
        beating.fiber?.interruptUnsafe()
        beating.fiber = undefined
      }),
  )
})
