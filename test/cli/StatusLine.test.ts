import { describe, expect, it } from "@effect/vitest"
import { Console, Effect, Layer, Ref } from "effect"
import { TestClock, TestConsole } from "effect/testing"
import * as Logging from "../../src/cli/Logging.ts"
import * as StatusLine from "../../src/cli/StatusLine.ts"

const clear = "\r\x1b[2K"

/** A terminal that remembers what was written to it, log lines included. */
const terminal = (columns = 80) => {
  const written: Array<string> = []
  return { written, isTTY: true, columns, write: (text: string) => written.push(text) }
}

const onTerminal = (screen: ReturnType<typeof terminal>) => {
  const console: Console.Console = {
    ...globalThis.console,
    log: (...args) => screen.written.push(`${args.join(" ")}\n`),
  }
  return Logging.layer("pretty", { colored: false }).pipe(
    Layer.provideMerge(StatusLine.layer(screen)),
    Layer.provideMerge(Layer.succeed(Console.Console, console)),
  )
}

describe("the status line", () => {
  it.effect("is drawn at once and every second, and taken away at the end", () => {
    const screen = terminal()
    return Effect.gen(function* () {
      const ticks = yield* Ref.make(0)
      const { show } = yield* StatusLine.StatusLine
      yield* Effect.gen(function* () {
        yield* show(
          Effect.map(
            Ref.updateAndGet(ticks, (n) => n + 1),
            (n) => `tick ${n}`,
          ),
        )
        yield* TestClock.adjust("2 seconds")
      }).pipe(Effect.scoped)
      expect(screen.written).toEqual([`${clear}tick 1`, `${clear}tick 2`, `${clear}tick 3`, clear])
    }).pipe(Effect.provide(onTerminal(screen)))
  })

  it.effect("makes room for a log line and comes back after it", () => {
    const screen = terminal()
    return Effect.gen(function* () {
      const { show } = yield* StatusLine.StatusLine
      yield* show(Effect.succeed("status"))
      yield* TestClock.adjust(0)
      yield* Effect.logInfo("an event")
      const [first, ...rest] = screen.written
      expect(first).toBe(`${clear}status`)
      expect(rest).toHaveLength(3)
      expect(rest[0]).toBe(clear)
      expect(rest[1]).toMatch(/an event\n$/)
      expect(rest[2]).toBe("status")
    }).pipe(Effect.scoped, Effect.provide(onTerminal(screen)))
  })

  it.effect("is cut to the width of the terminal, for a line that wraps could not be taken away", () => {
    const screen = terminal(10)
    return Effect.gen(function* () {
      const { show } = yield* StatusLine.StatusLine
      yield* show(Effect.succeed("a line that is far too long"))
      yield* TestClock.adjust(0)
      expect(screen.written).toEqual([`${clear}a line t…`])
    }).pipe(Effect.scoped, Effect.provide(onTerminal(screen)))
  })

  it.effect("is taken away whole when the window became narrower and wrapped it", () => {
    const screen = terminal(72)
    return Effect.gen(function* () {
      const { show } = yield* StatusLine.StatusLine
      yield* show(Effect.succeed("x".repeat(60)))
      yield* TestClock.adjust(0)
      screen.columns = 25
      yield* TestClock.adjust("1 second")
      expect(screen.written.at(-1)).toBe(`\r\x1b[2A\x1b[J${"x".repeat(23)}…`)
    }).pipe(Effect.scoped, Effect.provide(onTerminal(screen)))
  })

  it.effect("is not there without a terminal", () => {
    const screen = { ...terminal(), isTTY: false }
    return Effect.gen(function* () {
      const { show } = yield* StatusLine.StatusLine
      yield* show(Effect.succeed("status"))
      yield* TestClock.adjust("10 seconds")
      expect(screen.written).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(StatusLine.layer(screen)))
  })
})

describe("the pretty format", () => {
  const line = (self: Effect.Effect<void>, databases = 1) =>
    Effect.gen(function* () {
      yield* self.pipe(Effect.provide(Logging.layer("pretty", { colored: false, databases })))
      return (yield* TestConsole.logLines).join("\n")
    })

  it.effect("is one line: time, level, event, annotations", () =>
    Effect.gen(function* () {
      const text = yield* line(
        Effect.annotateLogs(Effect.logInfo("an event"), { n: 3, text: "two words", word: "one" }),
      )
      expect(text).toMatch(/^\d\d:\d\d:\d\d\.\d{3} INFO {2}an event n=3 text="two words" word=one$/)
    }),
  )

  it.effect("leaves out what every line would say: whose it is, and of an only database which", () =>
    Effect.gen(function* () {
      const own = Effect.annotateLogs(Effect.logInfo("an event"), { logger: "seawall", database: "a.db", n: 3 })
      expect(yield* line(own)).toMatch(/an event n=3$/)
      expect((yield* line(own, 2)).split("\n").at(-1)).toMatch(/an event database=a\.db n=3$/)
      const other = Effect.annotateLogs(Effect.logInfo("an event"), { logger: "desk" })
      expect((yield* line(other)).split("\n").at(-1)).toMatch(/an event logger=desk$/)
    }),
  )

  it.effect("shows a cause below its line", () =>
    Effect.gen(function* () {
      const text = yield* line(
        Effect.catchCause(Effect.die(new Error("no disk")), (cause) => Effect.logError("failed", cause)),
      )
      expect(text.split("\n")[0]).toMatch(/ERROR failed$/)
      expect(text).toContain("Error: no disk")
    }),
  )
})
