/** What every `Lease` answers, wherever it is kept: one suite, run against each implementation. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Option, Runtime, type Scope } from "effect"
import * as Lease from "../../src/lease/Lease.ts"

/** The error of what failed. */
export const errorOf = <A, E>(exit: Exit.Exit<A, E>): unknown => Option.getOrThrow(Exit.findErrorOption(exit))

/** `fresh` makes a database without an engine, and answers the layer that takes its lease, another one with each call. */
export const leaseContract = <E>(
  name: string,
  fresh: Effect.Effect<() => Layer.Layer<Lease.Lease, Lease.LeaseError>, E, Scope.Scope>,
) =>
  describe(`a lease ${name}`, () => {
    const inside = <A, E>(layer: Layer.Layer<Lease.Lease, Lease.LeaseError>, self: Effect.Effect<A, E, Lease.Lease>) =>
      Effect.provide(self, layer, { local: true })
    const taken = (layer: Layer.Layer<Lease.Lease, Lease.LeaseError>) => Effect.exit(inside(layer, Lease.Lease))

    it.effect("is had by one: a second is refused, and named the first", () =>
      Effect.gen(function* () {
        const lease = yield* fresh
        yield* inside(
          lease(),
          Effect.gen(function* () {
            const { holder } = yield* Lease.Lease
            expect(holder).toMatchObject({ pid: process.pid, since: "1970-01-01T00:00:00.000Z" })
            const error = errorOf(yield* taken(lease()))
            expect(error).toBeInstanceOf(Lease.LeaseError)
            expect(error).toMatchObject({ reason: "Held", holder, [Runtime.errorExitCode]: 1 })
            expect(String(error)).toContain(
              ` belongs to an engine that runs: pid ${process.pid} (${holder.command}), since ${holder.since}; end that one first`,
            )
          }),
        )
      }).pipe(Effect.scoped),
    )

    it.effect("stays with the first however often others are refused", () =>
      Effect.gen(function* () {
        const lease = yield* fresh
        yield* inside(
          lease(),
          Effect.gen(function* () {
            for (let times = 0; times < 3; times++) expect(Exit.isFailure(yield* taken(lease()))).toBe(true)
          }),
        )
      }).pipe(Effect.scoped),
    )

    it.effect("is free when its scope closes, also when what ran in it failed, died or was interrupted", () =>
      Effect.gen(function* () {
        const lease = yield* fresh
        const ends: ReadonlyArray<Effect.Effect<unknown, string>> = [
          Effect.void,
          Effect.fail("a failure"),
          Effect.die("a defect"),
          Effect.interrupt,
        ]
        for (const end of ends) {
          yield* Effect.exit(inside(lease(), end))
          expect(Exit.isSuccess(yield* taken(lease()))).toBe(true)
        }
        const began = yield* Deferred.make<void>()
        const running = yield* Effect.forkScoped(
          inside(lease(), Effect.andThen(Deferred.succeed(began, undefined), Effect.never)),
        )
        yield* Deferred.await(began)
        expect(Exit.isFailure(yield* taken(lease()))).toBe(true)
        yield* Fiber.interrupt(running)
        expect(Exit.isSuccess(yield* taken(lease()))).toBe(true)
      }).pipe(Effect.scoped),
    )

    it.effect("is taken again at once, time after time", () =>
      Effect.gen(function* () {
        const lease = yield* fresh
        for (let times = 0; times < 20; times++) expect(Exit.isSuccess(yield* taken(lease()))).toBe(true)
      }).pipe(Effect.scoped),
    )

    it.effect("is had by exactly one of many that start together, and the others name that one", () =>
      Effect.gen(function* () {
        const lease = yield* fresh
        const all = yield* Deferred.make<void>()
        let ended = 0
        const start = Effect.gen(function* () {
          const exit = yield* Effect.exit(Layer.build(lease()))
          if (++ended === 4) yield* Deferred.succeed(all, undefined)
          yield* Deferred.await(all)
          return exit
        }).pipe(Effect.scoped)
        const exits = yield* Effect.all([start, start, start, start], { concurrency: "unbounded" })
        expect(exits.filter(Exit.isSuccess)).toHaveLength(1)
        const errors = exits.filter(Exit.isFailure).map(({ cause }) => Cause.squash(cause))
        expect(errors).toEqual(Array.from({ length: 3 }, () => expect.objectContaining({ reason: "Held" }) as unknown))
      }).pipe(Effect.scoped),
    )
  })
