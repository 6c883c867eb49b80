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
import { type Context, type Duration, Effect, type Option } from "effect"
import { SqlClient, Statement, type SqlConnection, type SqlError } from "effect/sql"
import * as BatchPart from "./BatchPart.ts"
import { compiling } from "./Compiling.ts"
import * as ConnectionPermit from "./ConnectionPermit.ts"
import type { CommitLog } from "./LentConnection.ts"
import * as SafeTransactions from "./SafeTransactions.ts"
import { insideTransaction, isInsideTransaction } from "./SafeTransactions.ts"
import { StatementRefused, toSqlError } from "./StatementRefused.ts"
import type { Row } from "../sql/Writer.ts"
import type * as Waiting from "./Waiting.ts"
import * as WriteGate from "./WriteGate.ts"

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
  readonly part: BatchPart.Part
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
  const { loanAround, withTransaction } = SafeTransactions.make({ client, acquire, lender, spanAttributes })
  const sql = Object.assign(client, { withTransaction })

  const { afterCommit, part } = BatchPart.make(sql, awaited)
  Object.assign(sql, { afterCommit })

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
