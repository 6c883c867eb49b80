/**
 * An engine on PostgreSQL that is killed, frozen and cut off (`Takeover`): each tick stores one row, and says on standard output that it
 * was acknowledged. It stands by, leads and stands by again, until a signal ends it.
 */
import { Effect, Layer, Option } from "effect"
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
          yield* state.transaction("act", ({ sql }) =>
            Effect.asVoid(sql`INSERT INTO acts ${sql.insert({ epoch, n: own })}`),
          )
          yield* say(`ack ${epoch} ${own}`)
          return EngineProgram.noHalt
        }),
    }
  }),
)

const session = Layer.unwrap(
  Effect.map(EngineConfig.load({ source: "the environment", yaml: "", env: process.env }), (config) =>
    Session.layerPostgres({ config, parentSessionId: Option.none(), program }),
  ),
)

Engine.runMain({ session })
