/**
 * Answers many questions with one walk: those that are asked while a walk is under way share the next one, so that each answer
 * comes from a walk that started after its question was asked. No two walks overlap.
 *
 * A walk runs in a fiber of its own: a caller that is interrupted takes no answer from the others.
 */
import { Deferred, Effect } from "effect"

/** `walk` answers each question, in their order, for all that ask through the same result. */
export const make = <Q, A, R>(walk: (questions: ReadonlyArray<Q>) => Effect.Effect<ReadonlyArray<A>, never, R>) => {
  interface Asked {
    readonly question: Q
    readonly answer: Deferred.Deferred<A>
  }
  let waiting: Array<Asked> = []
  let isWalking = false

  const walks: Effect.Effect<void, never, R> = Effect.suspend(() => {
    if (waiting.length === 0) {
      isWalking = false
      return Effect.void
    }
    const asked = waiting
    waiting = []
    return walk(asked.map(({ question }) => question)).pipe(
      Effect.exit,
      Effect.map((exit) => {
        for (const [n, { answer }] of asked.entries()) {
          Deferred.doneUnsafe(
            answer,
            Effect.map(exit, (answers) => answers[n] as A),
          )
        }
      }),
      Effect.andThen(walks),
    )
  })

  return (question: Q): Effect.Effect<A, never, R> =>
    Effect.gen(function* () {
      const answer = Deferred.makeUnsafe<A>()
      waiting.push({ question, answer })
      if (!isWalking) {
        isWalking = true
        // After a turn of the event loop, so that those that ask at the same moment share the first walk, too.
        yield* Effect.forkDetach(Effect.andThen(Effect.yieldNow, walks))
      }
      return yield* Deferred.await(answer)
    })
}
