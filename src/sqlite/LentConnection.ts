/**
 * The driver's connection as it is lent to whoever holds its permit: defects are failures, commits are noted, and nothing
 * commits for a fiber whose transaction has ended, or after a sync of the log failed.
 */
import { Cause, Clock, Effect, Stream } from "effect"
import { SqlError, type SqlConnection } from "effect/sql"
import type { DurabilityError } from "./Durability.ts"
import { nativeMessage } from "./NativeError.ts"

type Connection = SqlConnection.Connection

/**
 * Statements that cannot commit anything: among the PRAGMAs those that ask, and those that set the connection alone. What is
 * not listed counts as a commit: too many is harmless, too few is not.
 */
const readsOnly = new RegExp(
  String.raw`^\s*(?:select|explain|begin|savepoint|rollback|pragma\s+(?:\w+\.)?(?:${[
    String.raw`(?!optimize|incremental_vacuum)\w+\s*;?\s*$`,
    String.raw`(?:wal_checkpoint|wal_autocheckpoint|journal_size_limit|busy_timeout|synchronous|cache_size|foreign_keys)\b`,
    String.raw`(?:integrity_check|quick_check|(?:table|index|foreign_key)_\w+)\b`,
  ].join("|")}))`,
  "i",
)

export const controls = { begin: "BEGIN IMMEDIATE", commit: "COMMIT", rollback: "ROLLBACK" } as const

const failure = (cause: unknown, message: string) =>
  new SqlError.SqlError({ reason: SqlError.classifySqliteError(cause, { message, operation: "execute" }) })

/** The driver compiles "unprepared" statements outside of any effect, so a bad one throws from the call itself. */
export const compiling = <A>(run: () => Effect.Effect<A, SqlError.SqlError>): Effect.Effect<A, SqlError.SqlError> =>
  Effect.flatten(Effect.try({ try: run, catch: (cause) => failure(cause, "Failed to prepare statement") }))

/** Of a statement that the driver prepares and keeps. */
export const didNotCompile = ({ reason }: SqlError.SqlError) => reason.operation === "prepare"

/**
 * The driver remembers for ten minutes that a statement did not compile, though the table that it names may be there by
 * now: such a one is compiled anew each time. (For the raw form it has no way to.)
 */
export const recompiling = (driver: Connection): Connection => ({
  ...driver,
  execute: (sql, params, transform) =>
    Effect.catchIf(driver.execute(sql, params, transform), didNotCompile, () =>
      compiling(() => driver.executeUnprepared(sql, params, transform)),
    ),
  executeValues: (sql, params) =>
    Effect.catchIf(driver.executeValues(sql, params), didNotCompile, () =>
      compiling(() => driver.executeValuesUnprepared(sql, params)),
    ),
})

/** Failures of COMMIT and its kin, which `SqlClient.make` turns into defects: known again by identity, made failures again. */
const controlFailures = new WeakSet<SqlError.SqlError>()
const isControl = /^(?:commit$|rollback|release)/i

const isNoTransaction = (error: unknown) => nativeMessage(error).includes("no transaction is active")

/** What the connection must know of the durability of its commits. */
export interface CommitLog {
  /** Whether the connection itself syncs each commit (`synchronous=FULL`). */
  readonly everyCommitSyncs: boolean
  /** A statement that may have committed has returned, synced or not. */
  readonly committed: (clock: Clock.Clock, synced: boolean) => void
  /** Why nothing may commit any more, if so. */
  readonly refusal: () => DurabilityError | undefined
}

/** The connection as it is lent: the driver's, with defects made failures and commits noted. */
export class Lent implements Connection {
  ended = false
  readonly execute: Connection["execute"]
  readonly executeRaw: Connection["executeRaw"]
  readonly executeValues: Connection["executeValues"]
  readonly executeValuesUnprepared: Connection["executeValuesUnprepared"]
  readonly executeUnprepared: Connection["executeUnprepared"]

  constructor(driver: Connection, log: CommitLog, synced: boolean) {
    const run = <A>(sql: string, statement: Effect.Effect<A, SqlError.SqlError>): Effect.Effect<A, SqlError.SqlError> =>
      Effect.withFiber((fiber) => {
        if (this.ended) {
          const cause = new Error("The transaction that this fiber was forked in has ended; fork it outside of it")
          return Effect.fail(failure(cause, cause.message))
        }
        if (readsOnly.test(sql)) return statement
        const refusal = log.refusal()
        if (refusal !== undefined) return Effect.fail(failure(refusal, refusal.message))
        return Effect.map(statement, (result) => {
          log.committed(fiber.getRef(Clock.Clock), synced)
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
      const statement = control(run(sql, driver.execute(sql, params, transform)))
      return sql === controls.commit ? Effect.tapError(statement, () => rollback) : statement
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

/** A COMMIT that failed is a failure of whoever asked for the transaction, not a defect. */
export const typedControls = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError.SqlError, R> =>
  Effect.catchCause(self, (cause): Effect.Effect<never, E | SqlError.SqlError> => {
    const defects = cause.reasons.filter(Cause.isDieReason).map(({ defect }) => defect)
    const error = defects.find((defect) => defect instanceof SqlError.SqlError && controlFailures.has(defect))
    return error instanceof SqlError.SqlError ? Effect.fail(error) : Effect.failCause(cause)
  })
