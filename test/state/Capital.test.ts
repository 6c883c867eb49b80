import { DatabaseSync } from "node:sqlite"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Metric, Option } from "effect"
import { SqlClient } from "effect/sql"
import * as Database from "../../src/sqlite/Database.ts"
import * as Capital from "../../src/state/Capital.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import * as LatencyWindow from "../../src/wal/LatencyWindow.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { capitalContract } from "./capitalContract.ts"

/** The state manager, and the client that it shares with the test. */
const onSqlite = () => Layer.provideMerge(StateManager.layer(), TemporaryDatabase.layer())

capitalContract({
  name: "SQLite",
  layer: onSqlite(),
  refuse: (table) =>
    ["INSERT", "UPDATE"].map(
      (event) => `CREATE TRIGGER refuse_${event} BEFORE ${event} ON ${table} BEGIN SELECT RAISE(ABORT, 'forced'); END`,
    ),
  allow: () => ["DROP TRIGGER refuse_INSERT", "DROP TRIGGER refuse_UPDATE"],
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
        const file = yield* TemporaryDatabase.file
        const older = new DatabaseSync(file)
        older.exec(script)
        older.close()
        const database = Layer.provide(Database.layer({ filename: file }), TemporaryDatabase.quickDisk)
        yield* Effect.gen(function* () {
          const before = yield* Capital.read(yield* SqlClient.SqlClient)
          expect(before).toEqual({ netBasisRlusd, startingValue: Option.none(), hasInitialBasis: false })
          const state = Layer.build(StateManager.layer())
          const { capital, injectCapital } = yield* Effect.flatMap(state, (context) =>
            Effect.provideContext(StateManager.StateManager.use(Effect.succeed), context),
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
  const fibersOf = <E>(layer: Layer.Layer<StateManager.StateManager, E>) => {
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
      const use = StateManager.StateManager.use((state) => state.injectCapital({ amount: 1, sourceNote: "bank" }))
      yield* Effect.provideContext(use, context)
      return { built, written: yield* alive }
    }).pipe(Effect.scoped, Effect.provideService(Metric.FiberRuntimeMetrics, counted))
  }
  const database = () => TemporaryDatabase.layer({ durability: "full" })

  // On the real clock: a virtual one has a fiber of its own for each that sleeps.
  it.live("leaves no fiber alive but the one that looks whether the file is replaced, built or written", () =>
    Effect.gen(function* () {
      const fibers = yield* fibersOf(Layer.provide(StateManager.layer(), database()))
      expect(fibers).toEqual({ built: 1, written: 1 })
    }),
  )

  it.live("with a guard would: its loop is seen", () =>
    Effect.gen(function* () {
      const guarded = StateManager.layer().pipe(
        Layer.provideMerge(WalGuard.layer({ interval: "60 seconds" })),
        Layer.provide(LatencyWindow.layer()),
        Layer.provide(Checkpointer.layerInline()),
        Layer.provide(database()),
      )
      const fibers = yield* fibersOf(guarded)
      expect(fibers.built).toBeGreaterThan(1)
      expect(fibers.written).toBeGreaterThan(1)
    }),
  )
})
