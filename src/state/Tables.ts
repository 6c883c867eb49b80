/**
 * Tables of SQLite that are created where they are absent, and otherwise completed: for steps of `StateManager.migrate`,
 * each of which may meet a file that an older program made. Names and definitions are constants of a program, not input.
 * https://www.sqlite.org/lang_altertable.html
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import * as Columns from "./Columns.ts"

/**
 * A table, and those of its columns that are missing (SQLite ignores the letter case of their names). `columns` maps a name
 * to its definition; the first is the primary key, which ALTER TABLE could not add.
 */
export const table = Effect.fnUntraced(function* (name: string, columns: Readonly<Record<string, string>>) {
  const sql = yield* SqlClient.SqlClient
  const all = Object.entries(columns)
  const definitions = all.map(([column, definition]) => `${column} ${definition}`)
  yield* sql.unsafe(`CREATE TABLE IF NOT EXISTS ${name} (${definitions.join(", ")})`)

  const { has } = yield* Columns.read(sql, name)
  for (const [column, definition] of all) {
    if (!has(name, column)) yield* sql.unsafe(`ALTER TABLE ${name} ADD COLUMN ${column} ${definition}`)
  }
})

/** An index of SQLite. */
export interface IndexOptions {
  readonly name: string
  /** The table and its columns: `"ticks (session_id)"`. */
  readonly on: string
  /** Whether no two rows may be the same there; default false. */
  readonly unique?: boolean
}

/** An index on columns of a table: `index({ name: "ticks_by_session", on: "ticks (session_id)" })`. */
export const index = ({ name, on, unique = false }: IndexOptions) => {
  const kind = unique ? "UNIQUE INDEX" : "INDEX"
  return Effect.asVoid(SqlClient.SqlClient.use((sql) => sql.unsafe(`CREATE ${kind} IF NOT EXISTS ${name} ON ${on}`)))
}
