import type * as PaperBooks from "../../src/paper/PaperBooks.ts"

/** A tick of paper trading with two fills. */
export const tick: PaperBooks.PaperTick = {
  sessionId: 1,
  bid: 0.5,
  ask: 0.52,
  xrp: 110,
  rlusd: 94.9,
  valueRlusd: 151,
  fills: [
    { side: "buy", price: 0.51, xrp: 10, spreadPnlRlusd: 0.05 },
    { side: "sell", price: 0.53, xrp: 4, spreadPnlRlusd: 0.02 },
  ],
  state: { "paper.xrp": "110", "paper.rlusd": "94.9" },
}
