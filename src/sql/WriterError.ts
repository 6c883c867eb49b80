/** Why a write did not become what its caller was to be told. */
import { Schema } from "effect"
import type { SqlError } from "effect/sql"
import type { DurabilityError } from "./Durability.ts"

/** A write that was not taken. */
export class WriterError extends Schema.TaggedError<WriterError>()("WriterError", {
  /**
   * - `Closed`: the program is shutting down, and the WAL is about to be emptied.
   * - `InsideTransaction`: asked for by a fiber inside a transaction, which would wait for itself. Use `sql` there.
   * - `NotAWrite`: a PRAGMA, ATTACH, DETACH or VACUUM, which would change the batch of others.
   * - `TransactionControl`: a statement that begins, ends or nests a transaction, which would be that of others, too.
   */
  reason: Schema.Literals(["Closed", "InsideTransaction", "NotAWrite", "TransactionControl"]),
}) {
  override get message() {
    switch (this.reason) {
      case "Closed":
        return "the write was not taken: the database is closing"
      case "InsideTransaction":
        return "the write was not taken: this fiber is inside a transaction; use the SqlClient there"
      case "NotAWrite":
        return "the write was not taken: PRAGMA, ATTACH, DETACH and VACUUM are for the SqlClient"
      case "TransactionControl":
        return "the write was not taken: it would end the transaction of other callers; use Writer.transaction, or sql.reserve"
    }
  }
}

/** Why a write failed: the statement or the commit, the sync (then it may be there anyway), or it was not taken. */
export type WriteFailure = SqlError.SqlError | DurabilityError | WriterError
