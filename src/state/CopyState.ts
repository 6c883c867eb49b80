/**
 * Moves the memory of an engine from one store to another, row by row: the tables that are named, and the number that the next
 * session gets.
 *
 * All of it is one transaction of the target, whose tables must be there and empty. Each row is read back and compared before that
 * commits; what differs, or cannot be stored, leaves the target as it was. The source is read at one moment, and only read.
 */
import { Array as Arr, Effect, Schema } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { leaderTable } from "../postgres/LeaderRow.ts"
import type { Row, Writer } from "../sql/Writer.ts"
import * as Columns from "./Columns.ts"
import type { OwnTable } from "./OwnTables.ts"

/** A copy that was refused or given up; the target is as it was. */
export class CopyError extends Schema.TaggedError<CopyError>()("CopyError", {
  /** `NotEmpty`: the target has rows already. `Differs`: what was read back is not what was stored. */
  reason: Schema.Literals(["NotEmpty", "Differs"]),
  table: Schema.String,
  detail: Schema.String,
}) {
  override get message() {
    return this.reason === "NotEmpty"
      ? `the table ${this.table} of the target has ${this.detail} already; nothing was copied: use an empty schema`
      : `the table ${this.table} would not be the same (${this.detail}); nothing was copied`
  }
}

/** How many rows of a table there are. */
interface Counted {
  readonly table: string
  readonly rows: number
}

type Tables = Readonly<Record<string, OwnTable>>

/** At once; each is a few thousand parameters at most. */
const pageSize = 500

const countIn = (sql: SqlClient.SqlClient, table: string) =>
  Effect.map(sql`SELECT count(*) AS n FROM ${sql(table)}`, ([row]) => Number(row?.["n"] ?? 0))

/** What there is of these tables: those that are missing are left out. */
export const count = (client: SqlClient.SqlClient, tables: Tables) =>
  Effect.gen(function* () {
    const sql = client.withoutTransforms()
    const { has } = yield* Columns.read(sql, ...Object.keys(tables))
    const present = Object.keys(tables).filter((table) => has(table))
    return yield* Effect.forEach(present, (table) =>
      Effect.map(countIn(sql, table), (rows): Counted => ({ table, rows })),
    )
  }).pipe(Columns.ownNumbers)

/** The rows of a table after a key, in the order of its bytes. */
const pageAfter = (
  sql: SqlClient.SqlClient,
  { columns, key, table }: { readonly table: string; readonly key: string; readonly columns: ReadonlyArray<string> },
  last: unknown,
): Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError> => {
  const isText = typeof last === "string" || key === "key"
  const name = isText
    ? sql.onDialectOrElse({ pg: () => sql`${sql(key)} COLLATE "C"`, orElse: () => sql`${sql(key)}` })
    : sql`${sql(key)}`
  const after = last === undefined ? sql`1 = 1` : sql`${name} > ${last}`
  const list = sql.csv(columns.map((column) => sql`${sql(column)}`))
  return sql`SELECT ${list} FROM ${sql(table)} WHERE ${after} ORDER BY ${name} LIMIT ${sql.literal(String(pageSize))}`
}

const copyTable = Effect.fnUntraced(function* (
  from: SqlClient.SqlClient,
  to: SqlClient.SqlClient,
  table: string,
  { columns: own }: OwnTable,
  has: Columns.Columns["has"],
) {
  const existing = yield* countIn(to, table)
  if (existing > 0) return yield* new CopyError({ reason: "NotEmpty", table, detail: `${existing} rows` })
  const [key = ""] = Object.keys(own)
  const columns = Object.keys(own).filter((column) => has(table, column))
  const place = { table, key, columns }
  const differs = (detail: string) => new CopyError({ reason: "Differs", table, detail })
  let copied = 0
  let last: unknown
  for (;;) {
    const rows = yield* pageAfter(from, place, last)
    if (!Arr.isReadonlyArrayNonEmpty(rows)) break
    yield* to`INSERT INTO ${to(table)} ${to.insert(Arr.map(rows, (row) => ({ ...row })))}`
    const found = yield* pageAfter(to, place, last)
    for (const [index, row] of rows.entries()) {
      const column = columns.find((name) => !Object.is(row[name], found[index]?.[name]))
      if (column !== undefined) return yield* differs(`${column} of ${key} ${String(row[key])}`)
    }
    copied += rows.length
    last = rows.at(-1)?.[key]
  }
  const [target, source] = yield* Effect.all([countIn(to, table), countIn(from, table)])
  if (target !== source || target !== copied) return yield* differs(`${source} rows, and ${target} there`)
  if (/^INTEGER PRIMARY KEY/i.test(own[key] ?? "") && typeof last === "number") {
    yield* to`SELECT setval(pg_get_serial_sequence(${table}, ${key}), ${last})`
  }
  return { table, rows: copied } satisfies Counted
})

/** The file, and the server it is copied to. */
interface CopyOptions {
  /** The client of a SQLite file. */
  readonly from: SqlClient.SqlClient
  /** Those of a schema of PostgreSQL, with these tables. */
  readonly to: SqlClient.SqlClient
  readonly writer: Writer["Service"]
  readonly tables: Tables
}

/** Copies them, and answers how many rows each had. */
export const copy = ({ from: source, tables, to: target, writer }: CopyOptions) => {
  const [from, to] = [source.withoutTransforms(), target.withoutTransforms()]
  return from
    .withTransaction(
      Effect.gen(function* () {
        const { has } = yield* Columns.read(from, ...Object.keys(tables))
        return yield* writer.transaction(
          Effect.gen(function* () {
            const all = yield* Effect.forEach(
              Object.entries(tables).filter(([table]) => has(table)),
              ([table, own]) => copyTable(from, to, table, own, has),
            )
            // The next session counts on from the last one.
            yield* to`UPDATE ${to(leaderTable)} SET session_id =
              (SELECT GREATEST(${to(leaderTable)}.session_id, coalesce(max(s.session_id), 0)) FROM sessions AS s)`
            return all
          }),
        )
      }),
    )
    .pipe(Columns.ownNumbers, Effect.withSpan("CopyState.copy"))
}
