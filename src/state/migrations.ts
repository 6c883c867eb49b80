/**
 * The schema, as numbered steps. Each one may meet a file that an older program made, so it creates what is absent and
 * adds missing columns (SQLite ignores their letter case). A step that was released is never changed; what is new gets the next number.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import * as Columns from "./Columns.ts"
import type { OwnTable } from "./OwnTables.ts"

/** `columns` maps a name to its definition; the first is the primary key, which ALTER TABLE could not add. */
const table = Effect.fnUntraced(function* (name: string, { columns }: OwnTable) {
  const sql = yield* SqlClient.SqlClient
  const all = Object.entries(columns)
  const definitions = all.map(([column, definition]) => `${column} ${definition}`)
  yield* sql.unsafe(`CREATE TABLE IF NOT EXISTS ${name} (${definitions.join(", ")})`)

  const { has } = yield* Columns.read(sql, name)
  for (const [column, definition] of all) {
    if (!has(name, column)) yield* sql.unsafe(`ALTER TABLE ${name} ADD COLUMN ${column} ${definition}`)
  }
})

const index = (kind: "" | "UNIQUE", name: string, on: string) =>
  SqlClient.SqlClient.use((sql) => sql.unsafe(`CREATE ${kind} INDEX IF NOT EXISTS ${name} ON ${on}`))

/** Every table, with what the oldest release had of it: that much is ours to bring up to date (`OwnTables`). */
export const tables = {
  engine_state: {
    columns: { key: "TEXT PRIMARY KEY", value: "TEXT NOT NULL DEFAULT ''" },
  },
  sessions: {
    columns: {
      session_id: "INTEGER PRIMARY KEY AUTOINCREMENT",
      parent_session_id: "INTEGER",
      started_at: "TEXT NOT NULL DEFAULT ''",
      ended_at: "TEXT",
      halt_reason: "TEXT",
      starting_value_rlusd: "REAL",
      ending_value_rlusd: "REAL",
    },
    oldest: ["session_id", "started_at"],
  },
  paper_ticks: {
    columns: {
      tick_id: "INTEGER PRIMARY KEY",
      session_id: "INTEGER NOT NULL DEFAULT 0",
      recorded_at: "TEXT NOT NULL DEFAULT ''",
      bid: "REAL NOT NULL DEFAULT 0",
      ask: "REAL NOT NULL DEFAULT 0",
      xrp: "REAL NOT NULL DEFAULT 0",
      rlusd: "REAL NOT NULL DEFAULT 0",
      value_rlusd: "REAL NOT NULL DEFAULT 0",
    },
  },
  paper_fills: {
    columns: {
      fill_id: "INTEGER PRIMARY KEY",
      tick_id: "INTEGER NOT NULL DEFAULT 0",
      side: "TEXT NOT NULL DEFAULT ''",
      price: "REAL NOT NULL DEFAULT 0",
      xrp: "REAL NOT NULL DEFAULT 0",
      spread_pnl_rlusd: "REAL NOT NULL DEFAULT 0",
    },
  },
  capital_events: {
    columns: {
      id: "INTEGER PRIMARY KEY",
      asset: "TEXT NOT NULL DEFAULT ''",
      event_type: "TEXT NOT NULL DEFAULT ''",
      amount: "REAL NOT NULL DEFAULT 0",
      price_rlusd: "REAL",
      basis_delta_rlusd: "REAL",
      source_note: "TEXT NOT NULL DEFAULT ''",
      created_at: "TEXT NOT NULL DEFAULT ''",
    },
    oldest: ["id"],
    oldestOneOf: ["amount", "basis_delta_rlusd"],
  },
} satisfies Readonly<Record<string, OwnTable>>

export const migrations = {
  "0001_engine_state": Effect.gen(function* () {
    yield* table("engine_state", tables.engine_state)
    // What every write relies on; an older table may have been made without it.
    yield* index("UNIQUE", "engine_state_key", "engine_state (key)")
  }),
  "0002_sessions": table("sessions", tables.sessions),
  "0003_paper": Effect.gen(function* () {
    yield* table("paper_ticks", tables.paper_ticks)
    yield* table("paper_fills", tables.paper_fills)
    yield* index("", "paper_ticks_by_session", "paper_ticks (session_id)")
    yield* index("", "paper_fills_by_tick", "paper_fills (tick_id)")
  }),
  "0004_capital": table("capital_events", tables.capital_events),
}
