/**
 * Which columns the tables of a database have that may be of any program: an engine, an older one, or none.
 *
 * Only real tables: what a view costs is not known beforehand. Names are in lower case here, as SQLite ignores theirs.
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

/** The client in reach, for statements of Seawall's own: it takes names as they stand, whatever the program's own become. */
export const ownNames = SqlClient.SqlClient.use((sql) => Effect.succeed(sql.withoutTransforms()))

/** Of these tables, as far as they are there. */
export const read = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, ...tables: ReadonlyArray<string>) {
  const rows = yield* sql.withoutTransforms().unsafe(
    `SELECT lower(t.name) AS "table", lower(c.name) AS "column", c.pk AS pk
     FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c
     WHERE t.type = 'table' AND lower(t.name) IN (${tables.map(() => "?").join(", ")})`,
    tables,
  )
  const all = yield* Schema.decodeUnknownEffect(Rows)(rows)
  const find = (table: string, column: string) => all.find((it) => it.table === table && it.column === column)
  return {
    has: (table, ...columns) => columns.every((column) => find(table, column) !== undefined),
    isKeyedBy: (table, column) => find(table, column)?.pk === 1,
  } satisfies Columns
}, ownNumbers)
