/**
 * The one row that every write of an engine locks first, and that says who leads: the fence.
 *
 * Its number is that of the session which leads, the epoch. A connection carries the epoch of its engine as a setting of its
 * session, so it can never write under a later one; a trigger on every table of the schema compares the two, inside the
 * transaction that writes. A command carries none: it waits for the row, and does not compare.
 * Isolation alone would not do: of 19 deposits at once at READ COMMITTED, 17 were lost.
 * https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-ROWS
 */
import { Effect } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { supersededState } from "./SqlState.ts"

/** The table of the row. */
export const leaderTable = "engine_leader"

/** The setting of a session that has the epoch; absent for a command. */
export const epochSetting = "seawall.epoch"

/** Locks the row until the transaction ends, and fails with `SW001` under an epoch that is over. */
export const fence = `SELECT seawall_fence()`

/** One at a time: a schema is made by many that start at once. Not the lock of the lease, which its leader holds meanwhile. */
const schemaLock = "SELECT pg_advisory_xact_lock(1936027501, hashtext(current_setting('search_path')))"

const statements = (schema: string): ReadonlyArray<string> => [
  `CREATE SCHEMA IF NOT EXISTS "${schema}"`,
  `CREATE TABLE "${schema}".${leaderTable} (
     one BOOLEAN PRIMARY KEY DEFAULT true CHECK (one),
     session_id BIGINT NOT NULL DEFAULT 0,
     backend INTEGER,
     pid BIGINT,
     command TEXT,
     host TEXT,
     since TEXT
   )`,
  `INSERT INTO "${schema}".${leaderTable} DEFAULT VALUES`,
  `CREATE FUNCTION "${schema}".seawall_fence() RETURNS BIGINT LANGUAGE plpgsql AS $fence$
   DECLARE
     led BIGINT;
     own TEXT := current_setting('${epochSetting}', true);
   BEGIN
     SELECT session_id INTO STRICT led FROM "${schema}".${leaderTable} FOR UPDATE;
     IF own <> '' AND CAST(own AS BIGINT) <> led THEN
       RAISE EXCEPTION 'session % leads since, and this is session %', led, own USING ERRCODE = '${supersededState}';
     END IF;
     RETURN led;
   END $fence$`,
  `CREATE FUNCTION "${schema}".seawall_fence_writes() RETURNS TRIGGER LANGUAGE plpgsql AS $fence$
   BEGIN
     PERFORM "${schema}".seawall_fence();
     RETURN NULL;
   END $fence$`,
]

/** Whether an engine was ever started there. By the rows of the catalog: what looks names up remembers those that were not there. */
export const isThere = (sql: SqlClient.SqlClient, schema: string): Effect.Effect<boolean, SqlError.SqlError> =>
  Effect.map(
    sql`SELECT t.oid FROM pg_class AS t JOIN pg_namespace AS n ON n.oid = t.relnamespace
      WHERE n.nspname = ${schema} AND t.relname = ${leaderTable}`,
    (rows) => rows.length > 0,
  )

/** Makes the schema with its row and its fence where they are missing. */
export const make = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, schema: string) {
  if (yield* isThere(sql, schema)) return
  yield* sql.withTransaction(
    Effect.gen(function* () {
      yield* sql.unsafe(schemaLock)
      if (yield* isThere(sql, schema)) return
      for (const statement of statements(schema)) yield* sql.unsafe(statement)
    }),
  )
})

const unfenced = `SELECT t.relname AS name FROM pg_class AS t
  WHERE t.relnamespace = CAST(current_schema() AS regnamespace) AND t.relkind IN ('r', 'p')
    AND t.relname <> '${leaderTable}'
    AND NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = t.oid AND g.tgname = 'seawall_fence')`

/** Puts the fence around every table of the schema that has none. */
export const fenceTables = Effect.fnUntraced(function* (sql: SqlClient.SqlClient) {
  if ((yield* sql.unsafe(unfenced)).length === 0) return
  yield* sql.withTransaction(
    Effect.gen(function* () {
      yield* sql.unsafe(schemaLock)
      for (const { name } of yield* sql.unsafe<{ readonly name: string }>(unfenced)) {
        yield* sql`CREATE TRIGGER seawall_fence BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ${sql(name)}
          FOR EACH STATEMENT EXECUTE FUNCTION seawall_fence_writes()`
      }
    }),
  )
})
