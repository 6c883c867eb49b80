import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as LiveLog from "../../src/dashboard/LiveLog.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"

const after = (number: number) => LiveLog.LiveLog.use((log) => Effect.sync(() => log.after(number)))

describe("the live log", () => {
  it.effect("listens beside the loggers in force", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("5 seconds")
      yield* Effect.annotateLogs(Effect.logWarning("wal_checkpoint slow"), { elapsed_ms: 300, mode: "PASSIVE" })
      expect(yield* LogCapture.logged("wal_checkpoint slow")).toHaveLength(1)
      expect(yield* after(0)).toEqual([
        {
          number: 1,
          at_ms: 5000,
          level: "WARN",
          event: "wal_checkpoint slow",
          fields: [
            ["elapsed_ms", "300"],
            ["mode", "PASSIVE"],
          ],
          cause: "",
        },
      ])
    }).pipe(Effect.provide(Layer.provideMerge(LiveLog.layer, LogCapture.layer))),
  )

  it.effect("does not repeat with each line that it is of Seawall", () =>
    Effect.gen(function* () {
      const fields = { logger: "seawall", database: "a.db" }
      yield* Effect.annotateLogs(Effect.logInfo("wal_checkpoint stopped"), fields)
      yield* Effect.annotateLogs(Effect.logInfo("an order"), { logger: "desk" })
      expect((yield* after(0)).map((line) => line.fields)).toEqual([[["database", "a.db"]], [["logger", "desk"]]])
    }).pipe(Effect.provide(LiveLog.layer)),
  )

  it.effect("gives each reader what came after what it has", () =>
    Effect.gen(function* () {
      for (const event of ["a", "b", "c"]) yield* Effect.logInfo(event)
      expect((yield* after(1)).map(({ event }) => event)).toEqual(["b", "c"])
      expect(yield* after(3)).toEqual([])
    }).pipe(Effect.provide(LiveLog.layer)),
  )

  it.effect("remembers the last 500 lines", () =>
    Effect.gen(function* () {
      for (let n = 1; n <= 700; n++) yield* Effect.logInfo(`line ${n}`)
      const lines = yield* after(0)
      expect(lines).toHaveLength(500)
      expect([lines[0]?.number, lines.at(-1)?.event]).toEqual([201, "line 700"])
    }).pipe(Effect.provide(LiveLog.layer)),
  )

  it.effect("stays small whatever is logged: long texts are cut, and many long ones push out the old", () =>
    Effect.gen(function* () {
      const long = "x".repeat(100_000)
      const many = Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`field ${n}`, long]))
      for (let n = 0; n < 100; n++) {
        yield* Effect.annotateLogs(Effect.logError(long, Cause.fail(new Error(long))), many)
      }
      const lines = yield* after(0)
      expect(lines.length).toBeGreaterThan(5)
      expect(JSON.stringify(lines).length).toBeLessThan(300_000)
      const last = lines.at(-1)
      expect([last?.number, last?.event.length, last?.cause.length, last?.fields.length]).toEqual([100, 200, 4000, 32])
      expect(new Set(last?.fields.map(([, value]) => value.length))).toEqual(new Set([500]))
    }).pipe(Effect.provide(LiveLog.layer)),
  )

  it.effect("makes text of whatever is logged", () =>
    Effect.gen(function* () {
      const round: Array<unknown> = []
      round.push(round)
      yield* Effect.annotateLogs(Effect.logInfo({ a: 1 }, "<b>"), { list: [1, 2], none: undefined, big: 5n, round })
      const [line] = yield* after(0)
      expect([line?.event, line?.fields]).toEqual([
        `{"a":1} <b>`,
        [
          ["list", "[1,2]"],
          ["none", "undefined"],
          ["big", "5"],
          ["round", "(not printable)"],
        ],
      ])
    }).pipe(Effect.provide(LiveLog.layer)),
  )
})
