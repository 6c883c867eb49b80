import { describe, expect, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Option, Result, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Feed from "../../src/paper/Feed.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import { feedContract, take } from "./feedContract.ts"
import { slice } from "../support/slice.ts"

const encoder = new TextEncoder()

/** A feed of these bytes, in these chunks. */
const feedOf = (...chunks: ReadonlyArray<Uint8Array | string>) =>
  Feed.layerNdjson(
    "quotes.ndjson",
    Stream.fromIterable(chunks.map((chunk) => (typeof chunk === "string" ? encoder.encode(chunk) : chunk))),
  )

/** The feed above a log that the test sees. */
const heard = <E>(feed: Layer.Layer<Feed.Feed, E>) => Layer.provideMerge(feed, LogCapture.layer)

/** All quotes until the feed has ended. */
const all = Effect.gen(function* () {
  const feed = yield* Feed.Feed
  const quotes: Array<Feed.Quote> = []
  while (true) {
    const next = yield* feed.next
    if (Option.isNone(next)) return quotes
    quotes.push(next.value)
  }
})

const badLines = Effect.flatMap(Feed.Feed, (feed) => feed.badLines)

const quote = (bid: number, ask = bid + 0.01): Feed.Quote => ({ bid, ask })

const json = (value: unknown) => JSON.stringify(value)

feedContract("of lines that come in one piece", () =>
  feedOf(Array.from({ length: 100 }, (_, n) => json(quote(1 + n))).join("\n")),
)
feedContract("of lines that come in many pieces", () =>
  feedOf(...Array.from({ length: 100 }, (_, n) => [json(quote(1 + n)), "\n"]).flat()),
)
feedContract("that is a random walk", () => Feed.layerRandomWalk({ seed: 1, price: 0.5 }))

describe("a feed of lines", () => {
  it.effect("gives its quotes in order, and then none, however often it is asked", () =>
    Effect.gen(function* () {
      expect(yield* take(4)).toEqual([
        Option.some({ bid: 0.51, ask: 0.52 }),
        Option.some({ bid: 0.5, ask: 0.53 }),
        Option.none(),
        Option.none(),
      ])
      expect(yield* badLines).toBe(0)
    }).pipe(Effect.provide(feedOf('{"bid": 0.51, "ask": 0.52}\n{"ask": 0.53, "bid": 5e-1}\n'))),
  )

  for (const [name, text] of [
    ["a line end after the last line", '{"bid":1,"ask":2}\n{"bid":3,"ask":4}\n'],
    ["no line end after the last line", '{"bid":1,"ask":2}\n{"bid":3,"ask":4}'],
    ["line ends of Windows", '{"bid":1,"ask":2}\r\n{"bid":3,"ask":4}\r\n'],
    ["blank lines", '\n\n  \n{"bid":1,"ask":2}\n\t\r\n{"bid":3,"ask":4}\n\n'],
    ["white space around the quotes", '  {"bid":1,"ask":2}  \n\t{"bid":3,"ask":4}\t\n'],
    ["keys that say more", '{"bid":1,"ask":2,"venue":"Zürich"}\n{"at":"now","bid":3,"ask":4}\n'],
  ] as const) {
    it.effect(`may have ${name}`, () =>
      Effect.gen(function* () {
        expect(yield* all).toEqual([quote(1, 2), quote(3, 4)])
        expect(yield* badLines).toBe(0)
      }).pipe(Effect.provide(feedOf(text))),
    )
  }

  for (const [name, chunks] of [
    ["nothing at all", []],
    ["an empty chunk", [""]],
    ["blank lines only", ["\n\r\n  \n"]],
  ] as const) {
    it.effect(`that has ${name} has ended`, () =>
      Effect.gen(function* () {
        expect(yield* all).toEqual([])
        expect(yield* badLines).toBe(0)
      }).pipe(Effect.provide(feedOf(...chunks))),
    )
  }

  for (const [name, line] of [
    ["that is no JSON", "bid 1 ask 2"],
    ["that is cut off", '{"bid":1,"ask":'],
    ["that is a list", "[1,2]"],
    ["that is null", "null"],
    ["without an ask", '{"bid":1}'],
    ["with a text for a price", '{"bid":"1","ask":2}'],
    ["with a price of zero", '{"bid":0,"ask":1}'],
    ["with a negative price", '{"bid":-1,"ask":1}'],
    ["with a price that no number holds", '{"bid":1,"ask":1e999}'],
    ["whose bid is its ask", '{"bid":1,"ask":1}'],
    ["whose bid is above its ask", '{"bid":2,"ask":1}'],
    ["that holds two quotes", '{"bid":1,"ask":2}{"bid":1,"ask":2}'],
  ] as const) {
    it.effect(`refuses a line ${name}, says its number, and goes on`, () =>
      Effect.gen(function* () {
        expect(yield* all).toEqual([quote(1, 2), quote(3, 4)])
        expect(yield* badLines).toBe(1)
        const lines = yield* LogCapture.logged("feed line refused")
        expect(lines.map(({ level, fields }) => [level, fields["feed"], fields["line"], fields["bad_lines"]])).toEqual([
          ["Warn", "quotes.ndjson", 3, 1],
        ])
        const problem = String(lines[0]?.fields["problem"])
        expect(problem).not.toBe("")
        expect(problem).not.toContain("\n")
      }).pipe(Effect.provide(heard(feedOf(`{"bid":1,"ask":2}\n\n${line}\n{"bid":3,"ask":4}\n`)))),
    )
  }

  it.effect("says what is wrong with a line", () =>
    Effect.gen(function* () {
      yield* all
      const problems = (yield* LogCapture.logged("feed line refused")).map(({ fields }) => String(fields["problem"]))
      expect(problems[0]).toContain("Expected bid to be less than ask")
      expect(problems[1]).toContain("ask")
    }).pipe(Effect.provide(heard(feedOf('{"bid":2,"ask":1}\n{"bid":2,"ask":"three"}\n')))),
  )

  it.effect("logs a hundred refused lines, says once that it only counts from now on, and counts", () =>
    Effect.gen(function* () {
      expect(yield* all).toEqual([quote(1, 2)])
      expect(yield* badLines).toBe(150)
      const lines = yield* LogCapture.logged("feed line refused")
      expect(lines.map(({ fields }) => fields["line"])).toEqual(Array.from({ length: 100 }, (_, i) => i + 1))
      const last = yield* LogCapture.logged("feed lines refused, further ones are only counted")
      expect(last.map(({ level, fields }) => [level, fields["line"], fields["bad_lines"]])).toEqual([
        ["Warn", 101, 101],
      ])
    }).pipe(Effect.provide(heard(feedOf("bad\n".repeat(150), '{"bid":1,"ask":2}')))),
  )
})

/** A quote, made longer by the spaces inside it. */
const long = (length: number) => {
  const [before, after] = ['{"bid":1,', '"ask":2}'] as const
  return before + " ".repeat(length - before.length - after.length) + after
}

const cut = (bytes: Uint8Array, size: number) =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.slice(i * size, (i + 1) * size))

describe("a line that is long", () => {
  const pieces = (text: string) => text.match(/.{1,1000}/gs) ?? []
  const feeds = (line: string): ReadonlyArray<readonly [string, Layer.Layer<Feed.Feed>]> => {
    const text = `{"bid":3,"ask":4}\n${line}\n{"bid":5,"ask":6}\n`
    return [
      ["in one chunk", feedOf(text)],
      ["in many chunks", feedOf(...pieces(text))],
      ["at the end of the feed", feedOf(...pieces(`{"bid":3,"ask":4}\n{"bid":5,"ask":6}\n${line}`))],
    ]
  }

  for (const [where, feed] of feeds(long(64 * 1024))) {
    it.effect(`is read when it has 65536 characters, ${where}`, () =>
      Effect.gen(function* () {
        expect(yield* all).toHaveLength(3)
        expect(yield* badLines).toBe(0)
      }).pipe(Effect.provide(feed)),
    )
  }

  for (const length of [64 * 1024 + 1, 1024 * 1024]) {
    for (const [where, feed] of feeds(long(length))) {
      it.effect(`is dropped when it has ${length} characters, ${where}, and the others are read`, () =>
        Effect.gen(function* () {
          expect(yield* all).toEqual([quote(3, 4), quote(5, 6)])
          expect(yield* badLines).toBe(1)
          const lines = yield* LogCapture.logged("feed line refused")
          expect(lines.map(({ fields }) => [fields["line"], fields["problem"]])).toEqual([
            [where === "at the end of the feed" ? 3 : 2, "longer than 65536 characters"],
          ])
        }).pipe(Effect.provide(heard(feed))),
      )
    }
  }

  it.effect("is measured in characters, however many bytes they have, and wherever these are cut", () =>
    Effect.gen(function* () {
      expect(yield* all).toEqual([quote(1, 2)])
      expect(yield* badLines).toBe(0)
    }).pipe(
      Effect.provide(feedOf(...cut(encoder.encode(`{"bid":1,"ask":2,"note":"${"€".repeat(64 * 1024 - 27)}"}`), 1000))),
    ),
  )

  it.effect("leaves the number of the lines after it right", () =>
    Effect.gen(function* () {
      yield* all
      const lines = yield* LogCapture.logged("feed line refused")
      expect(lines.map(({ fields }) => fields["line"])).toEqual([2, 4])
    }).pipe(Effect.provide(heard(feedOf(...pieces(`{"bid":3,"ask":4}\n${long(70_000)}\n\nbad\n`))))),
  )
})

const Price = Schema.Finite.check(Schema.isBetween({ minimum: 0.000001, maximum: 1e6 }))

/** A line and what it should be taken for. */
const Line = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("quote"), bid: Price, spread: Price, note: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("bad"), text: Schema.Literals(["not JSON", '{"bid":1}', "€ 🌊 \u{10FFFF}"]) }),
  Schema.Struct({ kind: Schema.Literal("blank"), text: Schema.Literals(["", " ", "\t"]) }),
])

const quoteOf = ({ bid, spread }: { readonly bid: number; readonly spread: number }) => quote(bid, bid + spread)

const textOf = (line: typeof Line.Type) =>
  line.kind === "quote" ? json({ note: line.note, ...quoteOf(line) }) : line.text

describe("however the bytes are cut", () => {
  it.effect.prop(
    "the quotes, and the numbers of the refused lines, are the same",
    {
      lines: Schema.Array(Line).check(Schema.isMaxLength(30)),
      cuts: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4000 }))),
      lineEnd: Schema.Literals(["\n", "\r\n"]),
      endsWithLineEnd: Schema.Boolean,
    },
    ({ lines, cuts, lineEnd, endsWithLineEnd }) => {
      const bytes = encoder.encode(lines.map(textOf).join(lineEnd) + (endsWithLineEnd ? lineEnd : ""))
      const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b)
      const chunks = at.slice(1).map((end, i) => bytes.slice(at[i], end))
      const bad = lines.flatMap(({ kind }, i) => (kind === "bad" ? [i + 1] : []))
      return Effect.gen(function* () {
        expect(yield* all).toEqual(lines.flatMap((line) => (line.kind === "quote" ? [quoteOf(line)] : [])))
        expect(yield* badLines).toBe(bad.length)
        expect((yield* LogCapture.logged("feed line refused")).map(({ fields }) => fields["line"])).toEqual(bad)
      }).pipe(Effect.provide(heard(feedOf(...chunks))))
    },
    { arbitrary: { runs: slice(300) } },
  )

  it.effect("byte by byte is the same, too", () =>
    Effect.gen(function* () {
      expect(yield* all).toEqual([quote(1, 2), quote(3, 4)])
      expect((yield* LogCapture.logged("feed line refused")).map(({ fields }) => fields["line"])).toEqual([2])
    }).pipe(
      Effect.provide(
        heard(
          feedOf(
            ...Array.from(encoder.encode('{"bid":1,"ask":2,"venue":"Zürich 🌊"}\r\n€\r\n{"bid":3,"ask":4}'), (byte) =>
              Uint8Array.of(byte),
            ),
          ),
        ),
      ),
    ),
  )
})

describe("a caller that asks and is interrupted", () => {
  it.effect("loses no quote that has not come yet", () =>
    Effect.gen(function* () {
      const goOn = yield* Deferred.make<void>()
      const late = Stream.fromEffect(Effect.as(Deferred.await(goOn), encoder.encode(json(quote(7)))))
      yield* Effect.gen(function* () {
        const { next } = yield* Feed.Feed
        const asking = yield* Effect.forkChild(next, { startImmediately: true })
        yield* Effect.yieldNow
        expect(asking.pollUnsafe()).toBeUndefined()
        yield* Fiber.interrupt(asking)
        yield* Deferred.succeed(goOn, undefined)
        expect(yield* next).toEqual(Option.some(quote(7)))
      }).pipe(Effect.provide(Feed.layerNdjson("late.ndjson", late)))
    }),
  )
})

describe("a feed that breaks", () => {
  const first = Stream.make(encoder.encode('{"bid":1,"ask":2}\n{"bid":3,"a'))

  for (const [what, broken] of [
    ["with a failure", Stream.fail(new Error("input/output error"))],
    ["with a defect", Stream.die(new Error("input/output error"))],
  ] as const) {
    it.effect(`${what} gives what came before, and then fails, however often it is asked`, () =>
      Effect.gen(function* () {
        const feed = yield* Feed.Feed
        expect(yield* feed.next).toEqual(Option.some(quote(1, 2)))
        for (const _ of [1, 2]) {
          const result = yield* Effect.result(feed.next)
          if (Result.isSuccess(result)) throw new Error(`expected a failure, got ${String(result.success)}`)
          expect(result.failure).toBeInstanceOf(Feed.FeedError)
          expect(result.failure.message).toBe("cannot read the feed quotes.ndjson: input/output error")
        }
      }).pipe(Effect.provide(Feed.layerNdjson("quotes.ndjson", Stream.concat(first, broken)))),
    )
  }

  it.effect("does not fail at the start", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(
        Effect.provide(Effect.void, Feed.layerNdjson("quotes.ndjson", Stream.fail("no such file"))),
      )
      expect(exit).toEqual(Exit.void)
    }),
  )
})

describe("a feed that is faster than the ticks", () => {
  it.effect("waits: it is read ahead, but not without bound", () =>
    Effect.gen(function* () {
      let pulled = 0
      const endless = Stream.fromEffectRepeat(
        Effect.sync(() => {
          pulled += 1
          return encoder.encode(`${json(quote(pulled))}\n`)
        }),
      )
      /** Lets the reading fiber run until it waits, or has read far too much. */
      const settled: Effect.Effect<number> = Effect.gen(function* () {
        const before = pulled
        yield* TestClock.adjust("1 minute")
        return pulled === before || pulled > 10_000 ? pulled : yield* settled
      })
      yield* Effect.gen(function* () {
        const ahead = yield* settled
        expect(ahead).toBeGreaterThan(1)
        expect(ahead).toBeLessThan(300)
        expect(yield* take(3)).toEqual([Option.some(quote(1)), Option.some(quote(2)), Option.some(quote(3))])
        expect((yield* settled) - ahead).toBe(3)
      }).pipe(Effect.provide(Feed.layerNdjson("endless", endless)))
    }),
  )

  it.effect("stops being read when its layer closes", () =>
    Effect.gen(function* () {
      let closed = false
      const bytes = Stream.fromEffectRepeat(Effect.succeed(encoder.encode(`${json(quote(1))}\n`))).pipe(
        Stream.ensuring(Effect.sync(() => (closed = true))),
      )
      yield* Effect.provide(take(1), Feed.layerNdjson("endless", bytes))
      expect(closed).toBe(true)
    }),
  )
})

/** What tells seeds apart: the generator looks at 32 bits. */
const Seed = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 32 - 1 }))

const walk = (n: number, options: { readonly seed: number; readonly price: number }) =>
  Effect.map(Effect.provide(take(n), Feed.layerRandomWalk(options)), (quotes) => quotes.map(Option.getOrThrow))

describe("the random walk", () => {
  it.effect.prop("is the same for the same seed and price", { seed: Seed, price: Price }, (options) =>
    Effect.gen(function* () {
      expect(yield* walk(20, options)).toEqual(yield* walk(20, options))
    }),
  )

  it.effect.prop("is another one for another seed", [Seed, Seed], ([seed, other]) =>
    Effect.gen(function* () {
      if (seed === other) return
      expect(yield* walk(5, { seed, price: 1 })).not.toEqual(yield* walk(5, { seed: other, price: 1 }))
    }),
  )

  it.effect.prop(
    "has only quotes, begins at its price and goes in small steps",
    { seed: Seed, price: Price },
    (options) =>
      Effect.gen(function* () {
        const quotes = yield* walk(50, options)
        let before = options.price
        for (const its of quotes) {
          expect(Schema.is(Feed.Quote)(its)).toBe(true)
          const middle = (its.bid + its.ask) / 2
          expect(Math.abs(Math.log(middle / before))).toBeLessThan(0.01) // ten standard deviations
          expect((its.ask - its.bid) / middle).toBeCloseTo(0.0004, 9) // 4 bps, wide enough to be quoted
          before = middle
        }
      }),
  )

  it.effect("moves: up about as often as down, by ten basis points", () =>
    Effect.gen(function* () {
      const middles = (yield* walk(2000, { seed: 1, price: 0.5 })).map(({ bid, ask }) => (bid + ask) / 2)
      const steps = middles.slice(1).map((middle, i) => Math.log(middle / middles[i]!))
      const up = steps.filter((step) => step > 0).length
      expect(up).toBeGreaterThan(900)
      expect(up).toBeLessThan(1100)
      const deviation = Math.sqrt(steps.reduce((sum, step) => sum + step * step, 0) / steps.length)
      expect(deviation).toBeGreaterThan(0.0009)
      expect(deviation).toBeLessThan(0.0011)
    }),
  )

  it.effect("never ends, and refuses no line", () =>
    Effect.gen(function* () {
      const quotes = yield* take(10_000)
      expect(quotes.every(Option.isSome)).toBe(true)
      expect(yield* badLines).toBe(0)
    }).pipe(Effect.provide(Feed.layerRandomWalk({ seed: 7, price: 0.5 }))),
  )
})

describe("a quote", () => {
  it.effect("is refused with a reason that can be read", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Schema.decodeEffect(Feed.Quote)({ bid: 2, ask: 1 }))
      expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain("Expected bid to be less than ask")
    }),
  )
})
