/**
 * A two-sided paper market maker, as a function: from what it holds and a new top of the book to what it holds then.
 *
 * It buys at its bid when the book's ask has come down to it, and sells at its ask when the book's bid has risen to it;
 * then it quotes again around the middle. Nothing here knows of time, storage or the network.
 */
import * as EngineProgram from "../engine/EngineProgram.ts"
import type * as Feed from "./Feed.ts"
import type * as PaperBooks from "./PaperBooks.ts"
import type { PaperConfig } from "./PaperConfig.ts"
import { paperHaltReasons } from "./PaperHaltReasons.ts"

export interface Holdings {
  readonly xrp: number
  readonly rlusd: number
  /** Sum of what the fills earned against the middle of the book when they were quoted. */
  readonly spreadPnlRlusd: number
  readonly fills: number
}

/** An order of ours that rests in the book. */
interface Order {
  readonly side: PaperBooks.Side
  readonly price: number
  readonly xrp: number
  /** The middle of the book when it was placed. */
  readonly middle: number
}

interface Maker {
  readonly holdings: Holdings
  readonly orders: ReadonlyArray<Order>
}

export type Settings = Pick<PaperConfig, "strategy" | "order_size" | "risk">

export const make = (holdings: Holdings): Maker => ({ holdings, orders: [] })

export const middleOf = ({ bid, ask }: Feed.Quote) => (bid + ask) / 2

/** What the holdings are worth at the middle of the book, in RLUSD. */
export const valueAt = (holdings: Holdings, book: Feed.Quote) => round(holdings.rlusd + holdings.xrp * middleOf(book))

const crosses = (order: Order, book: Feed.Quote) =>
  order.side === "buy" ? book.ask <= order.price : book.bid >= order.price

/** Both currencies have six decimals here: more digits than that are noise of the arithmetic. */
export const round = (amount: number) => Math.round(amount * 1e6) / 1e6

const fillOf = ({ side, price, xrp, middle }: Order): PaperBooks.PaperFill => ({
  side,
  price,
  xrp,
  spreadPnlRlusd: round(Math.abs(middle - price) * xrp),
})

const take = (holdings: Holdings, fill: PaperBooks.PaperFill): Holdings => {
  const sign = fill.side === "buy" ? 1 : -1
  return {
    xrp: round(holdings.xrp + sign * fill.xrp),
    rlusd: round(holdings.rlusd - sign * fill.xrp * fill.price),
    spreadPnlRlusd: round(holdings.spreadPnlRlusd + fill.spreadPnlRlusd),
    fills: holdings.fills + 1,
  }
}

/** Our two orders around this book; a side that the holdings cannot pay for is left out, and so is a narrow book. */
const quote = (holdings: Holdings, book: Feed.Quote, { strategy, order_size }: Settings): ReadonlyArray<Order> => {
  const middle = middleOf(book)
  const spreadBps = ((book.ask - book.bid) / middle) * 10_000
  if (spreadBps < strategy.clob_switch_threshold_bps) return []
  const order = (side: PaperBooks.Side, offsetBps: number): Order => {
    const price = round(middle * (1 + (side === "buy" ? -offsetBps : offsetBps) / 10_000))
    return { side, price, xrp: round(order_size.base_size_rlusd / price), middle }
  }
  const bid = order("buy", strategy.bid_offset_bps)
  const ask = order("sell", strategy.ask_offset_bps)
  return [...(bid.xrp * bid.price <= holdings.rlusd ? [bid] : []), ...(ask.xrp <= holdings.xrp ? [ask] : [])]
}

const { haltWith } = paperHaltReasons

/** The caps are strict: exactly at the cap is allowed, above it halts. */
const risk = (
  { xrp, rlusd }: Holdings,
  { risk: { max_xrp_exposure, max_rlusd_exposure } }: Settings,
): EngineProgram.TickResult => {
  if (xrp > max_xrp_exposure) return haltWith("risk_xrp_exposure", `${xrp} XRP is above the cap of ${max_xrp_exposure}`)
  if (rlusd > max_rlusd_exposure) {
    return haltWith("risk_rlusd_exposure", `${rlusd} RLUSD is above the cap of ${max_rlusd_exposure}`)
  }
  return EngineProgram.noHalt
}

interface Step {
  readonly maker: Maker
  readonly fills: ReadonlyArray<PaperBooks.PaperFill>
  readonly result: EngineProgram.TickResult
}

/** One tick: fill what the new book crosses, look at the caps, quote again. */
export const step = (maker: Maker, book: Feed.Quote, settings: Settings): Step => {
  const fills = maker.orders.filter((order) => crosses(order, book)).map(fillOf)
  const holdings = fills.reduce(take, maker.holdings)
  return {
    maker: { holdings, orders: quote(holdings, book, settings) },
    fills,
    result: risk(holdings, settings),
  }
}
