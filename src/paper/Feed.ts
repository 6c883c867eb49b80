/**
 * Where quotes come from: lines of NDJSON, or a seeded random walk.
 *
 * Quotes are read in order, one a tick; a feed that is faster waits, one that is slower makes the tick wait. A line that
 * is not a quote is counted and logged with its number, and does not stop the session. A line that is too long is
 * dropped as it comes, so that memory stays bounded.
 */
import {
  Cause,
  Context,
  Effect,
  Layer,
  Option,
  Queue,
  Random,
  Ref,
  Result,
  Schema,
  type SchemaIssue,
  Stream,
} from "effect"
import * as SystemError from "../files/SystemError.ts"

const Price = Schema.Finite.check(Schema.isGreaterThan(0))

/** Top of the book, in RLUSD per XRP. */
export const Quote = Schema.Struct({ bid: Price, ask: Price }).check(
  Schema.makeFilter((quote) => quote.bid < quote.ask || "Expected bid to be less than ask"),
)
export type Quote = typeof Quote.Type

/** The feed broke; that it ended is not an error. */
export class FeedError extends Schema.TaggedError<FeedError>()("FeedError", {
  feed: Schema.String,
  cause: Schema.Defect(),
}) {
  override get message() {
    return `cannot read the feed ${this.feed}: ${SystemError.wordsOf(this.cause)}`
  }
}

export class Feed extends Context.Service<
  Feed,
  {
    /** The next quote; none when the feed has ended. */
    readonly next: Effect.Effect<Option.Option<Quote>, FeedError>
    /** How many lines were refused so far. */
    readonly badLines: Effect.Effect<number>
  }
>()("seawall/paper/Feed") {}

/** A market that never ends and is the same for the same seed. `price` is where it starts. */
export const layerRandomWalk = (options: { readonly seed: number; readonly price: number }) =>
  Layer.effect(Feed, randomWalk(options))

/** Bytes of NDJSON; `name` is what messages call it. */
export const layerNdjson = <E>(name: string, bytes: Stream.Stream<Uint8Array, E>) =>
  Layer.effect(Feed, ndjson(name, bytes))

/** Standard deviation of one step: at 10 bps about every fourth tick crosses a quote that is 10 bps away. */
const volatility = 0.001

/** Half of the walk's spread, as a part of the price: 4 bps in all, just above the default threshold. */
const halfSpread = 0.0002

const randomWalk = Effect.fnUntraced(function* ({ seed, price }: { readonly seed: number; readonly price: number }) {
  const random = yield* Random.withSeed(Random.Random, String(seed)) // of a number it would take 32 bits
  let middle = price
  const next = Effect.sync(() => {
    // Box-Muller: two uniform numbers make a normal one.
    const normal =
      Math.sqrt(-2 * Math.log(1 - random.nextDoubleUnsafe())) * Math.cos(2 * Math.PI * random.nextDoubleUnsafe())
    middle *= Math.exp(volatility * normal)
    return Option.some({ bid: middle * (1 - halfSpread), ask: middle * (1 + halfSpread) })
  })
  return { next, badLines: Effect.succeed(0) }
})

/** 64 KiB: a hundred times the longest sensible quote. */
const longestLine = 64 * 1024

/** Refused lines that are logged one by one; further ones are only counted. */
const loggedBadLines = 100

/** How many quotes are read ahead. */
const readAhead = 256

interface Line {
  readonly number: number
  readonly text: Option.Option<string>
}

interface Unfinished {
  readonly number: number
  readonly text: string
  readonly tooLong: boolean
}

const start: Unfinished = { number: 1, text: "", tooLong: false }

const extend = (line: Unfinished, text: string): Unfinished =>
  line.tooLong || line.text.length + text.length > longestLine
    ? { ...line, text: "", tooLong: true }
    : { ...line, text: line.text + text }

const finish = ({ number, text, tooLong }: Unfinished): Line => ({
  number,
  text: tooLong ? Option.none() : Option.some(text.trim()),
})

/** Splits text into numbered lines, keeping at most one line's worth of it. A line that is too long has no text. */
const lines = Stream.mapAccum(
  () => start,
  (unfinished: Unfinished, chunk: string) => {
    const parts = chunk.split("\n")
    const finished: Array<Line> = []
    let current = unfinished
    for (const [index, part] of parts.entries()) {
      current = extend(current, part)
      if (index === parts.length - 1) break
      finished.push(finish(current))
      current = { ...start, number: current.number + 1 }
    }
    return [current, finished] as const
  },
  { onHalt: (unfinished) => [finish(unfinished)] },
)

const decode = Schema.decodeUnknownResult(Schema.fromJsonString(Quote))

const problemOf = (issue: SchemaIssue.Issue | string) => String(issue).split("\n").join(" ").slice(0, 200)

const ndjson = Effect.fnUntraced(function* <E>(name: string, bytes: Stream.Stream<Uint8Array, E>) {
  const badLines = yield* Ref.make(0)
  const refuse = Effect.fnUntraced(function* (line: number, problem: string) {
    const count = yield* Ref.updateAndGet(badLines, (n) => n + 1)
    if (count > loggedBadLines + 1) return
    const event = count > loggedBadLines ? "feed lines refused, further ones are only counted" : "feed line refused"
    yield* Effect.annotateLogs(Effect.logWarning(event), { feed: name, line, problem, bad_lines: count })
  })
  const parse = ({ number, text }: Line) => {
    if (Option.isNone(text)) return Effect.as(refuse(number, `longer than ${longestLine} characters`), [])
    if (text.value === "") return Effect.succeed([])
    return Result.match(decode(text.value), {
      onSuccess: (quote) => Effect.succeed([quote]),
      onFailure: (error) => Effect.as(refuse(number, problemOf(error.message)), []),
    })
  }
  const quotes = yield* bytes.pipe(
    Stream.decodeText(),
    lines,
    Stream.mapEffect(parse),
    Stream.flattenIterable,
    Stream.toQueue({ capacity: readAhead }),
  )
  const next = Queue.take(quotes).pipe(
    Effect.asSome,
    Effect.catchCause((cause): Effect.Effect<Option.Option<Quote>, FeedError> => {
      const error = Cause.squash(cause)
      if (Cause.isDone(error)) return Effect.succeedNone
      return Effect.fail(new FeedError({ feed: name, cause: error }))
    }),
  )
  return { next, badLines: Ref.get(badLines) }
})
