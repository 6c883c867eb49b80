/** A line of the log that is said once, until what it is about is over: an incident costs two lines, however long it lasts. */
import { Effect } from "effect"

export interface SaidOnce {
  /** Whether it was said, and is not over. */
  readonly isSaid: () => boolean
  /** Says it, unless that was done. */
  readonly say: <E, R>(line: Effect.Effect<void, E, R>) => Effect.Effect<void, E, R>
  /** It is over: says so, if it was said. The next `say` says it again. */
  readonly over: <E, R>(line: Effect.Effect<void, E, R>) => Effect.Effect<void, E, R>
}

export const make = (): SaidOnce => {
  let isSaid = false
  const turn =
    (to: boolean) =>
    <E, R>(line: Effect.Effect<void, E, R>) =>
      Effect.suspend(() => {
        if (isSaid === to) return Effect.void
        isSaid = to
        return line
      })
  return { isSaid: () => isSaid, say: turn(true), over: turn(false) }
}
