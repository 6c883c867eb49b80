/**
 * Whether the tables of a database that have our names are ours: looked at before a schema is brought up to date, which
 * adds columns to what it meets. Reads alone; what is refused stays as it is, the table of migrations too.
 *
 * A table is ours when it has our key, every column of the oldest release, and no column of another program's that must be
 * set. https://www.sqlite.org/lang_createtable.html#rowid
 */
import { Effect, Schema } from "effect"
import type { SqlClient } from "effect/sql"
import { ownNames } from "./Columns.ts"

/** A table as we make it. Names are in lower case, as SQLite ignores theirs. */
export interface OwnTable {
  /** Every column and its definition; the first is the key. */
  readonly columns: Readonly<Record<string, string>>
  /** What even the oldest release has; default all of them. */
  readonly oldest?: ReadonlyArray<string>
  /** The oldest release has at least one of these. */
  readonly oldestOneOf?: ReadonlyArray<string>
}

/** The schema that a program brings up to date. */
interface OwnSchema {
  /** Its name: `Seawall`, or that of a program. */
  readonly owner: string
  /** Its table of migrations. */
  readonly migrationsTable: string
  /** The steps as the loader of migrations wants them: `0001_name`. */
  readonly migrations: Readonly<Record<string, unknown>>
  readonly tables: Readonly<Record<string, OwnTable>>
}

/** A database that is not ours to bring up to date. Nothing of it was changed. */
class SchemaRefused extends Schema.TaggedError<SchemaRefused>()("SchemaRefused", {
  /** `Later`: a later release wrote it. `NotOurs`: another program has a table of this name. */
  reason: Schema.Literals(["Later", "NotOurs"]),
  /** Whose table it should be: Seawall's, or that of a program on top of it. */
  owner: Schema.String,
  table: Schema.String,
  detail: Schema.String,
  /** What holds the tables of one engine. */
  place: Schema.Literals(["file", "schema"]),
}) {
  override get message() {
    return this.reason === "Later"
      ? this.detail
      : `the table ${this.table} is not ${this.owner}'s: ${this.detail}; nothing was changed: use another ${this.place}`
  }
}

const Columns = Schema.Array(
  Schema.Struct({
    table: Schema.String,
    type: Schema.String,
    column: Schema.NullOr(Schema.String),
    definition: Schema.NullOr(Schema.String),
    mustBeSet: Schema.NullOr(Schema.Int),
    pk: Schema.NullOr(Schema.Int),
  }),
)
type Column = (typeof Columns.Type)[number]

const Steps = Schema.Array(Schema.Struct({ id: Schema.Int, name: Schema.String }))

/** What the migrator of Effect makes it of. */
const migrationsTable: OwnTable = {
  columns: { migration_id: "integer PRIMARY KEY NOT NULL", created_at: "datetime", name: "VARCHAR(255) NOT NULL" },
}

const lacking = (columns: ReadonlyArray<string>) =>
  `it lacks the column${columns.length > 1 ? "s" : ""} ${columns.join(", ")}`

/** Why a table is not ours; undefined when it is. */
const strangeness = (
  owner: string,
  { columns, oldest, oldestOneOf }: OwnTable,
  found: ReadonlyArray<Column>,
): string | undefined => {
  const type = found[0]?.type
  if (type !== "table") return `it is ${type === "index" ? "an" : "a"} ${type}`
  const [key = ""] = Object.keys(columns)
  const its = (name: string) => found.find(({ column }) => column === name)
  const missing = (oldest ?? Object.keys(columns)).filter((name) => its(name) === undefined)
  if (its(key) === undefined) return lacking([...new Set([key, ...missing])])
  if (missing.length > 0) return lacking(missing)
  if (oldestOneOf?.every((name) => its(name) === undefined))
    return `${lacking(oldestOneOf.slice(0, 1))} or ${oldestOneOf.slice(1).join(", ")}`
  // SQLite numbers the rows of an INTEGER PRIMARY KEY alone.
  const isNumbered = /^integer primary key/i.test(columns[key] ?? "")
  const keys = found.filter(({ pk }) => pk !== 0).map(({ column }) => column)
  if (isNumbered && (keys.join() !== key || its(key)?.definition !== "integer")) {
    return `its column ${key} is not INTEGER PRIMARY KEY`
  }
  const strange = found.find(({ column, mustBeSet }) => mustBeSet === 1 && !Object.hasOwn(columns, column ?? ""))
  return strange === undefined ? undefined : `its column ${strange.column} must be set, and ${owner} does not know it`
}

const placeOf = (sql: SqlClient.SqlClient) =>
  sql.onDialectOrElse({ pg: () => "schema" as const, orElse: () => "file" as const })

const checkSteps = Effect.fnUntraced(function* (owner: string, table: string, migrations: OwnSchema["migrations"]) {
  const sql = yield* ownNames
  const taken = yield* Effect.flatMap(
    sql`SELECT migration_id AS id, name FROM ${sql(table)} ORDER BY migration_id`,
    Schema.decodeUnknownEffect(Steps),
  )
  const known = new Map(
    Object.keys(migrations).map((step) => [Number.parseInt(step, 10), step.slice(step.indexOf("_") + 1)]),
  )
  const other = taken.find(({ id, name }) => known.has(id) && known.get(id) !== name)
  if (other !== undefined) {
    const detail = `its step ${other.id} is "${other.name}", of another program`
    return yield* new SchemaRefused({ reason: "NotOurs", owner, table, detail, place: placeOf(sql) })
  }
  const newest = taken.at(-1)?.id ?? 0
  const last = Math.max(...known.keys())
  if (newest <= last) return
  const detail = `written by a later version of ${owner} (schema ${newest}, this one knows ${last}): use that version`
  return yield* new SchemaRefused({ reason: "Later", owner, table, detail, place: placeOf(sql) })
})

/** Fails with the first table that is not ours, or when a later release wrote the database. */
export const check = Effect.fnUntraced(function* ({ migrations, owner, tables, ...own }: OwnSchema) {
  const sql = yield* ownNames
  const all = { ...tables, [own.migrationsTable]: migrationsTable }
  const names = Object.keys(all)
  const rows = yield* sql.onDialectOrElse({
    // A number is a BIGINT there, which the check below knows as the integer that it is on SQLite.
    pg: () => sql`SELECT t.relname AS "table",
        CASE t.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view' WHEN 'i' THEN 'index'
          WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' ELSE 'type' END AS type,
        a.attname AS "column",
        CASE WHEN a.atttypid IN (20, 23) THEN 'integer' ELSE format_type(a.atttypid, a.atttypmod) END AS definition,
        CAST(a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND NOT coalesce(a.attnum = ANY(i.indkey), false) AS INTEGER)
          AS "mustBeSet",
        CAST(coalesce(a.attnum = ANY(i.indkey), false) AS INTEGER) AS pk
      FROM pg_class AS t
      LEFT JOIN pg_attribute AS a
        ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND t.relkind IN ('r', 'p')
      LEFT JOIN pg_index AS i ON i.indrelid = t.oid AND i.indisprimary
      WHERE t.relnamespace = CAST(current_schema() AS regnamespace) AND t.relname IN ${sql.in(names)}`,
    orElse: () => sql`SELECT lower(t.name) AS "table",
        CASE WHEN t.sql LIKE 'CREATE VIRTUAL%' THEN 'virtual table' ELSE t.type END AS type,
        lower(c.name) AS "column", lower(c.type) AS definition,
        c."notnull" AND c.dflt_value IS NULL AND c.pk = 0 AS "mustBeSet", c.pk AS pk
      FROM sqlite_schema AS t LEFT JOIN pragma_table_info(CASE WHEN t.type = 'table' THEN t.name END) AS c
      WHERE t.type IN ('table', 'view', 'index') AND lower(t.name) IN ${sql.in(names)}`,
  })
  const found = Map.groupBy(yield* Schema.decodeUnknownEffect(Columns)(rows), ({ table }) => table)
  // A table of a later release may have lost what ours must have: the table of migrations comes first.
  for (const table of [own.migrationsTable, ...Object.keys(tables)]) {
    const its = found.get(table)
    if (its === undefined) continue
    const detail = strangeness(owner, all[table] ?? migrationsTable, its)
    if (detail !== undefined)
      return yield* new SchemaRefused({ reason: "NotOurs", owner, table, detail, place: placeOf(sql) })
    if (table === own.migrationsTable) yield* checkSteps(owner, own.migrationsTable, migrations)
  }
})
