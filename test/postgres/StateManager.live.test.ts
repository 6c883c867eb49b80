import { Effect, Layer, Redacted } from "effect"
import { randomUUID } from "node:crypto"
import * as PostgresDatabase from "../../src/postgres/PostgresDatabase.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import { stateManagerContract } from "../state/stateManagerContract.ts"

const url = Redacted.make(process.env["SEAWALL_TEST_POSTGRES_URL"] ?? "postgres://postgres@127.0.0.1:54999/postgres")
const fresh = Layer.unwrap(
  Effect.sync(() => PostgresDatabase.layer({ url, schema: `t_${randomUUID().replaceAll("-", "").slice(0, 12)}` })),
)
stateManagerContract("PostgreSQL", Layer.provide(StateManager.layer(), fresh))
