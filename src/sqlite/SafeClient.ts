/**
 * A `SqlClient` on one connection whose permit is held until the statement has run.
 *
 * The driver gives its permit back before the statement runs, so an autocommit write can land in another fiber's
 * transaction and vanish with its rollback. Here one permit covers each statement and each whole transaction. It is
 * also the write gate: while it is held, no statement of this process runs.
 *
 * Transaction control belongs to the client: a BEGIN or COMMIT of a caller is refused, but on a connection that was reserved.
 * Also fixed: a failing COMMIT rolls back and is a typed failure instead of a defect that leaves the connection inside
 * the transaction; after SQLite has rolled back by itself nothing of the transaction runs, and its error is told; a statement
 * that does not compile is a typed failure, and compiled again the next time; a fiber that outlives the transaction it was
 * forked in cannot write into the transaction of another caller: its statements run by themselves, as with the driver.
 * Not fixed: a plain statement under `reserve` in the same fiber waits for itself; use the reserved connection.
 */
import type { SqliteClient } from "@effect/sql-sqlite-node"
import { Context, type Duration, Effect, Fiber, type Option } from "effect"
import { SqlClient, Statement, type SqlConnection, type SqlError } from "effect/sql"
import { compiling } from "./Compiling.ts"
import * as ConnectionPermit from "./ConnectionPermit.ts"
import { withOwnLabels } from "./DatabaseName.ts"
import { beginImmediate, type CommitLog, Loan, loanOf, over } from "./LentConnection.ts"
import { StatementRefused, toSqlError } from "./StatementRefused.ts"
import { Trusted } from "./StatementRules.ts"
import type { Row } from "../sql/Writer.ts"
import * as Waiting from "./Waiting.ts"
import * as WriteGate from "./WriteGate.ts"

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

export interface SafeClient {
  /** Each statement and each whole transaction (`BEGIN IMMEDIATE`) has the connection to itself. Streams fail. */
  readonly sql: SqlClient.SqlClient
  /** One statement, a transaction by itself, whose commit is synced at once or left to the caller. */
  readonly commit: (
    sql: string,
    params: ReadonlyArray<unknown>,
    options: { readonly unsynced: boolean },
  ) => Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError>
  /**
   * One statement on the connection, without its permit and without a note of what it commits: for the holder of the
   * permit, inside a transaction.
   */
  readonly execute: (
    sql: string,
    params: ReadonlyArray<unknown>,
  ) => Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError>
  /** The same, compiled again: for a statement that did not compile before (see `didNotCompile`). */
  readonly executeAnew: SafeClient["execute"]
  /**
   * A caller's part of the transaction around the fiber that runs it, with the services of that caller: all of it or nothing,
   * and nothing of it after it has ended.
   */
  readonly part: <A, E>(
    self: Effect.Effect<A, E>,
    services: Context.Context<never>,
    /** Called with the fiber that runs it, and with what it leaves to be done after the COMMIT, complete by then. */
    started: (fiber: Fiber.Fiber<unknown, unknown>, afterCommit: ReadonlyArray<Effect.Effect<void>>) => void,
  ) => Effect.Effect<A, E | SqlError.SqlError>
  /** Inside a transaction, after a failure: whether it is still open, or SQLite has rolled it back. */
  readonly isOpenAfter: (error: unknown) => Effect.Effect<boolean>
  /** What a fiber that waits for this connection waits for. */
  readonly awaited: Waiting.Awaited
  /** The transaction or reservation that holds the permit now; none for a single statement. */
  readonly holder: Effect.Effect<Option.Option<ConnectionPermit.Holder>>
  /**
   * Runs what only the driver's own connection can do, such as a backup, while nothing else does: no statement comes between, and an interruption
   * waits for its end. Refused inside a transaction, which would wait for itself.
   */
  readonly exclusive: <A>(
    operation: string,
    use: Effect.Effect<A, SqlError.SqlError>,
  ) => Effect.Effect<A, SqlError.SqlError>
  /**
   * Runs `self` while no statement of this process runs: waits at most 1 s for its turn, and holds writers back for at
   * most 100 ms. `self` must not use `sql`. A fiber inside a transaction would wait for itself, and is not let in.
   */
  readonly gate: <A, E, R>(
    self: Effect.Effect<A, E, R>,
    hold?: Duration.Duration,
  ) => Effect.Effect<WriteGate.GateEnd<A, E>, never, R>
}

/** A caller's part of a batch. */
interface PartOfBatch extends Waiting.Transaction {
  readonly afterCommit: Array<Effect.Effect<void>>
}

const insideRefused = (operation: string, advice: string) =>
  Effect.fail(
    toSqlError(
      new StatementRefused({
        statement: operation,
        advice: `this fiber is inside a transaction and would wait for itself; ${advice}`,
      }),
    ),
  )
const reservedInside = insideRefused("sql.reserve", "use the SqlClient there")

/** A wrapper of a connection runs the client's own transaction control, too. */
const trusted = (connection: SqlConnection.Connection): SqlConnection.Connection => ({
  ...connection,
  execute: (...args) => Effect.provideService(connection.execute(...args), Trusted, true),
})

/** How names are changed between the program and the database, and what each span says, as in the driver's options. */
type Naming = Pick<SqliteClient.SqliteClientConfig, "spanAttributes" | "transformQueryNames" | "transformResultNames">

/** Rows are passed through when names in statements alone are changed, so that `withoutTransforms` leaves both out. */
const rowsOf = ({ transformQueryNames, transformResultNames }: Naming) => {
  if (transformResultNames !== undefined) return Statement.defaultTransforms(transformResultNames).array
  return transformQueryNames === undefined ? undefined : <A extends object>(rows: ReadonlyArray<A>) => rows
}

/** Builds the client on a connection that the caller owns, and that is used in no other way from now on. */
export const make = Effect.fnUntraced(function* (
  connection: SqlConnection.Connection,
  log: CommitLog,
  naming: Naming = {},
) {
  const transformRows = rowsOf(naming)
  const spanAttributes: ReadonlyArray<readonly [string, unknown]> = [
    ...Object.entries(naming.spanAttributes ?? {}),
    ["db.system.name", "sqlite"],
  ]
  const { acquire, alone, autocommit, autocommitUnsynced, awaited, holder, lender, permit } =
    yield* ConnectionPermit.make(connection, log)

  const reserve: SqlConnection.Acquirer = Effect.uninterruptibleMask((restore) =>
    Effect.withFiber((fiber) =>
      isInsideTransaction(client, fiber.context) ? reservedInside : acquire("reserved", restore),
    ),
  )

  const client = yield* SqlClient.make({
    driver: "sqlite-node",
    acquirer: reserve,
    transactionAcquirer: reserve,
    borrower: (use) => alone(false, () => use(autocommit)),
    compiler: Statement.makeCompilerSqlite(naming.transformQueryNames),
    transformRows,
    spanAttributes,
  })
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
  const sql = Object.assign(client, { withTransaction })

  const part: SafeClient["part"] = (self, services, started) =>
    Effect.withFiber((fiber) => {
      const [connection] = Context.getUnsafe(fiber.context, transactionService)
      const own: PartOfBatch = {
        connection: awaited,
        ended: false,
        waitsFor: loanOf(connection)?.waitsFor ?? new Map(),
        afterCommit: [],
      }
      const context = ofBatch(fiber.context, withOwnLabels(services)).pipe(
        Context.add(Waiting.Transactions, Waiting.entering(Context.get(services, Waiting.Transactions), own)),
      )
      // In a fiber of its own, so that it can be interrupted alone, and what it has forked ends before it does.
      const running = Effect.flatMap(Effect.forkChild(self, { startImmediately: true }), (child) => {
        started(child, own.afterCommit)
        return Effect.onInterrupt(Fiber.join(child), () => Fiber.interrupt(child))
      })
      return Effect.ensuring(
        Effect.provideContext(sql.withTransaction(running), context as typeof services),
        Effect.sync(() => {
          own.ended = true
        }),
      )
    })
  /** The caller's services, with the transaction of the batch: what is left in them of one that has ended does not count. */
  const ofBatch = (batch: Context.Context<never>, services: Context.Context<never>): Context.Context<never> =>
    Context.getOrUndefined(services, transactionService) === undefined
      ? Context.add(services, transactionService, Context.getUnsafe(batch, transactionService))
      : Context.merge(
          services,
          Context.makeUnsafe(
            new Map([...batch.mapUnsafe].filter(([key]) => key.startsWith("effect/sql/SqlClient/Tran"))),
          ),
        )

  /** Must not run in the fiber of the batch, for which it may wait: it is handed to the caller. */
  const { afterCommit } = client
  const handingOver: SqlClient.SqlClient["afterCommit"] = (effect) =>
    Effect.withFiber((fiber) => {
      const own = Waiting.innermost(fiber.context, awaited)
      if (own === undefined || own.ended || !("afterCommit" in own)) return afterCommit(effect)
      const context = withOwnLabels(Context.omit(transactionService)(fiber.context)) as typeof fiber.context
      const { afterCommit: handedOver } = own as PartOfBatch
      return afterCommit(
        Effect.sync(() => void handedOver.push(Effect.provideContext(effect as Effect.Effect<void>, context))),
      )
    })
  Object.assign(sql, { afterCommit: handingOver })

  const gate = WriteGate.make(permit, insideTransaction(sql))

  // The hot path of the `Writer`: nothing around it that one statement in a million needs.
  const execute: SafeClient["execute"] = (text, params) => connection.execute(text, params, transformRows)
  const executeAnew: SafeClient["execute"] = (text, params) =>
    compiling(() => connection.executeUnprepared(text, params, transformRows))
  const commit: SafeClient["commit"] = (text, params, { unsynced }) => {
    const lowered = log.everyCommitSyncs && unsynced
    const connection = unsynced ? autocommitUnsynced : autocommit
    return alone(lowered, () => connection.execute(text, params, transformRows))
  }
  const isOpenAfter: SafeClient["isOpenAfter"] = (cause) =>
    Effect.contextWith(
      (context: Context.Context<never>) => loanAround(context)?.isOpenAfter(cause) ?? Effect.succeed(true),
    )
  const exclusive: SafeClient["exclusive"] = (operation, use) =>
    Effect.withFiber((fiber) =>
      isInsideTransaction(sql, fiber.context)
        ? insideRefused(operation, "call it before or after")
        : Effect.uninterruptible(use).pipe((self) => alone(false, () => self)),
    )
  return { sql, awaited, holder, gate, part, exclusive, commit, execute, executeAnew, isOpenAfter } satisfies SafeClient
})
