/** The number of the next session, where the store does not count by itself. */
import { Effect, Option } from "effect"
import type { SqlClient } from "effect/sql"
import { leaderTable } from "../postgres/LeaderRow.ts"

/**
 * None on SQLite, whose key counts. On PostgreSQL the row of the leader does, which is the fence: who led before is superseded.
 * Inside a transaction.
 */
export const next = (sql: SqlClient.SqlClient) =>
  sql.onDialectOrElse({
    pg: () =>
      Effect.map(
        sql`UPDATE ${sql(leaderTable)} SET session_id = session_id + 1 RETURNING CAST(session_id AS FLOAT8) AS next`,
        ([row]) => Option.some(Number(row?.["next"])),
      ),
    orElse: () => Effect.succeedNone as Effect.Effect<Option.Option<number>, never>,
  })
