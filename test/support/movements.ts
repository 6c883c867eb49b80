/** Movements of capital that keep every rule. */
import type { CapitalMovement } from "../../src/state/CapitalEvent.ts"

export const rlusdIn: CapitalMovement = { asset: "RLUSD", eventType: "deposit", amount: 250, sourceNote: "bank" }
export const xrpIn: CapitalMovement = { ...rlusdIn, asset: "XRP", amount: 100, priceRlusd: 0.5 }
export const rlusdOut: CapitalMovement = { ...rlusdIn, eventType: "withdrawal", basisDeltaRlusd: -250 }
export const xrpOut: CapitalMovement = { ...xrpIn, eventType: "withdrawal", basisDeltaRlusd: -20 }
export const commit: CapitalMovement = { ...rlusdIn, eventType: "basis_commit", amount: 30, basisDeltaRlusd: -30 }

export const notNumbers = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
