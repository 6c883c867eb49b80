/**
 * The transactions of a `SafeClient`: which fiber is inside one, what runs its control statements, and what becomes of a part of one
 * that SQLite has ended meanwhile.
 */
import { Context, Effect } from "effect"
import { SqlClient, type SqlConnection, type SqlError } from "effect/sql"
import type * as ConnectionPermit from "./ConnectionPermit.ts"
import { beginImmediate, Loan, loanOf, over } from "./LentConnection.ts"
import { Trusted } from "./StatementRules.ts"
import * as Waiting from "./Waiting.ts"

/** Whether this is the context of a fiber inside a transaction of `sql` that has not ended: it would wait for itself. */
export const isInsideTransaction = (sql: SqlClient.SqlClient, context: Context.Context<never>): boolean => {
  const connection = Context.getOrUndefined(context, sql.transactionService)?.[0]
  if (connection === undefined) return false
  const loan = loanOf(connection)
  if (loan === undefined) return true
  return !(loan.ended || Waiting.innermost(context, loan.connection)?.ended === true)
}

/** The same of the fiber that asks. */
export const insideTransaction = (sql: SqlClient.SqlClient): Effect.Effect<boolean> =>
  Effect.contextWith((context) => Effect.succeed(isInsideTransaction(sql, context)))

/** A wrapper of a connection runs the client's own transaction control, too. */
const trusted = (connection: SqlConnection.Connection): SqlConnection.Connection => ({
  ...connection,
  execute: (...args) => Effect.provideService(connection.execute(...args), Trusted, true),
})

type Permit = Effect.Success<ReturnType<typeof ConnectionPermit.make>>

interface TransactionsOptions extends Pick<Permit, "acquire" | "lender"> {
  readonly client: SqlClient.SqlClient
  readonly spanAttributes: ReadonlyArray<readonly [string, unknown]>
}

export const make = ({ acquire, client, lender, spanAttributes }: TransactionsOptions) => {
  const { transactionService } = client

  const transact = SqlClient.makeWithTransaction({
    transactionService,
    spanAttributes,
    acquireConnection: (restore) => acquire("transaction", restore),
    begin: (connection, statement = beginImmediate) => loanIn(connection).begin(statement),
    savepoint: (connection, id) => loanIn(connection).savepoint(`effect_sql_${id}`),
    releaseSavepoint: (connection, id) => loanIn(connection).release(`effect_sql_${id}`),
    commit: (connection) => loanIn(connection).commit(),
    rollback: (connection) => loanIn(connection).rollback(),
    rollbackSavepoint: (connection, id) => loanIn(connection).rollbackTo(`effect_sql_${id}`),
  })
  /** A context may hold a connection that is not of this client, such as a wrapper that was written by hand. */
  const loanIn = (connection: SqlConnection.Connection) =>
    loanOf(connection) ?? new Loan({ ...lender, driver: trusted(connection) }, "reserved", false)
  const loanAround = (context: Context.Context<never>): Loan | undefined => {
    const around = Context.getOrUndefined(context, transactionService)
    return around === undefined ? undefined : loanOf(around[0])
  }

  /** Marks the context inside a transaction, by which a statement is known to belong to it. */
  const entered = <A, E, R>(self: Effect.Effect<A, E, R>) =>
    Effect.withFiber<A, E, R>((fiber) => {
      const loan = loanAround(fiber.context)
      return loan === undefined
        ? self
        : Effect.provideService(self, Waiting.Transactions, Waiting.entering(fiber.getRef(Waiting.Transactions), loan))
    })
  /** Fails although its own part succeeded, when SQLite has ended the transaction meanwhile. */
  const kept = <A, E, R>(self: Effect.Effect<A, E, R>) =>
    Effect.flatMap(self, (result) =>
      Effect.withFiber<A, SqlError.SqlError>((fiber) => {
        const loan = loanAround(fiber.context)
        if (loan?.isOver(fiber) === true) return Effect.fail(over)
        return loan?.lost === undefined ? Effect.succeed(result) : Effect.fail(loan.lost)
      }),
    )
  const withTransaction: SqlClient.SqlClient["withTransaction"] = (self) =>
    Effect.withFiber((fiber) => {
      if (Context.getOrUndefined(fiber.context, transactionService) === undefined) return transact(entered(self))
      // Inside of one that has ended it is one of its own.
      return isInsideTransaction(client, fiber.context)
        ? transact(kept(self))
        : Effect.updateContext(
            transact(entered(self)),
            (context) => Context.omit(transactionService)(context) as typeof context,
          )
    })
  return { loanAround, withTransaction }
}
