import { describe, expect, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Duration, Effect, identity, Layer, Option, Ref } from "effect"
import { TestClock } from "effect/testing"
import { SqlClient } from "effect/sql"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import { CheckpointThread } from "../../src/wal/CheckpointThread.ts"
import * as GuardedDatabase from "../../src/wal/GuardedDatabase.ts"
import * as LatencyWindow from "../../src/wal/LatencyWindow.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import { list } from "../support/files.ts"

const inline = (file: string, options: Partial<GuardedDatabase.GuardedDatabaseOptions> = {}) =>
  GuardedDatabase.layer({ filename: file, checkpoints: "inline", maxFrames: 0, ...options }).pipe(
    Layer.provide(TemporaryDatabase.quickDisk),
  )

const write = Effect.fnUntraced(function* (rows: number) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE IF NOT EXISTS t (a)`
  yield* Effect.repeat(sql`INSERT INTO t VALUES (zeroblob(5000))`, { times: rows })
})

describe("a guarded database in one layer", () => {
  it.effect("is checkpointed by interval, and leaves one clean file", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const seen = yield* Effect.gen(function* () {
        yield* write(1)
        yield* TestClock.adjust("60 seconds")
        expect(Option.getOrThrow(yield* WalGuard.WalGuard.use((guard) => guard.last)).outcome).toBe("Complete")
        return LogCapture.LogCapture
      }).pipe(Effect.flatten, Effect.provide(inline(`${folder}/app.db`).pipe(Layer.provideMerge(LogCapture.layer))))
      expect(yield* list(folder)).toEqual(["app.db"])
      expect(yield* Effect.provideService(LogCapture.events, LogCapture.LogCapture, seen)).toEqual([
        "wal_checkpoint started",
        "wal_checkpoint",
        "wal_checkpoint aggregate",
        "wal_checkpoint",
      ])
    }),
  )

  it.effect("checkpoints on a thread unless it is told otherwise", () =>
    Effect.gen(function* () {
      const concurrent = Checkpointer.Checkpointer.use((checkpointer) => checkpointer.concurrent)
      const file = yield* TemporaryDatabase.file
      const thread = Layer.succeed(CheckpointThread, {
        attach: () =>
          Effect.succeed({
            withTurn: identity,
            run: () => Effect.succeedNone,
            lengthen: () => Effect.succeedNone,
            exists: Effect.succeed(true),
            isStarting: Effect.succeed(false),
          }),
      })
      const threaded = GuardedDatabase.layer({ filename: file, interval: 0 }).pipe(
        Layer.provide([TemporaryDatabase.quickDisk, thread]),
      )
      expect(yield* Effect.provide(concurrent, threaded)).toBe(true)
      expect(yield* Effect.provide(concurrent, inline(file))).toBe(false)
    }),
  )

  it.effect("is guarded also in a program that wants whole numbers as bigint", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* Effect.gen(function* () {
        yield* write(1)
        yield* TestClock.adjust("60 seconds")
        expect(Option.getOrThrow(yield* WalGuard.WalGuard.use((guard) => guard.last)).outcome).toBe("Complete")
      }).pipe(Effect.provide(inline(file)), Effect.provideService(SqlClient.SafeIntegers, true))
    }),
  )

  it.effect("takes its options from the configuration", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const layer = GuardedDatabase.layerConfig({
        filename: Config.String("DATABASE"),
        interval: Config.Duration("INTERVAL"),
        checkpoints: Config.succeed("inline"),
      }).pipe(
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ DATABASE: file, INTERVAL: "5 seconds" }))),
      )
      const { interval } = yield* WalGuard.WalGuard.use((guard) => guard.status).pipe(Effect.provide(layer))
      expect(Duration.toSeconds(interval)).toBe(5)
    }),
  )
})

/** How a program has two of them: each behind a tag of its own, all in one `Effect.provide`. */
class Prices extends Context.Service<Prices, Context.Context<GuardedDatabase.Provided>>()("test/Prices") {}
class Orders extends Context.Service<Orders, Context.Context<GuardedDatabase.Provided>>()("test/Orders") {}

describe("two guarded databases in one program", () => {
  it.effect("have nothing in common: neither the connection, nor the checkpoints, nor the latencies", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const all = Effect.context<GuardedDatabase.Provided>()
      yield* Effect.gen(function* () {
        const [prices, orders] = [yield* Prices, yield* Orders]
        yield* Effect.provideContext(write(9), prices)
        yield* Effect.provideContext(write(1), orders)
        yield* TestClock.adjust("60 seconds")
        const frames = (context: typeof prices) =>
          Effect.map(Context.get(context, WalGuard.WalGuard).last, (last) => Option.getOrThrow(last).checkpointedFrames)
        const [long, short] = [yield* frames(prices), yield* frames(orders)]
        expect(long).toBeGreaterThan(short)
        expect(short).toBeGreaterThan(0)
        for (const context of [prices, orders]) {
          expect(yield* Ref.get(Context.get(context, LatencyWindow.LatencyWindow))).toHaveLength(1)
        }
      }).pipe(
        Effect.provide(
          Layer.merge(
            Layer.effect(Prices, all).pipe(Layer.provide(inline(`${folder}/prices.db`))),
            Layer.effect(Orders, all).pipe(Layer.provide(inline(`${folder}/orders.db`))),
          ),
        ),
      )
      expect(yield* list(folder)).toEqual(["orders.db", "prices.db"])
    }),
  )
})

describe("a database that is opened to be read alone", () => {
  it.effect.each(["thread", "inline"] as const)("stays as it is under a guard, its WAL too: %s", (checkpoints) =>
    Effect.gen(function* () {
      const filename = yield* TemporaryDatabase.file
      const owner = yield* Effect.acquireRelease(
        Effect.sync(() => new DatabaseSync(filename)),
        (connection) => Effect.sync(() => connection.close()),
      )
      owner.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
      const bytes = () => [filename, `${filename}-wal`].map((name) => fs.readFileSync(name, "base64"))
      const before = bytes()
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        expect(yield* sql`SELECT a FROM t`).toEqual([{ a: 1 }])
        yield* TestClock.adjust("1 minute")
        const { run } = yield* Checkpointer.Checkpointer
        for (const mode of ["PASSIVE", "TRUNCATE"] as const)
          expect((yield* Effect.exit(run(mode)))._tag).toBe("Failure")
        expect(yield* WalGuard.WalGuard.use(({ last }) => last)).toEqual(Option.none())
        expect(yield* LogCapture.events).toEqual(["wal_checkpoint not started"])
      }).pipe(
        Effect.provide(
          GuardedDatabase.layer({ filename, readonly: true, checkpoints, interval: "1 second" }).pipe(
            Layer.provideMerge(LogCapture.layer),
          ),
        ),
      )
      expect(bytes()).toEqual(before)
    }),
  )
})
