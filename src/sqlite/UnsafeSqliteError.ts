/** Why a second connection was refused: https://www.sqlite.org/wal.html#walresetbug */
import { Schema } from "effect"
import { advice, bugOf } from "./SqliteVersion.ts"

/** A second connection was refused, because this SQLite could corrupt the database with it. One alone is safe. */
export class UnsafeSqliteError extends Schema.TaggedError<UnsafeSqliteError>()("UnsafeSqliteError", {
  version: Schema.String,
}) {
  override get message() {
    return `${bugOf(this.version)}; checkpoint inline, or ${advice}`
  }
}
