/**
 * Orders from an engine that runs on one machine of a cluster. Each order is stored before it is sent: a machine that no longer
 * leads is refused by the store, and sends nothing. One that was stored and perhaps not sent is sent again by the next leader,
 * under the same number, by which the exchange knows it.
 *
 * On two machines or more: `SEAWALL_POSTGRES_URL=postgres://... RUNNER_HOST=10.0.0.1 RUNNER_PORT=34431 node main.ts`
 */
import * as NodeClusterSocket from "@effect/platform-node/NodeClusterSocket"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, FileSystem, Layer, Option, Schema } from "effect"
import { MessageStorage, RunnerAddress, ShardingConfig, SqlRunnerStorage } from "effect/cluster"
import { ClusterEngine } from "seawall/cluster"
import { EngineConfig, EngineProgram, StateManager, Tables } from "seawall/engine"

const columns = {
  order_id: "INTEGER PRIMARY KEY",
  amount: "REAL NOT NULL DEFAULT 0",
  sent: "INTEGER NOT NULL DEFAULT 0",
}

const Orders = Schema.Array(Schema.Struct({ order_id: Schema.FiniteFromString, amount: Schema.Finite }))

/** Stands for an exchange: a file with a line an order. */
const exchange = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const file = yield* Config.String("EXCHANGE_FILE").pipe(Config.withDefault("exchange.log"))
  return {
    send: (id: number, amount: number) => fs.writeFileString(file, `${id} ${amount}\n`, { flag: "a" }),
  }
})

const program = Layer.effect(
  EngineProgram.EngineProgram,
  Effect.gen(function* () {
    const state = yield* StateManager.StateManager
    const { send } = yield* exchange
    yield* state.migrate("orders", { "0001_orders": Tables.table("orders", columns) }, { orders: { columns } })

    /** Fenced: after another machine leads, this fails, and nothing below it runs. */
    const place = (amount: number) =>
      state.transaction("place order", ({ sql }) =>
        Effect.gen(function* () {
          yield* sql`INSERT INTO orders ${sql.insert({ amount })}`
          const open =
            yield* sql`SELECT CAST(order_id AS TEXT) AS order_id, amount FROM orders WHERE sent = 0 ORDER BY order_id`
          return yield* Schema.decodeUnknownEffect(Orders)(open)
        }),
      )

    return {
      tick: () =>
        Effect.gen(function* () {
          for (const order of yield* place(1.5)) {
            yield* send(order.order_id, order.amount)
            yield* state.execute("note sent", "UPDATE orders SET sent = 1 WHERE order_id = $1", [order.order_id])
          }
          return EngineProgram.noHalt
        }),
    }
  }),
).pipe(Layer.provide(NodeFileSystem.layer))

const runner = Effect.gen(function* () {
  const config = yield* EngineConfig.load({ source: "the environment", yaml: "", env: process.env })
  const host = yield* Config.String("RUNNER_HOST").pipe(Config.withDefault("127.0.0.1"))
  const port = yield* Config.Port("RUNNER_PORT").pipe(Config.withDefault(34_431))
  const shardingConfig = { ...ClusterEngine.tuned, runnerAddress: Option.some(RunnerAddress.make(host, port)) }
  const runners = SqlRunnerStorage.layer.pipe(
    Layer.provide(ShardingConfig.layer(shardingConfig)),
    Layer.provide(PgClient.layer({ url: yield* Config.Redacted("SEAWALL_POSTGRES_URL") })),
  )
  return ClusterEngine.layer({ config, parentSessionId: Option.none(), program }).pipe(
    Layer.provide(NodeClusterSocket.layer({ storage: "byo", shardingConfig })),
    Layer.provide(Layer.merge(MessageStorage.layerNoop, runners)),
  )
})

NodeRuntime.runMain(Layer.launch(Layer.unwrap(runner)))
