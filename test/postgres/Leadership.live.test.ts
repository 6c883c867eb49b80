import { Effect, Redacted } from "effect"
import { randomUUID } from "node:crypto"
import * as Leadership from "../../src/postgres/Leadership.ts"
import { leaseContract } from "../lease/leaseContract.ts"

const url = Redacted.make(process.env["SEAWALL_TEST_POSTGRES_URL"] ?? "postgres://postgres@127.0.0.1:54999/postgres")
const schema = () => `t_${randomUUID().replaceAll("-", "").slice(0, 12)}`

leaseContract(
  "in PostgreSQL",
  Effect.sync(() => {
    const own = schema()
    return () => Leadership.layer({ url, schema: own, standby: false })
  }),
)
