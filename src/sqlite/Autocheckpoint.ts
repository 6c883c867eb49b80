/**
 * How many pages of WAL make SQLite checkpoint by itself, at the end of the commit that reaches them; 0 = never.
 * https://www.sqlite.org/pragma.html#pragma_wal_autocheckpoint
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { Trusted } from "./StatementRules.ts"

/** Sets it for the connection of this client, and returns what it was. By position: a client may rename its columns. */
export const set = (sql: SqlClient.SqlClient) =>
  Effect.fnUntraced(
    function* (pages: number) {
      const [before] = yield* sql.unsafe("PRAGMA wal_autocheckpoint").values
      yield* sql.unsafe(`PRAGMA wal_autocheckpoint = ${pages}`)
      return Number(before?.[0])
    },
    Effect.provideService(Trusted, true),
    Effect.withTracerEnabled(false),
  )
