/**
 * The engine program that ships: each tick takes the next quote, lets the market maker act on it, and stores snapshot,
 * fills and state in one transaction. Memory moves only after the transaction has.
 *
 * A recovery restart goes on with the balances that are stored; a fresh session starts with those of the configuration.
 * The end of the feed halts with `replay_exhausted`.
 */
import { Effect, Layer, Option, Ref } from "effect"
import * as EngineProgram from "../engine/EngineProgram.ts"
import { startingValueKey } from "../state/StateKeys.ts"
import * as StateManager from "../state/StateManager.ts"
import * as Feed from "./Feed.ts"
import * as MarketMaker from "./MarketMaker.ts"
import * as PaperBooks from "./PaperBooks.ts"
import type { PaperConfig } from "./PaperConfig.ts"
import { paperHaltReasons } from "./PaperHaltReasons.ts"

export interface PaperOptions {
  readonly config: PaperConfig
  readonly parentSessionId: Option.Option<number>
}

const keys = {
  xrp: "paper.xrp",
  rlusd: "paper.rlusd",
  spreadPnlRlusd: "paper.spread_pnl_rlusd",
  fills: "paper.fills",
  pnl: "paper.pnl_rlusd",
  startingValue: startingValueKey,
} as const

export const layer = (options: PaperOptions) =>
  Layer.effect(EngineProgram.EngineProgram, make(options)).pipe(Layer.provide(PaperBooks.layer()))

const make = Effect.fnUntraced(function* ({ config, parentSessionId }: PaperOptions) {
  const state = yield* StateManager.StateManager
  const books = yield* PaperBooks.PaperBooks
  const feed = yield* Feed.Feed

  /** A stored number of the session that is recovered; the default when there is none, or it is unreadable. */
  const recovered = Effect.fnUntraced(function* (key: string, otherwise: number) {
    if (Option.isNone(parentSessionId)) return otherwise
    const stored = Option.map(yield* state.get(key), Number)
    return Option.getOrElse(Option.filter(stored, Number.isFinite), () => otherwise)
  })
  const maker = yield* Ref.make(
    MarketMaker.make({
      xrp: yield* recovered(keys.xrp, config.paper.starting_xrp),
      rlusd: yield* recovered(keys.rlusd, config.paper.starting_rlusd),
      spreadPnlRlusd: yield* recovered(keys.spreadPnlRlusd, 0),
      fills: yield* recovered(keys.fills, 0),
    }),
  )
  const unknown = Number.NaN
  const startingValue = yield* recovered(keys.startingValue, unknown)
  const worth = yield* Ref.make(Option.none<StateManager.Worth>())

  const tick = Effect.fn("PaperProgram.tick")(function* (sessionId: number) {
    const next = yield* feed.next
    if (Option.isNone(next)) {
      return paperHaltReasons.haltWith(
        "replay_exhausted",
        `the feed has ended, ${yield* feed.badLines} lines of it were refused`,
      )
    }
    const quote = next.value
    const step = MarketMaker.step(yield* Ref.get(maker), quote, config)
    const { holdings } = step.maker
    const ending = MarketMaker.valueAt(holdings, quote)
    // The worth at the start is that of the balances at the first quote.
    const known = Option.match(yield* Ref.get(worth), { onNone: () => startingValue, onSome: (it) => it.starting })
    const starting = Number.isNaN(known) ? ending : known
    const stored = books.recordTick({
      sessionId,
      bid: quote.bid,
      ask: quote.ask,
      xrp: holdings.xrp,
      rlusd: holdings.rlusd,
      valueRlusd: ending,
      fills: step.fills,
      state: {
        [keys.xrp]: String(holdings.xrp),
        [keys.rlusd]: String(holdings.rlusd),
        [keys.spreadPnlRlusd]: String(holdings.spreadPnlRlusd),
        [keys.fills]: String(holdings.fills),
        [keys.pnl]: String(MarketMaker.round(ending - starting)),
        [keys.startingValue]: String(starting),
      },
    })
    // Not interrupted in between: what was stored and what the end of the session says must be the same.
    yield* Effect.uninterruptible(
      stored.pipe(
        Effect.andThen(Ref.set(maker, step.maker)),
        Effect.andThen(Ref.set(worth, Option.some({ starting, ending }))),
      ),
    )
    // The effect on the world, here a log line, comes after the write: a machine that no longer leads was refused by then.
    for (const { price, side, spreadPnlRlusd, xrp } of step.fills) {
      const fill = { side, price, xrp, spread_pnl_rlusd: spreadPnlRlusd }
      yield* Effect.annotateLogs(Effect.logInfo("paper fill"), fill)
    }
    return step.result
  })

  return {
    tick,
    worth: Ref.get(worth),
    figures: Effect.zipWith(Ref.get(maker), Ref.get(worth), figuresOf),
    title: "Paper balances",
    haltReasons: paperHaltReasons,
  }
})

/** What a dashboard shows; there is no worth before the first quote. */
const figuresOf = (
  { holdings }: { readonly holdings: MarketMaker.Holdings },
  worth: Option.Option<StateManager.Worth>,
): ReadonlyArray<EngineProgram.Figure> => [
  { name: "xrp", label: "XRP", value: holdings.xrp, unit: "XRP" },
  { name: "rlusd", label: "RLUSD", value: holdings.rlusd, unit: "RLUSD" },
  ...Option.match(worth, {
    onNone: () => [],
    onSome: ({ ending, starting }): ReadonlyArray<EngineProgram.Figure> => [
      { name: "value", label: "Value", value: ending, unit: "RLUSD" },
      { name: "pnl", label: "PnL", value: MarketMaker.round(ending - starting), unit: "RLUSD", isGain: true },
    ],
  }),
  { name: "spread_pnl", label: "Spread PnL", value: holdings.spreadPnlRlusd, unit: "RLUSD", isGain: true },
  { name: "fills", label: "Fills", value: holdings.fills, unit: "" },
]
