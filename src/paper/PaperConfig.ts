/**
 * The configuration of a paper trading session: the sections `strategy`, `order_size`, `risk` and `paper` beside `engine`,
 * and what must hold between their values. Every key has a default, so that `{}` is a whole configuration.
 */
import { Schema } from "effect"
import * as EngineConfig from "../engine/EngineConfig.ts"

const { withDefault } = EngineConfig

const Positive = Schema.Finite.check(Schema.isGreaterThan(0))
const NotNegative = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

const sections = {
  strategy: Schema.Struct({
    /** Seconds between two quotes; must equal `engine.tick_interval_seconds`. */
    requote_interval_seconds: withDefault(Schema.Finite, 4),
    /** Distance of our bid below the middle of the book, in basis points. */
    bid_offset_bps: withDefault(NotNegative, 10),
    /** Distance of our ask above the middle of the book, in basis points. */
    ask_offset_bps: withDefault(NotNegative, 10),
    /** A book whose spread is narrower than this, in basis points above 0, is not quoted. */
    clob_switch_threshold_bps: withDefault(Schema.Finite, 3),
  }),
  order_size: Schema.Struct({
    /** Size of each quote, in RLUSD. */
    base_size_rlusd: withDefault(Positive, 25),
  }),
  risk: Schema.Struct({
    /** A balance above it, in XRP, halts with `risk_xrp_exposure`. Here and below, the invariants refuse 0 or less. */
    max_xrp_exposure: withDefault(Schema.Finite, 5000),
    /** A balance above it, in RLUSD, halts with `risk_rlusd_exposure`. */
    max_rlusd_exposure: withDefault(Schema.Finite, 2500),
  }),
  paper: Schema.Struct({
    /** Seed of the random walk that is the market when no feed is given. */
    seed: withDefault(Schema.Int, 1),
    starting_xrp: withDefault(NotNegative, 2000),
    starting_rlusd: withDefault(NotNegative, 1000),
    /** Where the random walk starts, in RLUSD per XRP. */
    starting_price_rlusd: withDefault(Positive, 0.5),
  }),
}

export type PaperConfig = EngineConfig.ConfigOf<typeof sections>

/** Every invariant that does not hold, with its values. */
const violations = ({ engine, risk, strategy }: PaperConfig): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const positive = (path: string, value: number) => {
    if (!(value > 0)) problems.push(`expected ${path} to be greater than 0, got ${value}`)
  }
  positive("risk.max_xrp_exposure", risk.max_xrp_exposure)
  positive("risk.max_rlusd_exposure", risk.max_rlusd_exposure)
  positive("strategy.clob_switch_threshold_bps", strategy.clob_switch_threshold_bps)
  if (engine.tick_interval_seconds !== strategy.requote_interval_seconds) {
    problems.push(
      `expected strategy.requote_interval_seconds to equal engine.tick_interval_seconds (${engine.tick_interval_seconds}), got ${strategy.requote_interval_seconds}`,
    )
  }
  return problems
}

/** Its schema, `load` and `invariants`. */
export const PaperConfig = EngineConfig.make({ sections, invariants: violations })
