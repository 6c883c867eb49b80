import { describe } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as PaperBooks from "../../src/paper/PaperBooks.ts"
import * as PostgresDatabase from "../../src/postgres/PostgresDatabase.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import { paperBooksContract } from "../paper/paperBooksContract.ts"
import * as PostgresServer from "../support/PostgresServer.ts"
import * as sharedPostgres from "../support/sharedPostgres.ts"

const database = Layer.unwrap(Effect.map(sharedPostgres.fresh, PostgresDatabase.layer))

describe.skipIf(PostgresServer.missing !== undefined)("on a server", () => {
  paperBooksContract(
    "PostgreSQL",
    PaperBooks.layer().pipe(Layer.provideMerge(StateManager.layer()), Layer.provideMerge(database)),
  )
})
