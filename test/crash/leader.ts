/**
 * An engine on PostgreSQL that is killed, frozen and cut off (`Takeover`): each tick stores one row, and says on standard output that it
 * was acknowledged. It stands by, leads and stands by again, until a signal ends it. With TAKEOVER_RUNNER_PORT it is a runner of a
 * cluster.
 */
import * as NodeClusterSocket from "@effect/platform-node/NodeClusterSocket"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer, Logger, Option } from "effect"
import { MessageStorage, RunnerAddress, ShardingConfig, SqlRunnerStorage } from "effect/cluster"
import * as ClusterEngine from "../../src/cluster/ClusterEngine.ts"
import * as Engine from "../../src/engine/Engine.ts"
import * as EngineConfig from "../../src/engine/EngineConfig.ts"
import * as EngineProgram from "../../src/engine/EngineProgram.ts"
import * as Session from "../../src/engine/Session.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import { table } from "../../src/state/Tables.ts"
import { say } from "./say.ts"

const acts = {
  columns: { id: "INTEGER PRIMARY KEY", epoch: "INTEGER NOT NULL DEFAULT 0", n: "INTEGER NOT NULL DEFAULT 0" },
}

const program = Layer.effect(
  EngineProgram.EngineProgram,
  Effect.gen(function* () {
    const state = yield* StateManager.StateManager
    yield* state.migrate("takeover", { "0001_acts": table("acts", acts.columns) }, { acts })
    let n = 0
    return {
      tick: (epoch: number) =>
        Effect.gen(function* () {
          n += 1
          const own = n
          // Each way of writing has its turn: a transaction, and a statement by itself.
          yield* own % 2 === 0
            ? state.transaction("act", ({ sql }) =>
                Effect.asVoid(sql`INSERT INTO acts ${sql.insert({ epoch, n: own })}`),
              )
            : state.execute("act", "INSERT INTO acts (epoch, n) VALUES ($1, $2)", [epoch, own])
          yield* say(`ack ${epoch} ${own}`)
          return EngineProgram.noHalt
        }),
    }
  }),
)

const config = EngineConfig.load({ source: "the environment", yaml: "", env: process.env })
const optionsOf = (it: EngineConfig.EngineConfig) => ({ config: it, parentSessionId: Option.none<number>(), program })

const cluster = Effect.gen(function* () {
  const port = yield* Config.Port("TAKEOVER_RUNNER_PORT")
  const url = yield* Config.Redacted("SEAWALL_POSTGRES_URL")
  const shardingConfig = {
    ...ClusterEngine.tuned,
    runnerAddress: Option.some(RunnerAddress.make("127.0.0.1", port)),
  }
  const storage = Layer.orDie(SqlRunnerStorage.layer).pipe(Layer.provide(ShardingConfig.layer(shardingConfig)))
  return ClusterEngine.layer(optionsOf(yield* config)).pipe(
    Layer.provide(NodeClusterSocket.layer({ storage: "byo", shardingConfig })),
    Layer.provide(Layer.merge(MessageStorage.layerNoop, storage)),
    Layer.provide(PgClient.layer({ url })),
    Layer.provide(Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)])),
  )
})

if (process.env["TAKEOVER_RUNNER_PORT"] === undefined) {
  Engine.runMain({ session: Layer.unwrap(Effect.map(config, (it) => Session.layerPostgres(optionsOf(it)))) })
} else {
  NodeRuntime.runMain(Effect.andThen(Effect.yieldNow, Layer.launch(Layer.unwrap(cluster))))
}
