/**
 * A `SqlClient` on one connection whose permit is held until the statement has run.
 *
 * The driver gives its permit back before the statement runs, so an autocommit write can land in another fiber's
 * transaction and vanish with its rollback. Here one permit covers each statement and each whole transaction. It is
 * also the write gate: whoever holds it knows that no statement of this process runs.
 *
 * Transaction control belongs to the client: a BEGIN or COMMIT of a caller is refused, but on a connection that was reserved.
 * Also mended: a failing COMMIT rolls back and is a typed failure instead of a defect that leaves the connection inside
 * the transaction; after SQLite has rolled back by itself nothing of the transaction runs, and its error is told; a statement
 * that does not compile is a typed failure, and compiled again the next time; a fiber that outlives the transaction it was
 * forked in cannot write into the transaction of another caller: its statements run by themselves, as with the driver.
 * Not mended: a plain statement under `reserve` in the same fiber waits for itself; use the reserved connection.
 */
import {
  type Cause,
  Clock,
  Context,
  type Duration,
  Effect,
  Exit,
  Fiber,
  Option,
  Scope,
  Semaphore,
  Tracer,
} from "effect"
import { SqlClient, Statement, type SqlConnection, type SqlError } from "effect/sql"
import { compiling, compilingAnew } from "./Compiling.ts"
import { aboutThis, withOwnLabels } from "./DatabaseName.ts"
import {
  beginImmediate,
  type CommitLog,
  connectionOf,
  type Lender,
  Loan,
  loanOf,
  over,
  rollBack,
} from "./LentConnection.ts"
import { StatementRefused, toSqlError, Trusted, type Use } from "./StatementRefused.ts"
import * as Waiting from "./Waiting.ts"
import * as WriteGate from "./WriteGate.ts"

/**
 * Commits of whoever takes the connection under this are not synced: whoever does so sees to it that they are before
 * anybody is told of them. Nobody else commits at that level.
 */
export const Unsynced = Context.Reference<boolean>("seawall/sqlite/Unsynced", { defaultValue: () => false })

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

/** Who holds the connection: a transaction, or whoever reserved it. */
export interface Holder {
  /** The nearest span around it that is not the transaction's own. */
  readonly span: string
  /** For how long, in seconds. */
  readonly seconds: number
}

/** A row by the names of its columns. */
export type Row = Readonly<Record<string, unknown>>

export interface SafeClient {
  /** Each statement and each whole transaction (`BEGIN IMMEDIATE`) has the connection to itself. Streams fail. */
  readonly sql: SqlClient.SqlClient
  /** One statement, a transaction by itself, whose commit is synced at once or left to whoever asks. */
  readonly commit: (
    sql: string,
    params: ReadonlyArray<unknown>,
    options: { readonly unsynced: boolean },
  ) => Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError>
  /**
   * One statement on the connection, without its permit and without a note of what it commits: for whoever holds the
   * permit, inside a transaction.
   */
  readonly execute: (
    sql: string,
    params: ReadonlyArray<unknown>,
  ) => Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError>
  /** The same, compiled anew: for a statement that did not compile before (see `didNotCompile`). */
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
  /** Who keeps everybody else waiting now; a single statement is nobody. */
  readonly holder: Effect.Effect<Option.Option<Holder>>
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

const reservedInside = toSqlError(
  new StatementRefused({
    statement: "sql.reserve",
    advice: "this fiber is inside a transaction and would wait for itself; use the SqlClient there",
  }),
)

/** A wrapper of a connection runs the client's own transaction control, too. */
const trusted = (connection: SqlConnection.Connection): SqlConnection.Connection => ({
  ...connection,
  execute: (...args) => Effect.provideService(connection.execute(...args), Trusted, true),
})

const spanOf = (context: Context.Context<never>): string => {
  let span = Option.getOrUndefined(Context.getOption(context, Tracer.ParentSpan))
  while (span?._tag === "Span" && span.name === "sql.transaction") span = Option.getOrUndefined(span.parent)
  return span?._tag === "Span" ? span.name : "unknown"
}

/** Builds the client on a connection that the caller owns, and that nobody else uses from now on. */
export const make = Effect.fnUntraced(function* (connection: SqlConnection.Connection, log: CommitLog) {
  const driver = compilingAnew(connection)
  const permit = yield* Semaphore.make(1)
  const awaited = Waiting.make()
  const about = yield* aboutThis
  let held: { readonly context: Context.Context<never>; readonly since: bigint } | undefined

  /**
   * The level of the connection. Whoever commits sees to it that it is the right one before, under the permit; so writes
   * of one kind after another cost nothing. Prepared anew each time: SQLite carries this out while it prepares it.
   */
  let isLowered = false
  const level = (lowered: boolean) =>
    driver.executeUnprepared(`PRAGMA synchronous = ${lowered ? "NORMAL" : "FULL"}`, [], undefined).pipe(
      Effect.map(() => {
        isLowered = lowered
      }),
    )

  /** A rollback that did not succeed is tried again before anybody has the connection. */
  let isStuck = false
  const stuck = (cause: Cause.Cause<SqlError.SqlError>) =>
    Effect.suspend(() => {
      isStuck = true
      return about(Effect.logError("rollback failed", cause))
    })
  const unstuck = Effect.suspend(() =>
    isStuck
      ? Effect.map(rollBack(driver), () => {
          isStuck = false
        })
      : Effect.void,
  )

  /** What is done before the connection is used, if anything is. */
  const isReady = (lowered: boolean) => isLowered === lowered && !isStuck
  const ready = (lowered: boolean) =>
    Effect.andThen(
      unstuck,
      Effect.suspend(() => (isLowered === lowered ? Effect.void : level(lowered))),
    )

  /** One use of the connection under the permit, at the level that it needs. */
  const alone = <A, E, R>(lowered: boolean, use: () => Effect.Effect<A, E, R>) =>
    Waiting.whileWaiting(awaited, (taken) =>
      permit.withPermit(
        Effect.suspend((): Effect.Effect<A, E | SqlError.SqlError, R> => {
          taken()
          return isReady(lowered) ? use() : Effect.andThen(ready(lowered), Effect.suspend(use))
        }),
      ),
    )

  const lender: Lender = { awaited, driver, log, stuck, afterwards: (use) => alone(false, () => use(autocommit)) }
  const autocommit = connectionOf(new Loan(lender, "shared", log.everyCommitSyncs))
  const autocommitUnsynced = connectionOf(new Loan(lender, "shared", false))

  /** Rolls back what a reserved connection left open. Its scope is closing and takes no failure: only the log can tell. */
  const rollBackLeft = Effect.suspend(() => {
    const span = held === undefined ? "unknown" : spanOf(held.context)
    return rollBack(driver).pipe(
      Effect.flatMap((wasOpen) =>
        wasOpen
          ? Effect.annotateLogs(Effect.logError("transaction left open"), {
              transaction: span,
              advice: "it was rolled back; end a transaction before the reserved connection's scope closes",
            }).pipe(about)
          : Effect.void,
      ),
      Effect.catchCause(stuck),
    )
  })

  /** The connection until the scope closes. */
  const acquire = (use: Use, restore: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>) =>
    Effect.withFiber((fiber) => {
      const scope = Context.getUnsafe(fiber.context, Scope.Scope)
      const lowered = log.everyCommitSyncs && fiber.getRef(Unsynced)
      // A scope of its own: an interruption may come when the permit was given and not yet received.
      const own = Scope.makeUnsafe()
      const taking = restore(Scope.provide(permit.takeScoped(1), own))
      const take = Waiting.whileWaiting(awaited, () => Effect.onError(taking, () => Scope.close(own, Exit.void)))
      return Effect.flatMap(take, () => {
        const loan = new Loan(lender, use, log.everyCommitSyncs && !lowered)
        if (use === "transaction") awaited.holder = loan
        held = { context: fiber.context, since: fiber.getRef(Clock.Clock).monotonicTimeNanosUnsafe() }
        const release = Effect.suspend(() => {
          loan.ended = true
          held = undefined
          awaited.holder = undefined
          return Scope.close(own, Exit.void)
        })
        const giveBack = Effect.suspend(() => (loan.mayBeOpen ? Effect.andThen(rollBackLeft, release) : release))
        const taken = Effect.as(Scope.addFinalizer(scope, giveBack), connectionOf(loan))
        // The scope of who does not get the connection is closed by nobody.
        return isReady(lowered)
          ? taken
          : Effect.andThen(
              Effect.onError(ready(lowered), () => release),
              taken,
            )
      })
    })
  const reserve: SqlConnection.Acquirer = Effect.uninterruptibleMask((restore) =>
    Effect.withFiber((fiber) =>
      isInsideTransaction(client, fiber.context) ? Effect.fail(reservedInside) : acquire("reserved", restore),
    ),
  )

  const client = yield* SqlClient.make({
    driver: "sqlite-node",
    acquirer: reserve,
    transactionAcquirer: reserve,
    borrower: (use) => alone(false, () => use(autocommit)),
    compiler: Statement.makeCompilerSqlite(),
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

  /** What is inside a transaction, in the context of which it is known as such. */
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

  /** Of a part it must not run in the fiber of the batch, which it may wait for: it is handed to the caller. */
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

  const holder = Effect.map(Clock.monotonicTimeNanos, (now) =>
    Option.map(Option.fromUndefinedOr(held), ({ context, since }): Holder => ({
      span: spanOf(context),
      seconds: Number(now - since) / 1e9,
    })),
  )

  const gate = WriteGate.make(permit, insideTransaction(sql))

  // The hot path of the `Writer`: nothing around it that one statement in a million needs.
  const execute: SafeClient["execute"] = (text, params) => connection.execute(text, params, undefined)
  const executeAnew: SafeClient["execute"] = (text, params) =>
    compiling(() => connection.executeUnprepared(text, params, undefined))
  const commit: SafeClient["commit"] = (text, params, { unsynced }) => {
    const lowered = log.everyCommitSyncs && unsynced
    const connection = unsynced ? autocommitUnsynced : autocommit
    return alone(lowered, () => connection.execute(text, params, undefined))
  }
  const isOpenAfter: SafeClient["isOpenAfter"] = (cause) =>
    Effect.contextWith(
      (context: Context.Context<never>) => loanAround(context)?.isOpenAfter(cause) ?? Effect.succeed(true),
    )
  return { sql, awaited, holder, gate, part, commit, execute, executeAnew, isOpenAfter } satisfies SafeClient
})

const spanAttributes = [["db.system.name", "sqlite"]] as const
