/** What a shared connection answers to a statement that it does not run: see `StatementRules`. */
import { Schema } from "effect"
import { SqlError } from "effect/sql"

/** Comes as the cause of an `SqlError`: nothing of the statement has run. */
export class StatementRefused extends Schema.TaggedError<StatementRefused>()("StatementRefused", {
  /** Such as `COMMIT` or `PRAGMA synchronous`. */
  statement: Schema.String,
  advice: Schema.String,
}) {
  override get message() {
    return `${this.statement} was not run: ${this.advice}`
  }
}

/** The failure of the client.
 * @internal
 */
export const toSqlError = (cause: StatementRefused): SqlError.SqlError =>
  new SqlError.SqlError({ reason: new SqlError.UnknownError({ cause, message: cause.message, operation: "execute" }) })
