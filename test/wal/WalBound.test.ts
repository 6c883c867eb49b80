import { describe, expect, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, Layer, Option, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Database from "../../src/sqlite/Database.ts"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import { latencyOfAll } from "../../src/wal/GuardStatus.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import { brokenRules } from "../support/guardRules.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import { randomOf } from "../support/random.ts"
import { ownFields } from "../support/labels.ts"
import * as Simulated from "../support/SimulatedLog.ts"
import { slice } from "../support/slice.ts"

const { SimulatedLog } = Simulated

const good: Simulated.Behaviour = { millisPerThousandFrames: 10, next: () => "copies" }

const guarded = (options: WalGuard.WalGuardOptions, behaviour = good) =>
  WalGuard.layer(options).pipe(
    Layer.provideMerge(Simulated.layer(behaviour)),
    Layer.provideMerge(Shutdown.layer()),
    Layer.provideMerge(LogCapture.layer),
  )

/** Commits so many frames every millisecond, for so long. */
const writing = (framesPerMilli: number, millis: number) =>
  SimulatedLog.use(({ commit }) =>
    Effect.gen(function* () {
      const writer = yield* commit(framesPerMilli).pipe(
        Effect.andThen(Effect.sleep("1 millis")),
        Effect.repeat({ times: millis - 1 }),
        Effect.forkChild({ startImmediately: true }),
      )
      yield* TestClock.adjust(`${millis} millis`)
      yield* TestClock.adjust("1 second") // what was held back by the gate comes after
      yield* Fiber.join(writer)
    }),
  )

const log = SimulatedLog.use((simulated) => simulated.log)
const runs = SimulatedLog.use((simulated) => simulated.runs)
const status = WalGuard.WalGuard.use((guard) => guard.status)

const hourly: WalGuard.WalGuardOptions = { interval: "1 hour", maxFrames: 1000 }

describe("the bound of the WAL", () => {
  it.effect("holds while writes keep coming, without a line", () =>
    Effect.gen(function* () {
      yield* writing(10, 5000)
      const { longest } = yield* log
      expect(longest).toBeGreaterThan(0)
      expect(longest).toBeLessThan(2000)
      expect((yield* runs).length).toBeGreaterThan(10) // 50,000 frames were copied
      expect(yield* LogCapture.events).toEqual(["wal_checkpoint started"])
    }).pipe(Effect.provide(guarded(hourly))),
  )

  it.effect("is off at 0 frames", () =>
    Effect.gen(function* () {
      yield* writing(10, 2000)
      expect((yield* log).longest).toBe(20_000)
      expect(yield* runs).toEqual([])
    }).pipe(Effect.provide(guarded({ ...hourly, maxFrames: 0 }))),
  )

  it.effect("is off when the interval is", () =>
    Effect.gen(function* () {
      yield* writing(10, 2000)
      expect((yield* log).longest).toBe(20_000)
      expect(yield* LogCapture.events).toEqual([])
    }).pipe(Effect.provide(guarded({ ...hourly, interval: 0 }))),
  )

  it.effect("does not wake an idle guard: only the interval does", () =>
    Effect.gen(function* () {
      yield* SimulatedLog.use(({ commit }) => commit(10))
      yield* TestClock.adjust("59 minutes")
      expect(yield* runs).toEqual([])
      yield* TestClock.adjust("61 seconds")
      expect(yield* runs).toHaveLength(1)
    }).pipe(Effect.provide(guarded(hourly))),
  )

  it.effect("goes on after a failure, and logs it", () => {
    let run = 0
    const behaviour: Simulated.Behaviour = { ...good, next: () => (run++ === 0 ? "fails" : "copies") }
    return Effect.gen(function* () {
      yield* writing(10, 3000)
      expect((yield* log).longest).toBeLessThan(3000)
      expect(yield* LogCapture.events).toEqual([
        "wal_checkpoint started",
        "wal_checkpoint failed",
        "wal_checkpoint recovered",
      ])
    }).pipe(Effect.provide(guarded(hourly, behaviour)))
  })

  it.effect("tries ever more rarely while a reader pins the WAL, says so once, and once that it is over", () =>
    Effect.gen(function* () {
      const { pin, unpin } = yield* SimulatedLog
      yield* writing(1, 100)
      yield* pin
      yield* writing(1, 10_000)
      const blocked = yield* LogCapture.logged("wal_checkpoint blocked")
      expect(blocked).toHaveLength(1)
      expect(blocked[0]?.level).toBe("Warn")
      expect(blocked[0]?.fields).toMatchObject({ outcome: "ReaderBlocked" })
      expect(blocked[0]?.fields["blockers"]).toMatch(/^reporter \(pid 4711, read1, for [\d.]+ s\)$/)
      expect(blocked[0]?.fields["exposure_seconds"]).toBeGreaterThan(0)
      expect((yield* runs).length).toBeLessThan(50)
      const { finished, frames, incident } = yield* status
      const { outcome, seen, told } = Option.getOrThrow(incident)
      expect([outcome, told]).toEqual(["ReaderBlocked", true])
      expect([...seen.values()]).toMatchObject([{ pid: 4711, command: "reporter", lock: "read1" }])
      expect(finished.at(-1)).toMatchObject({ why: "size", outcome: "ReaderBlocked" })
      expect(Option.getOrThrow(frames).log).toBe((yield* log).length)
      yield* unpin
      yield* writing(1, 3000)
      const unblocked = yield* LogCapture.logged("wal_checkpoint unblocked")
      expect(unblocked.map(({ level }) => level)).toEqual(["Info"])
      expect(yield* LogCapture.logged("wal_checkpoint blocked")).toHaveLength(1)
      expect((yield* log).length).toBeLessThan(2000)
      expect((yield* status).incident).toEqual(Option.none())
    }).pipe(Effect.provide(guarded(hourly))),
  )

  it.effect("says of a blocked checkpoint no exposure that it cannot know, of what other processes write", () =>
    Effect.gen(function* () {
      const { pin } = yield* SimulatedLog
      yield* writing(1, 100)
      yield* pin
      yield* writing(1, 10_000)
      const [line] = yield* LogCapture.logged("wal_checkpoint blocked")
      expect(line?.fields).toMatchObject({ outcome: "ReaderBlocked" })
      expect(line?.fields).not.toHaveProperty("exposure_seconds")
    }).pipe(Effect.provide(guarded({ ...hourly, writers: "elsewhere" }))),
  )

  it.effect("has its runs in the figures that the aggregate gives of all runs, the same as an observer sees", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(guarded(hourly, { ...good, millisPerThousandFrames: 1000 }), scope)
      const inside = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideContext(self, context)
      yield* inside(writing(5, 1000))
      yield* TestClock.adjust("10 seconds")
      const { finished } = yield* inside(status)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(closing)
      const { n, p50_ms, p95_ms, max_ms, slow } = { p50_ms: 0, p95_ms: 0, max_ms: 0, ...latencyOfAll(finished) }
      expect(n).toBe(finished.length)
      expect(slow).toBeGreaterThan(0)
      const [aggregate] = yield* inside(LogCapture.logged("wal_checkpoint aggregate"))
      expect(ownFields(aggregate!)).toEqual({
        runs: "interval",
        n: 0, // the interval is an hour: each of these was by size
        all_n: n,
        all_p50_ms: p50_ms,
        all_p95_ms: p95_ms,
        all_max_ms: max_ms,
        all_slow: slow,
      })
    }),
  )

  /** A WAL that must be flushed under the gate: something was committed while it was copied. */
  const tooLong = Effect.gen(function* () {
    const { commit } = yield* SimulatedLog
    yield* commit(600)
    yield* TestClock.adjust("10 millis")
    yield* commit(10)
  })

  it.effect("names the transaction that keeps the gate open, and does not wait for it", () =>
    Effect.gen(function* () {
      const { sql } = yield* Database.Database
      yield* tooLong
      const held = yield* Effect.never.pipe(
        sql.withTransaction,
        Effect.withSpan("Orders.settle"),
        Effect.forkChild({ startImmediately: true }),
      )
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.interrupt(held)
      yield* TestClock.adjust("5 seconds")
      const [line, ...more] = yield* LogCapture.logged("wal_checkpoint held up")
      expect(more).toEqual([])
      expect([line?.level, line?.fields["transaction"]]).toEqual(["Warn", "Orders.settle"])
      expect(line?.fields["seconds"]).toBeGreaterThanOrEqual(1)
    }).pipe(Effect.provide(guarded({ interval: "1 hour", maxFrames: 500 }))),
  )

  it.effect("accuses no transaction that came only now, when many take turns", () =>
    Effect.gen(function* () {
      const { sql } = yield* Database.Database
      yield* tooLong
      const turns = Effect.forever(sql.withTransaction(Effect.sleep("30 millis")))
      const many = yield* Effect.forkChild(
        Effect.all(
          Array.from({ length: 200 }, () => turns),
          { concurrency: 200 },
        ),
      )
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.interrupt(many)
      expect(yield* LogCapture.logged("wal_checkpoint held up")).toEqual([])
    }).pipe(Effect.provide(guarded({ interval: "1 hour", maxFrames: 500 }))),
  )
})

describe("a guard under anything that can happen, in any order", () => {
  const kinds = ["copies", "copies", "copies", "fails", "dies", "is busy", "hangs"] as const

  it.effect.prop(
    "never overlaps two checkpoints, starts none after its stop, and ends within its bounds",
    [Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 ** 31 }))],
    ([seed]) =>
      Effect.gen(function* () {
        const random = randomOf(seed)
        const behaviour: Simulated.Behaviour = {
          millisPerThousandFrames: random(300),
          next: () => kinds[random(kinds.length)]!,
        }
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(
          guarded({ interval: "2 seconds", maxFrames: 500 }, behaviour),
          scope,
        )
        const inside = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideContext(self, context)
        const simulated = yield* inside(SimulatedLog)
        const guard = yield* inside(WalGuard.WalGuard)
        const writers: Array<Fiber.Fiber<unknown, unknown>> = []
        for (let action = 0; action < 30; action++) {
          switch (random(5)) {
            case 0:
              yield* simulated.pin
              break
            case 1:
              yield* simulated.unpin
              break
            case 2:
              yield* Effect.ignore(guard.setInterval(`${1 + random(3)} seconds`))
              break
            default:
              writers.push(yield* Effect.forkDetach(simulated.commit(random(800)), { startImmediately: true }))
          }
          yield* TestClock.adjust(`${random(1500)} millis`)
        }
        const stop = yield* Clock.currentTimeMillis
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.join(closing) // nothing moves the clock any more: within its bounds, or never
        yield* TestClock.adjust("1 hour")

        expect(yield* inside(brokenRules({ stop, wasOn: true })), `seed ${seed}`).toEqual([])
        for (const writer of writers) yield* Effect.forkDetach(Fiber.interrupt(writer))
      }),
    { arbitrary: { runs: slice(100) } },
  )
})
