import { DatabaseSync } from "node:sqlite"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Metric, Option, Result, Schema } from "effect"
import { TestClock } from "effect/testing"
import { SqlClient, Statement } from "effect/unstable/sql"
import { Database } from "../../src/sqlite/Database.ts"
import * as Capital from "../../src/state/Capital.ts"
import { CapitalError, type CapitalMovement, classifyWithdrawal, validate } from "../../src/state/CapitalEvent.ts"
import { StateError } from "../../src/state/StateError.ts"
import { startingValueKey } from "../../src/state/StateKeys.ts"
import { StateManager } from "../../src/state/StateManager.ts"
import { Checkpointer } from "../../src/wal/Checkpointer.ts"
import { LatencyWindow } from "../../src/wal/LatencyWindow.ts"
import { WalGuard } from "../../src/wal/WalGuard.ts"
import { quickDisk, temporaryDatabase, temporaryFile } from "../../src/testing/TemporaryDatabase.ts"

const rlusdIn: CapitalMovement = { asset: "RLUSD", eventType: "deposit", amount: 250, sourceNote: "bank" }
const xrpIn: CapitalMovement = { ...rlusdIn, asset: "XRP", amount: 100, priceRlusd: 0.5 }
const rlusdOut: CapitalMovement = { ...rlusdIn, eventType: "withdrawal", basisDeltaRlusd: -250 }
const xrpOut: CapitalMovement = { ...xrpIn, eventType: "withdrawal", basisDeltaRlusd: -20 }
const commit: CapitalMovement = { ...rlusdIn, eventType: "basis_commit", amount: 30, basisDeltaRlusd: -30 }

/** What no caller of ours can write, but one without types can. */
const untyped = (value: unknown) => value as never

const notNumbers = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
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

const failureOf = Effect.fnUntraced(function* <A, E, R>(self: Effect.Effect<A, E, R>) {
  return Option.getOrThrow(Result.getFailure(yield* Effect.result(self)))
})

/** The state manager, and the client that it shares with the test. */
const onSqlite = () => Layer.provideMerge(StateManager.layer(), temporaryDatabase())

const rows = (query: string) =>
  Effect.map(
    SqlClient.SqlClient.use((sql) => sql.unsafe<Record<string, unknown>>(query)),
    (found) => found.map((row) => ({ ...row })),
  )

const events = rows("SELECT event_type, asset, amount, basis_delta_rlusd AS delta FROM capital_events ORDER BY id")
const startingValue = StateManager.use((state) => state.get(startingValueKey))

describe("capital on SQLite", () => {
  it.effect("an event is stored as it is, with its time", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      yield* TestClock.adjust("4 seconds")
      expect((yield* state.recordCapitalEvent(xrpIn)).basisDeltaRlusd).toBe(50)
      yield* state.recordCapitalEvent(commit)
      expect(yield* rows("SELECT * FROM capital_events")).toEqual([
        {
          id: 1,
          asset: "XRP",
          event_type: "deposit",
          amount: 100,
          price_rlusd: 0.5,
          basis_delta_rlusd: 50,
          source_note: "bank",
          created_at: "1970-01-01T00:00:04.000Z",
        },
        {
          id: 2,
          asset: "RLUSD",
          event_type: "basis_commit",
          amount: 30,
          price_rlusd: null,
          basis_delta_rlusd: -30,
          source_note: "bank",
          created_at: "1970-01-01T00:00:04.000Z",
        },
      ])
      expect(yield* state.netBasisRlusd).toBe(20)
    }).pipe(Effect.provide(onSqlite())),
  )

  it.effect("an event that breaks a rule is a CapitalError, and nothing is stored", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      const all: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        state.recordCapitalEvent({ ...rlusdOut, basisDeltaRlusd: 1 }),
        state.injectCapital({ amount: Number.NaN, sourceNote: "bank" }),
        state.injectCapital({ asset: "XRP", amount: 1, sourceNote: "bank" }),
        state.writeInitialBasis({ amount: -1 }),
        state.withdrawCapital({ amount: -1, valueRlusd: 100, sourceNote: "bank" }),
        state.withdrawCapital({ asset: "XRP", amount: 1, valueRlusd: 100, sourceNote: "bank" }),
        state.withdrawCapital({ amount: 1, valueRlusd: Number.NaN, sourceNote: "bank" }),
      ]
      for (const refused of all) {
        expect(yield* failureOf(refused)).toBeInstanceOf(CapitalError)
      }
      expect(yield* events).toEqual([])
      expect(yield* startingValue).toEqual(Option.none())
    }).pipe(Effect.provide(onSqlite())),
  )

  it.effect("before the first event the net basis is 0, and an unknown change counts as 0", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      expect(yield* state.netBasisRlusd).toBe(0)
      yield* state.recordCapitalEvent(rlusdIn)
      yield* rows("INSERT INTO capital_events (event_type, basis_delta_rlusd) VALUES ('deposit', NULL)")
      expect(yield* state.netBasisRlusd).toBe(250)
    }).pipe(Effect.provide(onSqlite())),
  )

  it.effect("an injection is a deposit, and raises what profit is counted from by the same worth", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      yield* state.set(startingValueKey, "2000.5")
      const change = yield* state.injectCapital({ asset: "XRP", amount: 100, priceRlusd: 0.5, sourceNote: "cold" })
      expect(yield* events).toEqual([{ event_type: "deposit", asset: "XRP", amount: 100, delta: 50 }])
      expect(yield* startingValue).toEqual(Option.some("2050.5"))
      expect([change.before.netBasisRlusd, change.after.netBasisRlusd]).toEqual([0, 50])
      expect(change.before.startingValue).toEqual(Option.some("2000.5"))
      expect(change.after).toEqual(yield* state.capital)
    }).pipe(Effect.provide(onSqlite())),
  )

  it.effect("an injection where nothing was counted yet counts from 0", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      yield* state.clear(startingValueKey)
      yield* state.injectCapital({ amount: 250, sourceNote: "bank" })
      yield* state.injectCapital({ amount: 50, sourceNote: "bank" })
      expect(yield* startingValue).toEqual(Option.some("300"))
    }).pipe(Effect.provide(onSqlite())),
  )

  for (const text of ["a lot", " ", "NaN", "Infinity", "1.7e308"]) {
    it.effect(`an injection on a starting value of "${text}" is refused, and neither is changed`, () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        yield* state.set(startingValueKey, text)
        const error = yield* failureOf(state.injectCapital({ amount: 1.7e308, sourceNote: "bank" }))
        expect(error).toMatchObject({ _tag: "CapitalError", field: startingValueKey })
        expect(yield* events).toEqual([])
        expect(yield* startingValue).toEqual(Option.some(text))
      }).pipe(Effect.provide(onSqlite())),
    )
  }

  for (const table of ["engine_state", "capital_events"]) {
    it.effect(`an injection whose write to ${table} fails leaves neither, and the next one is whole`, () =>
      Effect.gen(function* () {
        const state = yield* StateManager
        yield* state.set(startingValueKey, "1000")
        for (const event of ["INSERT", "UPDATE"]) {
          yield* rows(
            `CREATE TRIGGER refuse_${event} BEFORE ${event} ON ${table} BEGIN SELECT RAISE(ABORT, 'forced'); END`,
          )
        }
        const error = yield* failureOf(state.injectCapital({ amount: 250, sourceNote: "bank" }))
        if (!(error instanceof StateError)) throw new Error(`expected a StateError, got ${String(error)}`)
        expect(error.operation).toBe("injectCapital")
        expect(error.message).toContain("forced")
        expect(yield* events).toEqual([])
        expect(yield* startingValue).toEqual(Option.some("1000"))

        yield* rows("DROP TRIGGER refuse_INSERT")
        yield* rows("DROP TRIGGER refuse_UPDATE")
        yield* state.injectCapital({ amount: 250, sourceNote: "bank" })
        expect(yield* events).toHaveLength(1)
        expect(yield* startingValue).toEqual(Option.some("1250"))
      }).pipe(Effect.provide(onSqlite())),
    )
  }

  it.effect("injections at the same time all count, beside one that is refused", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      const amounts = Array.from({ length: 20 }, (_, i) => (i === 7 ? Number.NaN : 1))
      const outcomes = yield* Effect.forEach(
        amounts,
        (amount) => Effect.exit(state.injectCapital({ amount, sourceNote: "bank" })),
        { concurrency: "unbounded" },
      )
      expect(outcomes.filter(Exit.isFailure)).toHaveLength(1)
      expect(yield* state.netBasisRlusd).toBe(19)
      expect(yield* startingValue).toEqual(Option.some("19"))
    }).pipe(Effect.provide(onSqlite())),
  )

  it.effect("the initial basis is stored once, also when it is asked for twice at the same time", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      const changes = yield* Effect.forEach([1000, 2000], (amount) => state.writeInitialBasis({ amount }), {
        concurrency: "unbounded",
      })
      expect(changes.map(({ event }) => Option.isSome(event))).toEqual([true, false])
      expect(
        yield* rows("SELECT event_type, asset, amount, basis_delta_rlusd, source_note FROM capital_events"),
      ).toEqual([
        {
          event_type: "basis_commit",
          asset: "RLUSD",
          amount: 1000,
          basis_delta_rlusd: 1000,
          source_note: "synthetic_initial_basis",
        },
      ])
      expect(yield* startingValue).toEqual(Option.none())
    }).pipe(Effect.provide(onSqlite())),
  )

  it.effect("a deposit with the note of the initial basis is none", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      yield* state.recordCapitalEvent({ ...rlusdIn, sourceNote: "synthetic_initial_basis" })
      expect(Option.isSome((yield* state.writeInitialBasis({ amount: 1000 })).event)).toBe(true)
    }).pipe(Effect.provide(onSqlite())),
  )

  it.effect("is read at one moment: what somebody writes meanwhile is in all figures or in none", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      const inject = Effect.orDie(state.injectCapital({ amount: 1, sourceNote: "bank" }))
      /** Before each statement somebody else injects, and all of that is done when the statement begins. */
      const busy: Statement.Transformer = (statement) =>
        Effect.as(Effect.provideService(inject, Statement.CurrentTransformer, undefined), statement)
      const seen = yield* Effect.provideService(state.capital, Statement.CurrentTransformer, busy)
      expect(seen.netBasisRlusd).toBeGreaterThan(0)
      expect(seen.startingValue).toEqual(Option.some(String(seen.netBasisRlusd)))
    }).pipe(Effect.provide(onSqlite())),
  )

  it.effect("a withdrawal takes profit first, by the basis that is stored", () =>
    Effect.gen(function* () {
      const state = yield* StateManager
      yield* state.writeInitialBasis({ amount: 1000 })
      const sourceNote = "rent"
      const first = yield* state.withdrawCapital({ amount: 150, valueRlusd: 1200, sourceNote })
      expect(first).toEqual({ profit: 150, basisDelta: 0 })
      const second = yield* state.withdrawCapital({
        asset: "XRP",
        amount: 200,
        priceRlusd: 0.5,
        valueRlusd: 1050,
        sourceNote,
      })
      expect(second).toEqual({ profit: 50, basisDelta: -50 })
      expect(yield* events).toEqual([
        { event_type: "basis_commit", asset: "RLUSD", amount: 1000, delta: 1000 },
        { event_type: "withdrawal", asset: "RLUSD", amount: 150, delta: 0 },
        { event_type: "withdrawal", asset: "XRP", amount: 200, delta: -50 },
      ])
      expect(yield* state.netBasisRlusd).toBe(950)
    }).pipe(Effect.provide(onSqlite())),
  )
})

describe("capital in a file of an older program", () => {
  for (const [what, script, netBasisRlusd] of [
    ["without any table", "CREATE TABLE other (a)", 0],
    ["without capital", "CREATE TABLE engine_state (key TEXT PRIMARY KEY, value TEXT)", 0],
    [
      "whose events have no change of the basis",
      "CREATE TABLE capital_events (id INTEGER PRIMARY KEY, amount REAL); INSERT INTO capital_events VALUES (1, 5)",
      0,
    ],
    [
      "whose columns are written in capitals",
      "CREATE TABLE CAPITAL_EVENTS (ID INTEGER PRIMARY KEY, BASIS_DELTA_RLUSD REAL); INSERT INTO CAPITAL_EVENTS VALUES (1, 5)",
      5,
    ],
  ] as const) {
    it.effect(`${what} is read before the schema is up to date as after, and takes an injection`, () =>
      Effect.gen(function* () {
        const file = yield* temporaryFile
        const older = new DatabaseSync(file)
        older.exec(script)
        older.close()
        const database = Layer.provide(Database.layer({ file }), quickDisk)
        yield* Effect.gen(function* () {
          const before = yield* Capital.read(yield* SqlClient.SqlClient)
          expect(before).toEqual({ netBasisRlusd, startingValue: Option.none(), hasInitialBasis: false })
          const state = Layer.build(StateManager.layer())
          const { capital, injectCapital } = yield* Effect.flatMap(state, (context) =>
            Effect.provideContext(StateManager.use(Effect.succeed), context),
          )
          expect(yield* capital).toEqual(before)
          const { after } = yield* injectCapital({ amount: 2.5, sourceNote: "bank" })
          expect(after.netBasisRlusd).toBe(netBasisRlusd + 2.5)
        }).pipe(Effect.provide(database))
      }),
    )
  }
})

describe("the chain of a one-shot script", () => {
  /** How many fibers live beside the one that asks: when the layer is built, and when it has written. */
  const fibersOf = <E>(layer: Layer.Layer<StateManager, E>) => {
    let started = 0
    let ended = 0
    const counted = {
      recordFiberStart: () => {
        started += 1
      },
      recordFiberEnd: () => {
        ended += 1
      },
    }
    const alive = Effect.map(
      Effect.promise(() => new Promise((resolve) => setImmediate(resolve))), // who is about to end, ends
      () => started - ended,
    )
    return Effect.gen(function* () {
      const context = yield* Layer.build(layer)
      const built = yield* alive
      const use = StateManager.use((state) => state.injectCapital({ amount: 1, sourceNote: "bank" }))
      yield* Effect.provideContext(use, context)
      return { built, written: yield* alive }
    }).pipe(Effect.scoped, Effect.provideService(Metric.FiberRuntimeMetrics, counted))
  }
  const database = () => temporaryDatabase({ durability: "full" })

  it.effect("leaves no fiber alive, neither when it is built nor when it has written", () =>
    Effect.gen(function* () {
      const fibers = yield* fibersOf(Layer.provide(StateManager.layer(), database()))
      expect(fibers).toEqual({ built: 0, written: 0 })
    }),
  )

  it.effect("with a guard would: its loop is seen", () =>
    Effect.gen(function* () {
      const guarded = StateManager.layer().pipe(
        Layer.provideMerge(WalGuard.layer({ interval: "60 seconds" })),
        Layer.provide(LatencyWindow.layer()),
        Layer.provide(Checkpointer.layerInline()),
        Layer.provide(database()),
      )
      const fibers = yield* fibersOf(guarded)
      expect(fibers.built).toBeGreaterThan(0)
      expect(fibers.written).toBeGreaterThan(0)
    }),
  )
})
