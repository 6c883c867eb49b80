import { describe } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as PostgresDatabase from "../../src/postgres/PostgresDatabase.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import { stateManagerContract } from "../state/stateManagerContract.ts"
import { writerContract } from "../sql/writerContract.ts"
import * as PostgresServer from "../support/PostgresServer.ts"
import * as sharedPostgres from "../support/sharedPostgres.ts"

const database = Layer.unwrap(Effect.map(sharedPostgres.fresh, PostgresDatabase.layer))

describe.skipIf(PostgresServer.missing !== undefined)("on a server", () => {
  writerContract("on PostgreSQL", database)
  stateManagerContract("PostgreSQL", Layer.provide(StateManager.layer(), database))
})
