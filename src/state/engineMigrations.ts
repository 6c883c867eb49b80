/**
 * The schema of an engine, as numbered steps. Each one may meet a file that an older program made. Number 3 made the tables
 * of paper trading once, which are `PaperBooks`' now, and is not used again.
 */
import { Effect } from "effect"
import type { Migrations } from "./Migrations.ts"
import type { OwnTable } from "./OwnTables.ts"
import { index, table } from "./Tables.ts"

/** Every table, with what the oldest release had of it: that much is ours to bring up to date (`OwnTables`). */
export const engineTables = {
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

export const engineMigrations: Migrations = {
  "0001_engine_state": Effect.gen(function* () {
    yield* table("engine_state", engineTables.engine_state.columns)
    // What every write relies on; an older table may have been made without it.
    yield* index({ name: "engine_state_key", on: "engine_state (key)", unique: true })
  }),
  "0002_sessions": table("sessions", engineTables.sessions.columns),
  "0004_capital": table("capital_events", engineTables.capital_events.columns),
}
