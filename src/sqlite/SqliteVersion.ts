/**
 * Which versions of SQLite may have two connections that write and checkpoint at the same time.
 *
 * From 3.7.0 to 3.51.2 a reset of the log in the same instant can corrupt the database. Fixed in 3.51.3 and in the
 * backports 3.50.7 and 3.44.6. A single connection cannot meet it. https://www.sqlite.org/wal.html#walresetbug
 */
import { Schema } from "effect"

/** What to tell somebody who has an unsafe version. */
export const safeVersions = "3.51.3 or later, 3.50.7 or later in 3.50, 3.44.6 or later in 3.44 (Node 24.15.0, 25.9.0)"

/** `Withdrawn`: holds the fix, but was withdrawn by its makers for other reasons. */
export type Verdict = "Safe" | "Withdrawn" | "Unsafe"

export const verdict = (version: string): Verdict => {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number)
  if (major !== 3) return major > 3 ? "Safe" : "Unsafe"
  if (minor === 52 && patch === 0) return "Withdrawn"
  const fixed =
    minor > 51 || (minor === 51 && patch >= 3) || (minor === 50 && patch >= 7) || (minor === 44 && patch >= 6)
  return fixed ? "Safe" : "Unsafe"
}

/** Whether `wal_checkpoint(NOOP)` exists, from 3.51.0 on; before that, an unknown word silently runs PASSIVE. */
export const hasNoop = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  return major > 3 || (major === 3 && minor >= 51)
}

/** A second connection was refused, because this SQLite could corrupt the database with it. One alone is safe. */
export class UnsafeSqliteError extends Schema.TaggedError<UnsafeSqliteError>()("UnsafeSqliteError", {
  version: Schema.String,
}) {
  override get message() {
    return `SQLite ${this.version} can corrupt a database that a second connection checkpoints; use ${safeVersions}, or checkpoint inline`
  }
}
