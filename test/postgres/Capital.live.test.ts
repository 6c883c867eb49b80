import { describe } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as PostgresDatabase from "../../src/postgres/PostgresDatabase.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import { capitalContract } from "../state/capitalContract.ts"
import * as PostgresServer from "../support/PostgresServer.ts"
import * as sharedPostgres from "../support/sharedPostgres.ts"

const database = Layer.unwrap(Effect.map(sharedPostgres.fresh, PostgresDatabase.layer))

describe.skipIf(PostgresServer.missing !== undefined)("on a server", () => {
  capitalContract({
    name: "PostgreSQL",
    layer: Layer.provideMerge(StateManager.layer(), database),
    refuse: (table) => [
      `CREATE FUNCTION refuse() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'forced'; END $$`,
      `CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON ${table} FOR EACH ROW EXECUTE FUNCTION refuse()`,
    ],
    allow: (table) => [`DROP TRIGGER refuse ON ${table}`],
  })
})
