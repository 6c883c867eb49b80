/**
 * The driver's connection as its permit's holder has it: it knows which statements may run there and whether its transaction
 * is still open, and it notes what may have been committed.
 *
 * SQLite ends a transaction by itself when a statement asks for it (`OR ROLLBACK`, `RAISE(ROLLBACK)`), when the disk is full
 * or fails: whether it has done so is asked after each statement that failed. From then on nothing of the transaction runs,
 * and SQLite's own error is what its owner is told. A connection that was given back runs what still comes as a statement by
 * itself, under the permit, as the driver does.
 * https://www.sqlite.org/lang_transaction.html#response_to_errors_within_a_transaction
 */
import { type Cause, Clock, Effect, type Fiber, Scheduler } from "effect"
import { SqlError, type SqlConnection } from "effect/sql"
import type { DurabilityError } from "../sql/Durability.ts"
import { messageOf } from "./NativeError.ts"
import { kindOf, mayCommit } from "./StatementKind.ts"
import { toSqlError } from "./StatementRefused.ts"
import { refusalOf, type Settings, Trusted, type Use } from "./StatementRules.ts"
import { type Awaited, innermost, type Transaction } from "./Waiting.ts"

type Connection = SqlConnection.Connection
type Run<A> = Effect.Effect<A, SqlError.SqlError>

/** What the connection must know of the durability of its commits, and of the settings that these rely on. */
export interface CommitLog extends Settings {
  /** A statement that may have committed has returned, synced or not. */
  readonly committed: (clock: Clock.Clock, synced: boolean) => void
  /** Why nothing may commit any more, if so. */
  readonly refusal: () => DurabilityError | undefined
}

/** Survives a spread: who wraps a connection spreads it. */
const loanKey = Symbol("seawall/sqlite/Loan")

/** None of a connection that is not of this client. */
export const loanOf = (connection: Connection): Loan | undefined =>
  (connection as { readonly [loanKey]?: Loan })[loanKey]

const isNoTransaction = (error: unknown) => messageOf(error).includes("no transaction is active")

const failure = (cause: unknown, message: string) =>
  new SqlError.SqlError({ reason: new SqlError.UnknownError({ cause, message, operation: "execute" }) })

const refused = (cause: DurabilityError) => Effect.fail(failure(cause, cause.message))

/** What lends its connection. */
export interface Lender {
  readonly awaited: Awaited
  readonly driver: Connection
  readonly log: CommitLog
  /** Runs a statement by itself, under the permit: for what comes after the end. */
  readonly afterwards: <A>(use: (connection: Connection) => Run<A>) => Run<A>
  /** A ROLLBACK did not succeed: the transaction may be open still. */
  readonly stuck: (cause: Cause.Cause<SqlError.SqlError>) => Effect.Effect<void>
}

/** Ends the transaction that is open, if one is; whether one was. */
export const rollBack = (driver: Connection): Run<boolean> =>
  Effect.catchIf(Effect.as(driver.execute("ROLLBACK", [], undefined), true), isNoTransaction, () =>
    Effect.succeed(false),
  )

export const beginImmediate = "BEGIN IMMEDIATE"

/**
 * One use of the connection, from when it is lent until it is given back, with the client's own transaction control. Nothing of
 * that fails because SQLite has ended the transaction by itself.
 */
export class Loan implements Transaction {
  ended = false
  /** SQLite's own error, once it has ended the transaction. */
  lost: SqlError.SqlError | undefined = undefined
  /** The holder of a reserved connection ran something that opens a transaction. */
  mayBeOpen = false
  readonly connection: Awaited
  readonly waitsFor: Transaction["waitsFor"] = new Map()
  readonly lender: Lender
  readonly use: Use
  /** Whether what is committed is synced by then. */
  readonly synced: boolean

  constructor(lender: Lender, use: Use, synced: boolean) {
    this.connection = lender.awaited
    this.lender = lender
    this.use = use
    this.synced = synced
  }

  begin(statement: string): Run<void> {
    return statement === beginImmediate || kindOf(statement)._tag === "Opens"
      ? Effect.asVoid(this.say(statement))
      : Effect.fail(failure(undefined, `a transaction cannot begin with ${statement}`))
  }

  savepoint(name: string): Run<void> {
    return Effect.withFiber((fiber) => {
      if (this.isOver(fiber)) return Effect.fail(over)
      return this.lost === undefined ? Effect.asVoid(this.say(`SAVEPOINT ${name}`)) : Effect.fail(this.lost)
    })
  }

  release(name: string): Effect.Effect<void> {
    return this.cleanUp(`RELEASE SAVEPOINT ${name}`)
  }

  rollbackTo(name: string): Effect.Effect<void> {
    return this.cleanUp(`ROLLBACK TO SAVEPOINT ${name}`)
  }

  /** One that fails ends the transaction, too. */
  commit(): Run<void> {
    const refusal = this.lender.log.refusal()
    const committed =
      this.lost !== undefined
        ? Effect.fail(this.lost)
        : refusal === undefined
          ? Effect.asVoid(this.noted(this.say("COMMIT")))
          : refused(refusal)
    return Effect.tapError(committed, () => this.rollback())
  }

  /** Always, also of a transaction that SQLite seems to have ended: there is nothing worse than one that stays open. */
  rollback(): Effect.Effect<void> {
    return Effect.catchCause(Effect.asVoid(rollBack(this.lender.driver)), this.lender.stuck)
  }

  /** After a failure: whether the transaction is still open, which only SQLite knows. */
  isOpenAfter(error: unknown): Effect.Effect<boolean> {
    if (this.lost !== undefined) return Effect.succeed(false)
    return Effect.matchEffect(this.say("BEGIN"), {
      onFailure: () => Effect.succeed(true),
      onSuccess: () => {
        this.lost = SqlError.isSqlError(error) ? error : failure(error, messageOf(error))
        return Effect.as(this.rollback(), false)
      },
    })
  }

  /** Runs a statement of a caller. */
  run<A>(text: string, self: (connection: Connection) => Run<A>): Run<A> {
    return Effect.withFiber((fiber) => {
      const { lender, use } = this
      if (this.isOver(fiber)) return lender.afterwards(self)
      const kind = kindOf(text)
      const refusal = refusalOf(kind, use, lender.log)
      if (refusal !== undefined && !fiber.getRef(Trusted)) return Effect.fail(toSqlError(refusal))
      if (use === "transaction" && this.lost !== undefined) return Effect.fail(this.lost)
      const commits = mayCommit(kind)
      const durabilityLost = commits ? lender.log.refusal() : undefined
      if (durabilityLost !== undefined) return refused(durabilityLost)
      if (use === "transaction") {
        // Nothing comes between a failure and the question: no interruption, and no other fiber of this transaction.
        return inOneGo(Effect.tapError(self(lender.driver), (error) => this.isOpenAfter(error)))
      }
      if (kind._tag === "Opens" || kind._tag === "Nests") this.mayBeOpen = true
      return commits ? this.noted(self(lender.driver)) : self(lender.driver)
    })
  }

  /** For this fiber: a part of a batch may be over while the batch goes on. */
  isOver(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    if (this.ended) return true
    return this.use === "transaction" && innermost(fiber.context, this.connection)?.ended === true
  }

  private say(statement: string) {
    return this.lender.driver.execute(statement, [], undefined)
  }

  /** Cleans up after a failure, or at an end, without hiding its cause. */
  private cleanUp(statement: string): Effect.Effect<void> {
    return Effect.withFiber((fiber) =>
      this.lost === undefined && !this.isOver(fiber)
        ? Effect.catch(Effect.asVoid(this.say(statement)), (error) =>
            Effect.sync(() => {
              this.lost ??= error
            }),
          )
        : Effect.void,
    )
  }

  private noted<A>(statement: Run<A>): Run<A> {
    return Effect.withFiber((fiber) =>
      Effect.uninterruptible(
        Effect.map(statement, (result) => {
          this.lender.log.committed(fiber.getRef(Clock.Clock), this.synced)
          return result
        }),
      ),
    )
  }
}

const inOneGo = <A>(self: Run<A>): Run<A> =>
  Effect.uninterruptible(Effect.provideService(self, Scheduler.PreventSchedulerYield, true))

/** What a transaction is told that was nested in one which has ended meanwhile. */
export const over = failure(undefined, "the transaction around this one has ended; what it did is not all or nothing")

/** The connection as its borrower has it. */
export const connectionOf = (loan: Loan): Connection => {
  const connection: Connection & { readonly [loanKey]: Loan } = {
    [loanKey]: loan,
    execute: (sql, params, transform) => loan.run(sql, (it) => it.execute(sql, params, transform)),
    executeRaw: (sql, params) => loan.run(sql, (it) => it.executeRaw(sql, params)),
    executeValues: (sql, params) => loan.run(sql, (it) => it.executeValues(sql, params)),
    executeUnprepared: (sql, params, transform) => loan.run(sql, (it) => it.executeUnprepared(sql, params, transform)),
    executeValuesUnprepared: (sql, params) => loan.run(sql, (it) => it.executeValuesUnprepared(sql, params)),
    executeStream: loan.lender.driver.executeStream,
  }
  return connection
}
