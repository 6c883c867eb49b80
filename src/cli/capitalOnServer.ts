/** A change of capital in the books of a server. Loaded for that alone, because it needs the driver of PostgreSQL. */
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import type { EngineConfig } from "../engine/EngineConfig.ts"
import { optionsOf } from "../engine/PostgresSession.ts"
import * as Leaders from "../postgres/Leaders.ts"
import * as Leadership from "../postgres/Leadership.ts"
import * as PostgresDatabase from "../postgres/PostgresDatabase.ts"
import { type CapitalPlan, read } from "../state/Capital.ts"
import { stateError } from "../state/StateError.ts"
import * as StateManager from "../state/StateManager.ts"

/** The server, database and schema, without a secret. Fails where no engine was ever started: nothing is made. */
export const where = (config: EngineConfig) =>
  Effect.scoped(Effect.map(Effect.flatten(Leaders.make(optionsOf(config))), (it) => it.where))

/** What the plan would do. */
export const shown = (config: EngineConfig, plan: CapitalPlan) =>
  Effect.gen(function* () {
    const capital = yield* stateError("capital")(read(yield* SqlClient.SqlClient))
    return yield* Effect.fromResult(plan(capital))
  }).pipe(Effect.provide(PostgresDatabase.layer({ ...optionsOf(config), create: false }), { local: true }))

/** No engine leads there meanwhile: it stores the value it knows with each tick, over that of the change. */
export const made = <A, E>(
  config: EngineConfig,
  change: (state: StateManager.StateManager["Service"]) => Effect.Effect<A, E>,
) =>
  Effect.flatMap(StateManager.StateManager, change).pipe(
    Effect.provide(
      StateManager.layer().pipe(
        Layer.provide(PostgresDatabase.layer({ ...optionsOf(config), create: false })),
        Layer.provide(Leadership.layer({ ...optionsOf(config), standby: false })),
      ),
      { local: true },
    ),
  )
