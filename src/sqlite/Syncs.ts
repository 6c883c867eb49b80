/** What a `Durability` means for a connection to SQLite, and for the `Writer` on it. */
import type { Durability } from "../sql/Durability.ts"

/** What a choice means for those who commit. */
export interface Syncs {
  /** The level of the connection, as its name and as SQLite reads it back. https://www.sqlite.org/pragma.html#pragma_synchronous */
  readonly synchronous: { readonly name: string; readonly value: number }
  /** A statement that commits returns when the WAL is synced. */
  readonly byConnection: boolean
  /** The `Writer` commits without that, and syncs the WAL itself before it acknowledges. */
  readonly byWriter: boolean
}

export const syncsOf: Readonly<Record<Durability, Syncs>> = {
  durable: { synchronous: { name: "FULL", value: 2 }, byConnection: true, byWriter: true },
  full: { synchronous: { name: "FULL", value: 2 }, byConnection: true, byWriter: false },
  normal: { synchronous: { name: "NORMAL", value: 1 }, byConnection: false, byWriter: false },
}
