/** The rules that a movement of capital is held to, before anything is stored. */
import { describe, expect, it } from "@effect/vitest"
import { Option, Result, Schema } from "effect"
import { CapitalError, type CapitalMovement, classifyWithdrawal, validate } from "../../src/state/CapitalEvent.ts"
import { commit, notNumbers, rlusdIn, rlusdOut, xrpIn, xrpOut } from "../support/movements.ts"

/** What no caller of ours can write, but one without types can. */
const untyped = (value: unknown) => value as never

const notPositive = [0, -0, -1, ...notNumbers]

describe("the rules of a capital event", () => {
  it.each([
    ["a deposit of RLUSD moves the basis by its amount", rlusdIn, 250],
    ["a deposit of XRP moves the basis by its amount at its price", xrpIn, 50],
    ["a deposit may say by how much it moves the basis", { ...xrpIn, basisDeltaRlusd: 49 }, 49],
    ["a deposit may leave the basis as it is", { ...rlusdIn, basisDeltaRlusd: 0 }, 0],
    ["a deposit of RLUSD may have a price, which changes nothing", { ...rlusdIn, priceRlusd: 2 }, 250],
    ["a withdrawal of RLUSD lowers the basis by what it says", rlusdOut, -250],
    ["a withdrawal of XRP lowers the basis by what it says", xrpOut, -20],
    ["a withdrawal of profit alone leaves the basis as it is", { ...rlusdOut, basisDeltaRlusd: -0 }, 0],
    ["a basis_commit may lower the basis", commit, -30],
    ["a basis_commit may raise the basis", { ...commit, basisDeltaRlusd: 30 }, 30],
    ["a basis_commit may be nothing", { ...commit, amount: 0, basisDeltaRlusd: -0 }, 0],
  ] satisfies ReadonlyArray<[string, CapitalMovement, number]>)("%s", (_, movement, basisDeltaRlusd) => {
    const event = Result.getOrThrow(validate(movement))
    const { amount, asset, eventType, priceRlusd = null, sourceNote } = movement
    expect({ ...event }).toEqual({ asset, eventType, amount, priceRlusd, basisDeltaRlusd, sourceNote })
  })

  const refused: ReadonlyArray<[string, CapitalMovement, field: string, got: string]> = [
    ...[rlusdIn, xrpIn, rlusdOut, xrpOut].flatMap((movement) =>
      notPositive.map((amount): [string, CapitalMovement, string, string] => [
        `a ${movement.eventType} of ${amount} ${movement.asset}`,
        { ...movement, amount },
        "amount",
        String(amount),
      ]),
    ),
    ...[xrpIn, xrpOut].flatMap((movement) =>
      [...notPositive, undefined].map((priceRlusd): [string, CapitalMovement, string, string] => [
        `a ${movement.eventType} of XRP at the price ${priceRlusd}`,
        { ...movement, priceRlusd },
        "price_rlusd",
        String(priceRlusd ?? "none"),
      ]),
    ),
    ["a deposit of RLUSD at a price below 0", { ...rlusdIn, priceRlusd: -1 }, "price_rlusd", "-1"],
    ["a deposit that lowers the basis", { ...rlusdIn, basisDeltaRlusd: -1 }, "basis_delta_rlusd", "-1"],
    [
      "a deposit worth more than a number holds",
      { ...xrpIn, amount: 1e300, priceRlusd: 1e300 },
      "basis_delta_rlusd",
      "Infinity",
    ],
    ...[...notNumbers, undefined, 1].flatMap((basisDeltaRlusd) =>
      [rlusdOut, xrpOut].map((movement): [string, CapitalMovement, string, string] => [
        `a withdrawal of ${movement.asset} that moves the basis by ${basisDeltaRlusd}`,
        { ...movement, basisDeltaRlusd },
        "basis_delta_rlusd",
        String(basisDeltaRlusd ?? "none"),
      ]),
    ),
    ["a basis_commit of XRP", { ...commit, asset: "XRP" }, "asset", '"XRP"'],
    ["a basis_commit with a price", { ...commit, priceRlusd: 1 }, "price_rlusd", "1"],
    ...[...notNumbers, undefined].map((basisDeltaRlusd): [string, CapitalMovement, string, string] => [
      `a basis_commit that moves the basis by ${basisDeltaRlusd}`,
      { ...commit, basisDeltaRlusd },
      "basis_delta_rlusd",
      String(basisDeltaRlusd ?? "none"),
    ]),
    ...[-30, 29.999, ...notNumbers].map((amount): [string, CapitalMovement, string, string] => [
      `a basis_commit of -30 with the amount ${amount}`,
      { ...commit, amount },
      "amount",
      String(amount),
    ]),
    ["an unknown type", { ...rlusdIn, eventType: untyped("gift") }, "event_type", '"gift"'],
    ["a type that every object has", { ...rlusdIn, eventType: untyped("constructor") }, "event_type", '"constructor"'],
    ["an unknown asset", { ...rlusdIn, asset: untyped("USD") }, "asset", '"USD"'],
    ["an amount that is a text", { ...rlusdIn, amount: untyped("250") }, "amount", '"250"'],
    ["a note without a word", { ...rlusdIn, sourceNote: " \n" }, "source_note", '" \\n"'],
    ["no note", { ...rlusdIn, sourceNote: untyped(undefined) }, "source_note", "none"],
  ]

  it.each(refused)("refuse %s", (_, movement, field, got) => {
    const error = Option.getOrThrow(Result.getFailure(validate(movement)))
    expect(error).toBeInstanceOf(CapitalError)
    expect([error.field, error.got]).toEqual([field, got])
    expect(error.message).toBe(`expected ${field} to be ${error.expected}, got ${got}; nothing was stored`)
  })
})

describe("a withdrawal", () => {
  it.each([
    ["of less than the profit is profit", { value: 1200, netBasis: 1000, amount: 150 }, { profit: 150, basisDelta: 0 }],
    ["of the profit is profit", { value: 1200, netBasis: 1000, amount: 200 }, { profit: 200, basisDelta: 0 }],
    [
      "of more lowers the basis by the rest",
      { value: 1200, netBasis: 1000, amount: 500 },
      { profit: 200, basisDelta: -300 },
    ],
    [
      "at a loss lowers the basis by all of it",
      { value: 900, netBasis: 1000, amount: 100 },
      { profit: 0, basisDelta: -100 },
    ],
    ["of nothing is nothing", { value: 1200, netBasis: 1000, amount: 0 }, { profit: 0, basisDelta: 0 }],
  ])("%s", (_, withdrawal, expected) => {
    expect(classifyWithdrawal(withdrawal)).toStrictEqual(expected)
  })

  const Money = Schema.Finite.check(Schema.isBetween({ minimum: -1e9, maximum: 1e9 }))
  const Amount = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1e9 }))

  it.prop(
    "is all profit and rest, and neither has the wrong sign",
    [Money, Money, Amount],
    ([value, netBasis, amount]) => {
      const { basisDelta, profit } = classifyWithdrawal({ value, netBasis, amount })
      expect(profit).toBeGreaterThanOrEqual(0)
      expect(profit).toBeLessThanOrEqual(amount)
      expect(basisDelta).toBeLessThanOrEqual(0)
      expect(Object.is(basisDelta, -0)).toBe(false)
      expect(profit - basisDelta).toBeCloseTo(amount, 5)
    },
  )

  it.prop("leaves the basis alone while there is profit left", [Money, Money, Amount], ([value, netBasis, amount]) => {
    const { basisDelta, profit } = classifyWithdrawal({ value, netBasis, amount })
    if (basisDelta < 0) expect(profit).toBe(Math.max(0, value - netBasis))
  })

  it.prop("in two parts is the same as at once", [Money, Money, Amount, Amount], ([value, netBasis, first, second]) => {
    const whole = classifyWithdrawal({ value, netBasis, amount: first + second })
    const one = classifyWithdrawal({ value, netBasis, amount: first })
    const two = classifyWithdrawal({
      value: value - first,
      netBasis: netBasis + one.basisDelta,
      amount: second,
    })
    expect(one.profit + two.profit).toBeCloseTo(whole.profit, 5)
    expect(one.basisDelta + two.basisDelta).toBeCloseTo(whole.basisDelta, 5)
  })

  it.prop(
    "of any numbers at all keeps the rules of a withdrawal",
    [Money, Money, Amount],
    ([value, netBasis, amount]) => {
      if (amount === 0) return
      const basisDeltaRlusd = classifyWithdrawal({ value, netBasis, amount }).basisDelta
      expect(Result.isSuccess(validate({ ...rlusdOut, amount, basisDeltaRlusd }))).toBe(true)
    },
  )
})
