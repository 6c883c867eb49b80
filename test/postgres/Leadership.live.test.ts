import { describe } from "@effect/vitest"
import { Effect } from "effect"
import * as Leadership from "../../src/postgres/Leadership.ts"
import { leaseContract } from "../lease/leaseContract.ts"
import * as PostgresServer from "../support/PostgresServer.ts"
import * as sharedPostgres from "../support/sharedPostgres.ts"

describe.skipIf(PostgresServer.missing !== undefined)("on a server", () => {
  leaseContract(
    "in PostgreSQL",
    Effect.map(sharedPostgres.fresh, (options) => () => Leadership.layer({ ...options, standby: false })),
  )
})
