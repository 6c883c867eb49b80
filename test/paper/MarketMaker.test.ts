import { describe, expect, it } from "@effect/vitest"
import { Option, Schema } from "effect"
import type * as Feed from "../../src/paper/Feed.ts"
import { type Holdings, make, middleOf, round, type Settings, step, valueAt } from "../../src/paper/MarketMaker.ts"
import { slice } from "../support/slice.ts"

/** Around a middle of 1: we buy 12.5 XRP at 0.8 and sell 8 XRP at 1.25, exactly. */
const settings: Settings = {
  strategy: {
    requote_interval_seconds: 4,
    bid_offset_bps: 2000,
    ask_offset_bps: 2500,
    clob_switch_threshold_bps: 3,
  },
  order_size: { base_size_rlusd: 10 },
  risk: { max_xrp_exposure: 5000, max_rlusd_exposure: 5000 },
}

const start: Holdings = { xrp: 100, rlusd: 100, spreadPnlRlusd: 0, fills: 0 }

const book = (bid: number, ask: number): Feed.Quote => ({ bid, ask })

/** The middle is 1, the spread 5000 bps: both numbers are exact. */
const wide = book(0.75, 1.25)

/** A maker that has quoted around 1. */
const quoted = (holdings: Holdings = start, its: Settings = settings) => step(make(holdings), wide, its).maker

const sidesOf = (holdings: Holdings, its: Settings = settings) => quoted(holdings, its).orders.map(({ side }) => side)

describe("quoting", () => {
  it("rests a bid below and an ask above the middle of the book", () => {
    expect(quoted().orders).toEqual([
      { side: "buy", price: 0.8, xrp: 12.5, middle: 1 },
      { side: "sell", price: 1.25, xrp: 8, middle: 1 },
    ])
  })

  it("fills nothing at the first book, for nothing rested before it", () => {
    const first = step(make(start), book(0.000001, 0.000002), settings)
    expect([first.fills, first.maker.holdings, first.result]).toEqual([[], start, Option.none()])
  })

  it("has prices and sizes of six decimals", () => {
    const { orders } = step(make(start), book(0.3333333, 0.4444444), settings).maker
    expect(orders.map(({ price, xrp }) => [price, xrp])).toEqual([
      [0.311111, 32.142869],
      [0.486111, 20.571433],
    ])
  })

  it("leaves a book alone whose spread is below the threshold, and quotes one that is at it", () => {
    const threshold = (clob_switch_threshold_bps: number) => ({
      ...settings,
      strategy: { ...settings.strategy, clob_switch_threshold_bps },
    })
    expect(sidesOf(start, threshold(5000))).toEqual(["buy", "sell"])
    expect(sidesOf(start, threshold(5000.001))).toEqual([])
  })

  it("leaves a side out that the holdings cannot pay for", () => {
    expect(sidesOf({ ...start, rlusd: 10 })).toEqual(["buy", "sell"])
    expect(sidesOf({ ...start, rlusd: 9.999999 })).toEqual(["sell"])
    expect(sidesOf({ ...start, xrp: 8 })).toEqual(["buy", "sell"])
    expect(sidesOf({ ...start, xrp: 7.999999 })).toEqual(["buy"])
    expect(sidesOf({ ...start, xrp: 0, rlusd: 0 })).toEqual([])
  })

  it("pays with what a fill of this tick has brought", () => {
    const poor = { ...start, rlusd: 0 }
    expect(sidesOf(poor)).toEqual(["sell"])
    const sold = step(quoted(poor), book(1.25, 1.5), settings)
    expect(sold.maker.holdings.rlusd).toBe(10)
    expect(sold.maker.orders.map(({ side }) => side)).toEqual(["buy", "sell"])
  })
})

describe("filling", () => {
  it("buys when the ask has come down to our bid, at our price", () => {
    const { fills, maker } = step(quoted(), book(0.7, 0.8), settings)
    expect(fills).toEqual([{ side: "buy", price: 0.8, xrp: 12.5, spreadPnlRlusd: 2.5 }])
    expect(maker.holdings).toEqual({ xrp: 112.5, rlusd: 90, spreadPnlRlusd: 2.5, fills: 1 })
  })

  it("sells when the bid has risen to our ask, at our price", () => {
    const { fills, maker } = step(quoted(), book(1.25, 1.3), settings)
    expect(fills).toEqual([{ side: "sell", price: 1.25, xrp: 8, spreadPnlRlusd: 2 }])
    expect(maker.holdings).toEqual({ xrp: 92, rlusd: 110, spreadPnlRlusd: 2, fills: 1 })
  })

  it("has our price, not that of the book, when the book jumps past us", () => {
    expect(step(quoted(), book(0.1, 0.2), settings).fills.map(({ price }) => price)).toEqual([0.8])
    expect(step(quoted(), book(9, 10), settings).fills.map(({ price }) => price)).toEqual([1.25])
  })

  for (const [name, quote] of [
    ["the same book", wide],
    ["an ask just above our bid", book(0.7, 0.800001)],
    ["a bid just below our ask", book(1.249999, 1.3)],
    ["a bid that touches our bid and an ask that touches our ask", book(0.8, 1.25)],
  ] as const) {
    it(`does not happen at ${name}`, () => {
      const { fills, maker } = step(quoted(), quote, settings)
      expect([fills, maker.holdings]).toEqual([[], start])
    })
  }

  it("is possible for one tick only: then the orders are those around the new middle", () => {
    const moved = step(quoted(), book(1.1, 1.2), settings)
    expect(moved.fills).toEqual([])
    const back = step(moved.maker, book(0.85, 0.92), settings) // above the old bid of 0.8, at the new one of 0.92
    expect(back.fills.map(({ side, price }) => [side, price])).toEqual([["buy", 0.92]])
  })

  it("happens to an order that rested, also when the new book is too narrow to quote", () => {
    const { fills, maker } = step(quoted(), book(0.79999, 0.8), settings)
    expect(fills).toHaveLength(1)
    expect(maker.orders).toEqual([])
  })

  it("adds up over the ticks", () => {
    const bought = step(quoted(), book(0.55, 0.8), settings).maker
    const again = step(bought, book(0.4, 0.54), settings)
    expect(again.fills).toEqual([{ side: "buy", price: 0.54, xrp: 18.518519, spreadPnlRlusd: 2.5 }])
    expect(again.maker.holdings).toEqual({ xrp: 131.018519, rlusd: 80, spreadPnlRlusd: 5, fills: 2 })
  })

  it("leaves the maker that it began with as it was", () => {
    const maker = quoted()
    const copy = structuredClone(maker)
    const first = step(maker, book(0.7, 0.8), settings)
    expect(maker).toEqual(copy)
    expect(step(maker, book(0.7, 0.8), settings)).toEqual(first)
  })
})

describe("the caps", () => {
  const capped = (risk: Partial<Settings["risk"]>) => ({ ...settings, risk: { ...settings.risk, ...risk } })
  const bought = (its: Settings) => step(quoted(), book(0.7, 0.8), its) // 112.5 XRP, 90 RLUSD
  const sold = (its: Settings) => step(quoted(), book(1.25, 1.3), its) // 92 XRP, 110 RLUSD

  it("allow exactly the cap", () => {
    expect(bought(capped({ max_xrp_exposure: 112.5 })).result).toEqual(Option.none())
    expect(sold(capped({ max_rlusd_exposure: 110 })).result).toEqual(Option.none())
  })

  it("halt above it, with the token of the balance and its numbers", () => {
    expect(bought(capped({ max_xrp_exposure: 112.499999 })).result).toEqual(
      Option.some({ reason: "risk_xrp_exposure", detail: "112.5 XRP is above the cap of 112.499999" }),
    )
    expect(sold(capped({ max_rlusd_exposure: 109.999999 })).result).toEqual(
      Option.some({ reason: "risk_rlusd_exposure", detail: "110 RLUSD is above the cap of 109.999999" }),
    )
  })

  it("look at the balance after the fills of the tick, which are kept", () => {
    const its = capped({ max_xrp_exposure: 100 })
    expect(quoted(start, its).holdings).toEqual(start)
    expect(step(make(start), wide, its).result).toEqual(Option.none())
    const { fills, maker, result } = bought(its)
    expect([fills.length, maker.holdings.xrp, Option.isSome(result)]).toEqual([1, 112.5, true])
  })

  it("halt at the first book when the session starts above one", () => {
    const { result } = step(make(start), wide, capped({ max_rlusd_exposure: 99 }))
    expect(Option.map(result, ({ reason }) => reason)).toEqual(Option.some("risk_rlusd_exposure"))
  })
})

describe("worth", () => {
  it("is RLUSD, and XRP at the middle of the book", () => {
    expect(middleOf(book(0.5, 0.7))).toBe(0.6)
    expect(valueAt({ ...start, xrp: 3, rlusd: 10 }, book(0.5, 0.7))).toBe(11.8)
    expect(valueAt({ ...start, xrp: 1 / 3, rlusd: 0 }, wide)).toBe(0.333333)
  })

  it("has six decimals", () => {
    expect([round(0.1 + 0.2), round(1.0000004), round(1.0000006), round(-2.5)]).toEqual([0.3, 1, 1.000001, -2.5])
  })
})

const between = (minimum: number, maximum: number) => Schema.Finite.check(Schema.isBetween({ minimum, maximum }))

/** Books anywhere below 1 RLUSD per XRP, so that most of them cross what rests; some are too narrow to be quoted. */
const Book = Schema.Struct({ middle: between(0.05, 0.9), spreadBps: between(1, 1000) })

const Market = Schema.Struct({
  books: Schema.Array(Book).check(Schema.isBetweenLength(20, 60)),
  xrp: between(0, 200),
  rlusd: between(0, 100),
  size: between(1, 50),
  bidOffset: between(0, 500),
  askOffset: between(0, 500),
})

const sum = <A>(items: ReadonlyArray<A>, of: (item: A) => number) => items.reduce((total, item) => total + of(item), 0)

describe("for any books", () => {
  it.prop(
    "nothing is sold that is not held, and what is given is what is taken",
    [Market],
    ([{ books, xrp, rlusd, size, bidOffset, askOffset }]) => {
      const its: Settings = {
        ...settings,
        strategy: { ...settings.strategy, bid_offset_bps: bidOffset, ask_offset_bps: askOffset },
        order_size: { base_size_rlusd: size },
      }
      let maker = make({ xrp, rlusd, spreadPnlRlusd: 0, fills: 0 })
      for (const { middle, spreadBps } of books) {
        const quote = book(middle * (1 - spreadBps / 20_000), middle * (1 + spreadBps / 20_000))
        const before = maker.holdings
        const { fills, maker: after } = step(maker, quote, its)
        const { holdings } = after

        expect(holdings.xrp).toBeGreaterThanOrEqual(0)
        expect(holdings.rlusd).toBeGreaterThanOrEqual(0)
        expect(fills.length).toBeLessThanOrEqual(1) // one book cannot cross both sides
        for (const { side, price } of fills) {
          if (side === "buy") expect(quote.ask).toBeLessThanOrEqual(price)
          else expect(quote.bid).toBeGreaterThanOrEqual(price)
        }
        const bought = sum(fills, (fill) => (fill.side === "buy" ? fill.xrp : -fill.xrp))
        const paid = sum(fills, (fill) => (fill.side === "buy" ? fill.xrp : -fill.xrp) * fill.price)
        const earned = sum(fills, (fill) => fill.spreadPnlRlusd)
        expect(Math.abs(holdings.xrp - before.xrp - bought)).toBeLessThan(1e-6)
        expect(Math.abs(holdings.rlusd - before.rlusd + paid)).toBeLessThan(1e-6)
        expect(Math.abs(holdings.spreadPnlRlusd - before.spreadPnlRlusd - earned)).toBeLessThan(1e-6)
        expect(earned).toBeGreaterThanOrEqual(0)
        expect(holdings.fills).toBe(before.fills + fills.length)
        maker = after
      }
    },
    { arbitrary: { runs: slice(500) } },
  )
})
