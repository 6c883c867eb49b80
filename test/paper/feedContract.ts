/** What every `Feed` gives its callers: one suite, run against each implementation. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, type Layer, Option, Schema } from "effect"
import * as Feed from "../../src/paper/Feed.ts"

export const take = (n: number) =>
  Effect.flatMap(Feed.Feed, (feed) => Effect.forEach(Array.from({ length: n }), () => feed.next))

/** `feed` has at least a hundred quotes, no two of them alike, and is the same whenever it is built. */
export const feedContract = <E>(name: string, feed: () => Layer.Layer<Feed.Feed, E>) =>
  describe(`a feed ${name}`, () => {
    const first = Effect.map(take(100), (quotes) => quotes.map(Option.getOrThrow))

    it.effect("gives quotes that can be traded on, and refuses none of its own", () =>
      Effect.gen(function* () {
        for (const quote of yield* first) expect(Schema.is(Feed.Quote)(quote)).toBe(true)
        expect(yield* Feed.Feed.use(({ badLines }) => badLines)).toBe(0)
      }).pipe(Effect.provide(feed())),
    )

    it.effect("gives each quote once, to the first that asked", () =>
      Effect.gen(function* () {
        const whole = yield* Effect.provide(first, feed())
        const shared = yield* Effect.gen(function* () {
          const { next } = yield* Feed.Feed
          return yield* Effect.forEach(Array.from({ length: 100 }), () => next, { concurrency: "unbounded" })
        }).pipe(Effect.provide(feed()))
        expect(shared.map(Option.getOrThrow)).toEqual(whole)
      }),
    )

    it.effect("begins again wherever it is built", () =>
      Effect.gen(function* () {
        expect(yield* Effect.provide(first, feed())).toEqual(yield* Effect.provide(first, feed()))
      }),
    )
  })
