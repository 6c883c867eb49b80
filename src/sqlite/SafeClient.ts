/**
 * A `SqlClient` on one connection whose permit is held until the statement has run.
 *
 * The driver gives its permit back before the statement runs, so an autocommit write can land in another fiber's
 * transaction and vanish with its rollback. Here one permit covers each statement and each whole transaction. It is
 * also the write gate: whoever holds it knows that no statement of this process runs.
 *
 * Also mended: a failing COMMIT rolls back and is a typed failure instead of a defect that leaves the connection inside
 * the transaction; a statement that does not compile is a typed failure; a fiber that outlives the transaction it was
 * forked in cannot write into somebody else's.
 * Not mended: a plain statement under `reserve` in the same fiber waits for itself; use the reserved connection.
 */
import {
  Cause,
  Clock,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Option,
  Scope,
  Semaphore,
  Stream,
  Tracer,
} from "effect"
import { SqlClient, SqlError, Statement, type SqlConnection } from "effect/unstable/sql"
import type { Exposure } from "./Exposure.ts"
import { nativeMessage } from "./NativeError.ts"

type Connection = SqlConnection.Connection

/** Statements that cannot commit anything. What is not listed counts as a commit: too many is harmless, too few is not. */
const readsOnly =
  /^\s*(?:select|explain|begin|savepoint|rollback|pragma\s+(?!(?:\w+\.)?(?:user_version|application_id)\s*[=(]))/i

const controls = { begin: "BEGIN IMMEDIATE", commit: "COMMIT", rollback: "ROLLBACK" } as const

const failure = (cause: unknown, message: string) =>
  new SqlError.SqlError({ reason: SqlError.classifySqliteError(cause, { message, operation: "execute" }) })

/** The driver compiles "unprepared" statements outside of any effect, so a bad one throws from the call itself. */
const compiling = <A>(run: () => Effect.Effect<A, SqlError.SqlError>): Effect.Effect<A, SqlError.SqlError> =>
  Effect.flatten(Effect.try({ try: run, catch: (cause) => failure(cause, "Failed to prepare statement") }))

/** Failures of COMMIT and its kin, which `SqlClient.make` turns into defects: known again by identity, made failures again. */
const controlFailures = new WeakSet<SqlError.SqlError>()
const isControl = /^(?:commit$|rollback|release)/i

const isNoTransaction = (error: unknown) => nativeMessage(error).includes("no transaction is active")

/** The connection as it is lent: the driver's, with defects made failures and commits noted. */
class Lent implements Connection {
  ended = false
  readonly execute: Connection["execute"]
  readonly executeRaw: Connection["executeRaw"]
  readonly executeValues: Connection["executeValues"]
  readonly executeValuesUnprepared: Connection["executeValuesUnprepared"]
  readonly executeUnprepared: Connection["executeUnprepared"]

  constructor(driver: Connection, exposure: Exposure) {
    const run = <A>(sql: string, statement: Effect.Effect<A, SqlError.SqlError>): Effect.Effect<A, SqlError.SqlError> =>
      Effect.withFiber((fiber) => {
        if (this.ended) {
          const cause = new Error("The transaction that this fiber was forked in has ended; fork it outside of it")
          return Effect.fail(failure(cause, cause.message))
        }
        if (readsOnly.test(sql)) return statement
        return Effect.map(statement, (result) => {
          exposure.committed(fiber.getRef(Clock.Clock))
          return result
        })
      })
    const control = <A>(statement: Effect.Effect<A, SqlError.SqlError>) =>
      Effect.mapError(statement, (error) => {
        controlFailures.add(error)
        return error
      })
    const rollback = Effect.catchIf(
      driver.execute(controls.rollback, [], undefined),
      isNoTransaction, // SQLite has rolled back by itself, as it does after a full disk
      () => Effect.succeed([]),
    )
    this.execute = (sql, params, transform) => {
      if (!isControl.test(sql)) return run(sql, driver.execute(sql, params, transform))
      if (sql === controls.rollback) return run(sql, control(rollback))
      const statement = control(driver.execute(sql, params, transform))
      return run(sql, sql === controls.commit ? Effect.tapError(statement, () => rollback) : statement)
    }
    this.executeRaw = (sql, params) => run(sql, driver.executeRaw(sql, params))
    this.executeValues = (sql, params) => run(sql, driver.executeValues(sql, params))
    this.executeValuesUnprepared = (sql, params) =>
      run(
        sql,
        compiling(() => driver.executeValuesUnprepared(sql, params)),
      )
    this.executeUnprepared = (sql, params, transform) =>
      run(
        sql,
        compiling(() => driver.executeUnprepared(sql, params, transform)),
      )
  }

  executeStream() {
    const cause = new Error("Streaming is not supported by node:sqlite's driver; read in pages with LIMIT")
    return Stream.fail(failure(cause, cause.message))
  }
}

/** Whether this fiber is inside a transaction of `sql` that has not ended: it would wait for itself at the permit. */
export const insideTransaction = (sql: SqlClient.SqlClient): Effect.Effect<boolean> =>
  Effect.map(
    Effect.serviceOption(sql.transactionService),
    Option.match({ onNone: () => false, onSome: ([lent]) => !(lent instanceof Lent && lent.ended) }),
  )

/** A COMMIT that failed is a failure of whoever asked for the transaction, not a defect. */
const typedControls = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError.SqlError, R> =>
  Effect.catchCause(self, (cause): Effect.Effect<never, E | SqlError.SqlError> => {
    const defects = cause.reasons.filter(Cause.isDieReason).map(({ defect }) => defect)
    const error = defects.find((defect) => defect instanceof SqlError.SqlError && controlFailures.has(defect))
    return error instanceof SqlError.SqlError ? Effect.fail(error) : Effect.failCause(cause)
  })

/** Who holds the connection: a transaction, or whoever reserved it. */
export interface Holder {
  /** The nearest span around it that is not the transaction's own. */
  readonly span: string
  /** For how long, in seconds. */
  readonly seconds: number
}

/** How long the gate waits for the permit: far longer than any transaction that does not wait for something else. */
const gateWait = Duration.seconds(1)

/** How long the gate stays closed to writers: the stall that nobody notices. Its work may go on after that. */
const gateHold = Duration.millis(100)

/** How the work under the gate ended: in time, still going on when writers were let in again, or not begun. */
export type GateEnd<A, E> =
  | { readonly _tag: "Done"; readonly exit: Exit.Exit<A, E> }
  | { readonly _tag: "Overdue" }
  | { readonly _tag: "NotClosed" }

export interface SafeClient {
  readonly sql: SqlClient.SqlClient
  /** Who keeps everybody else waiting now. */
  readonly holder: Effect.Effect<Option.Option<Holder>>
  /**
   * Runs `self` while no statement of this process runs: waits at most 1 s for its turn, and holds writers back for at
   * most 100 ms. `self` must not use `sql`. A fiber inside a transaction would wait for itself, and is not let in.
   */
  readonly gate: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<GateEnd<A, E>, never, R>
}

const spanOf = (context: Context.Context<never>): string => {
  let span = Option.getOrUndefined(Context.getOption(context, Tracer.ParentSpan))
  while (span?._tag === "Span" && span.name === "sql.transaction") span = Option.getOrUndefined(span.parent)
  return span?._tag === "Span" ? span.name : "unknown"
}

/** Builds the client on a connection that the caller owns, and that nobody else uses from now on. */
export const make = Effect.fnUntraced(function* (driver: Connection, exposure: Exposure) {
  const permit = yield* Semaphore.make(1)
  const autocommit = new Lent(driver, exposure)
  let held: { readonly context: Context.Context<never>; readonly since: bigint } | undefined

  const reserve: SqlConnection.Acquirer = Effect.uninterruptibleMask((restore) =>
    Effect.withFiber((fiber) => {
      const scope = Context.getUnsafe(fiber.context, Scope.Scope)
      return Effect.flatMap(restore(permit.take(1)), () => {
        const lent = new Lent(driver, exposure)
        held = { context: fiber.context, since: fiber.getRef(Clock.Clock).monotonicTimeNanosUnsafe() }
        const giveBack = Effect.suspend(() => {
          lent.ended = true
          held = undefined
          return permit.release(1)
        })
        return Effect.as(Scope.addFinalizer(scope, giveBack), lent)
      })
    }),
  )

  const client = yield* SqlClient.make({
    acquirer: reserve,
    transactionAcquirer: reserve,
    borrower: (use) => permit.withPermit(Effect.suspend(() => use(autocommit))),
    compiler: Statement.makeCompilerSqlite(),
    spanAttributes: [["db.system.name", "sqlite"]],
    beginTransaction: controls.begin,
    commit: controls.commit,
    rollback: controls.rollback,
    releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
    prepareTransactionControls: true,
  })
  const { withTransaction } = client
  const typed: SqlClient.SqlClient["withTransaction"] = (self) => typedControls(withTransaction(self))
  const sql = Object.assign(client, { withTransaction: typed })

  const holder = Effect.map(Clock.monotonicTimeNanos, (now) =>
    Option.map(Option.fromUndefinedOr(held), ({ context, since }): Holder => ({
      span: spanOf(context),
      seconds: Number(now - since) / 1e9,
    })),
  )

  const gate = Effect.fnUntraced(function* <A, E, R>(
    self: Effect.Effect<A, E, R>,
  ): Effect.fn.Return<GateEnd<A, E>, never, R> {
    if (yield* insideTransaction(sql)) return { _tag: "NotClosed" }
    const closed = yield* Deferred.make<void>()
    const open = yield* Deferred.make<void>()
    // A fiber of its own holds the permit, so that giving up the wait can never lose it.
    const keeper = yield* Deferred.succeed(closed, undefined).pipe(
      Effect.andThen(Deferred.await(open)),
      permit.withPermit,
      Effect.forkDetach({ startImmediately: true }),
    )
    return yield* Effect.gen(function* (): Effect.fn.Return<GateEnd<A, E>, never, R> {
      if (Option.isNone(yield* Effect.timeoutOption(Deferred.await(closed), gateWait))) return { _tag: "NotClosed" }
      const work = yield* Effect.forkDetach(self, { startImmediately: true })
      const exit = yield* Effect.timeoutOption(Fiber.await(work), gateHold)
      return Option.match(exit, {
        onNone: () => ({ _tag: "Overdue" }),
        onSome: (ended) => ({ _tag: "Done", exit: ended }),
      })
    }).pipe(Effect.ensuring(Effect.andThen(Deferred.succeed(open, undefined), Fiber.interrupt(keeper))))
  })

  return { sql, holder, gate } satisfies SafeClient
})
