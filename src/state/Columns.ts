/**
 * Which columns the tables of a database have that may be of any program: an engine, an older one, or none.
 *
 * Only real tables: what a view costs is not known beforehand. Names are in lower case here, as SQLite ignores theirs. On
 * PostgreSQL it looks into the first schema of the search path.
 * https://www.sqlite.org/pragma.html#pragma_table_info
 */
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql"

const Rows = Schema.Array(Schema.Struct({ table: Schema.String, column: Schema.String, pk: Schema.Int }))

export interface Columns {
  /** Whether the table is there, with all of these columns. */
  readonly has: (table: string, ...columns: ReadonlyArray<string>) => boolean
  /** Whether a row is found at once by this column alone, or by this one first. */
  readonly isKeyedBy: (table: string, column: string) => boolean
}

/** A number is one to Seawall, whatever the program around it wants of its own statements. */
export const ownNumbers = Effect.provideService(SqlClient.SafeIntegers, false)

/** The client in the context, for statements of Seawall's own: it takes names as they stand, whatever the program's own become. */
export const ownNames = SqlClient.SqlClient.use((sql) => Effect.succeed(sql.withoutTransforms()))

/** The columns of these tables, as far as they exist. */
export const read = Effect.fnUntraced(function* (client: SqlClient.SqlClient, ...tables: ReadonlyArray<string>) {
  const sql = client.withoutTransforms()
  const rows = yield* sql.onDialectOrElse({
    pg: () => sql`SELECT t.relname AS "table", a.attname AS "column",
        CAST(coalesce(i.indkey[0] = a.attnum, false) AS INTEGER) AS pk
      FROM pg_class AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
      LEFT JOIN pg_index AS i ON i.indrelid = t.oid AND i.indisprimary
      WHERE t.relkind IN ('r', 'p') AND t.relnamespace = CAST(current_schema() AS regnamespace)
        AND t.relname IN ${sql.in(tables)}`,
    orElse: () => sql`SELECT lower(t.name) AS "table", lower(c.name) AS "column", c.pk AS pk
      FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c
      WHERE t.type = 'table' AND lower(t.name) IN ${sql.in(tables)}`,
  })
  const all = yield* Schema.decodeUnknownEffect(Rows)(rows)
  const find = (table: string, column: string) => all.find((it) => it.table === table && it.column === column)
  return {
    has: (table, ...columns) => columns.every((column) => find(table, column) !== undefined),
    isKeyedBy: (table, column) => find(table, column)?.pk === 1,
  } satisfies Columns
}, ownNumbers)
