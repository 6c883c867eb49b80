/**
 * Every order of events: all sequences of a few events that a guard can meet, each tried from a fresh start in virtual
 * time, and each ended by a shutdown. The database and its permit are real; the WAL and the checkpointer are simulated.
 *
 * A state is what the guard was in after an event: what runs and since when, what the next checkpoint will do, how far
 * the WAL is copied, who holds it, and the interval. Different orders come to the same states; each is counted once.
 */
import { Clock, type Duration, Effect, Exit, Fiber, Layer, Option, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import { brokenRules } from "../support/guardRules.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as Simulated from "../support/SimulatedLog.ts"
import { nothing, plus, type Verdict } from "./database.ts"

/** In words, so that an order that fails can be read. */
export const events = [
  "tick",
  "moment",
  "burst of writes",
  "new interval",
  "interval off",
  "reader comes or goes",
  "next is slow",
  "next crashes",
  "next hangs",
] as const
export type Event = (typeof events)[number]

/** Every order of exactly so many of them. */
const ordersOf = (length: number): ReadonlyArray<ReadonlyArray<Event>> =>
  length === 0 ? [[]] : ordersOf(length - 1).flatMap((order) => events.map((event) => [...order, event]))

/** A shutdown has 10 s; nothing moves the clock after that. */
const budget = "10 seconds"

/** If the real disk and the event loop have not brought it to its end by then, nothing will. */
const patience = "10 seconds"

const maxFrames = 500

const tryOrder = Effect.fnUntraced(function* (order: ReadonlyArray<Event>, visit: (state: string) => void) {
  let next: ReturnType<Simulated.Behaviour["next"]> = "copies"
  const behaviour: Simulated.Behaviour = {
    millisPerThousandFrames: 250,
    next: () => {
      const now = next
      next = "copies"
      return now
    },
  }
  const scope = yield* Scope.make()
  const context = yield* WalGuard.layer({ interval: "2 seconds", maxFrames }).pipe(
    Layer.provideMerge(Simulated.layer(behaviour)),
    Layer.provideMerge(Shutdown.layer({ budget })),
    Layer.provideMerge(LogCapture.layer),
    Layer.buildWithScope(scope),
  )
  return yield* Effect.gen(function* () {
    const guard = yield* WalGuard.WalGuard
    const log = yield* Simulated.SimulatedLog
    const writers: Array<Fiber.Fiber<unknown>> = []
    let interval = 2
    let isPinned = false

    const look = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const { copied, length } = yield* log.log
      const last = (yield* log.runs).at(-1)
      const run = last === undefined ? "none" : `${Option.isNone(last.end) ? "in flight" : "ended"} ${now - last.start}`
      visit([next, run, length - copied, length >= maxFrames, isPinned, interval].join(" | "))
    })

    /** While the write gate is closed it waits for its turn, so that the clock must move on: at most a second, a gate's bound. */
    const change = Effect.fnUntraced(function* (every: Duration.Input) {
      const changing = yield* Effect.forkDetach(Effect.ignore(guard.setInterval(every)), { startImmediately: true })
      for (let waits = 0; waits < 100; waits++) {
        const isDone = yield* TestClock.withLive(Effect.timeoutOption(Fiber.await(changing), "50 millis"))
        if (Option.isSome(isDone)) return
        yield* TestClock.adjust("10 millis")
      }
      return yield* Effect.die(new Error("the change of an interval hangs"))
    })

    const happen = Effect.fnUntraced(function* (event: Event) {
      switch (event) {
        case "tick":
          return yield* TestClock.adjust(`${Math.max(1, interval)} seconds`)
        case "moment":
          return yield* TestClock.adjust("60 millis")
        case "burst of writes":
          writers.push(yield* Effect.forkDetach(log.commit(600), { startImmediately: true }))
          return yield* TestClock.adjust("10 millis")
        case "new interval":
          interval = interval === 3 ? 2 : 3
          return yield* change(`${interval} seconds`)
        case "interval off":
          interval = 0
          return yield* change(0)
        case "reader comes or goes":
          isPinned = !isPinned
          return yield* isPinned ? log.pin : log.unpin
        case "next is slow":
          next = "is slow"
          return
        case "next crashes":
          next = "dies"
          return
        case "next hangs":
          next = "hangs"
          return
      }
    })

    yield* look
    for (const event of order) {
      yield* happen(event)
      yield* look
    }
    const stop = yield* Clock.currentTimeMillis
    const closing = yield* Effect.forkDetach(Scope.close(scope, Exit.void), { startImmediately: true })
    yield* TestClock.adjust(budget)
    const closed = yield* TestClock.withLive(Effect.timeoutOption(Fiber.await(closing), patience))
    yield* TestClock.adjust("1 hour") // whatever was left behind has its time now
    for (const writer of writers) yield* Effect.forkDetach(Fiber.interrupt(writer))
    if (Option.isNone(closed)) return ["the shutdown hangs"]
    if (Exit.isFailure(closed.value)) return ["the shutdown fails"]
    return yield* brokenRules({ stop, wasOn: interval > 0 })
  }).pipe(Effect.provideContext(context))
})

/** Tries these orders; four at a time, because each waits for the event loop now and then. */
export const tryOrders = async (orders: ReadonlyArray<ReadonlyArray<Event>>): Promise<Verdict> => {
  const states = new Set<string>()
  const tried = Effect.forEach(
    orders,
    (order) =>
      tryOrder(order, (state) => states.add(state)).pipe(
        Effect.provide(TestClock.layer()),
        Effect.map((broken): Verdict => ({
          ...nothing,
          runs: 1,
          hung: broken.filter((words) => words.includes("hangs")).length,
          failures: broken.map((words) => `${words}: ${[...order, "shutdown"].join(", ")}`),
        })),
      ),
    { concurrency: 4 },
  )
  const all = (await Effect.runPromise(tried)).reduce(plus, nothing)
  return { ...all, states: states.size }
}

/** All orders of up to `length` events. */
export const everyOrder = (length: number): Promise<Verdict> =>
  tryOrders(Array.from({ length: length + 1 }, (_, n) => ordersOf(n)).flat())
