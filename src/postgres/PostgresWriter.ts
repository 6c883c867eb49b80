/**
 * The `Writer` of PostgreSQL: one write at a time, in the order of asking, each of them a transaction that holds the leader's row.
 *
 * A statement is fenced by the trigger of the table that it writes, so it takes one round trip; a transaction locks the row
 * before it reads. What this does not do: repeat a write. Where the connection is lost at its COMMIT it may have happened.
 */
import { Effect, Exit, Option, Ref, Semaphore } from "effect"
import { SqlError, type SqlClient } from "effect/sql"
import { type Row, Writer } from "../sql/Writer.ts"
import { type WriteFailure, WriterError } from "../sql/WriterError.ts"
import { copyOfBytes } from "../sqlite/Parameters.ts"
import { fence } from "./LeaderRow.ts"
import { isControl } from "./TransactionControl.ts"

/** A ROLLBACK that fails, because the server has gone, is a defect of the client. */
const asFailure = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError.SqlError, R> =>
  Effect.catchDefect(self, (defect) => (SqlError.isSqlError(defect) ? Effect.fail(defect) : Effect.die(defect)))

const refuse = (reason: WriterError["reason"]) => Exit.fail(new WriterError({ reason }))

/** The writer, and what makes it take nothing more. */
export const make = Effect.fnUntraced(function* (sql: SqlClient.SqlClient) {
  const turn = yield* Semaphore.make(1)
  const isClosed = yield* Ref.make(false)

  const inTurn = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | WriteFailure, R> => {
    const unlessClosed = Effect.flatMap(Ref.get(isClosed), (closed): Effect.Effect<A, E | WriteFailure, R> =>
      closed ? refuse("Closed") : asFailure(self),
    )
    return Effect.flatMap(
      Effect.serviceOption(sql.transactionService),
      (inside): Effect.Effect<A, E | WriteFailure, R> =>
        Option.isSome(inside) ? refuse("InsideTransaction") : turn.withPermit(unlessClosed),
    )
  }

  const execute = <A extends object = Row>(text: string, params: ReadonlyArray<unknown> = []) =>
    Effect.suspend(() =>
      isControl(text) ? refuse("TransactionControl") : inTurn(sql.unsafe<A>(text, params.map(copyOfBytes))),
    )

  return {
    close: turn.withPermit(Ref.set(isClosed, true)),
    writer: Writer.of({
      execute,
      sql: <A extends object = Row>(strings: TemplateStringsArray, ...values: ReadonlyArray<unknown>) => {
        const [text, params] = sql(strings, ...values).compile()
        return execute<A>(text, params)
      },
      transaction: (self) => inTurn(sql.withTransaction(Effect.andThen(sql.unsafe(fence), self))),
    }),
  }
})
