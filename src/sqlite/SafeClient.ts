/**
 * A `SqlClient` on one connection whose permit is held until the statement has run.
 *
 * The driver gives its permit back before the statement runs, so an autocommit write can land in another fiber's
 * transaction and vanish with its rollback. Here one permit covers each statement and each whole transaction. It is
 * also the write gate: whoever holds it knows that no statement of this process runs.
 *
 * Also mended: a failing COMMIT rolls back and is a typed failure instead of a defect that leaves the connection inside
 * the transaction; a statement that does not compile is a typed failure, and compiled anew the next time; a fiber that
 * outlives the transaction it was forked in cannot write into somebody else's.
 * Not mended: a plain statement under `reserve` in the same fiber waits for itself; use the reserved connection.
 */
import { Clock, Context, Deferred, Duration, Effect, type Exit, Fiber, Option, Scope, Semaphore, Tracer } from "effect"
import { SqlClient, Statement, type SqlConnection, type SqlError } from "effect/sql"
import { type CommitLog, compiling, controls, Lent, recompiling, typedControls } from "./LentConnection.ts"

/**
 * Commits of whoever takes the connection under this are not synced: whoever does so sees to it that they are before
 * anybody is told of them. Nobody else commits at that level.
 */
export const Unsynced = Context.Reference<boolean>("seawall/sqlite/Unsynced", { defaultValue: () => false })

/** Whether this is the context of a fiber inside a transaction of `sql` that has not ended: it would wait for itself. */
export const isInsideTransaction = (sql: SqlClient.SqlClient, context: Context.Context<never>): boolean => {
  const connection = Context.getOrUndefined(context, sql.transactionService)?.[0]
  return connection !== undefined && !(connection instanceof Lent && connection.ended)
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

/** How long the gate waits for the permit: far longer than any transaction that does not wait for something else. */
const gateWait = Duration.seconds(1)

/** How long the gate stays closed to writers: the stall that nobody notices. Its work may go on after that. */
const gateHold = Duration.millis(100)

/** How the work under the gate ended: in time, still going on when writers were let in again, or not begun. */
export type GateEnd<A, E> =
  | { readonly _tag: "Done"; readonly exit: Exit.Exit<A, E> }
  | { readonly _tag: "Overdue" }
  | { readonly _tag: "NotClosed" }

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
  /** Runs a part of the transaction around it: all of it or nothing, and nothing after it has ended. */
  readonly part: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError.SqlError, R>
  /** Who keeps everybody else waiting now; a single statement is nobody. */
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
export const make = Effect.fnUntraced(function* (connection: SqlConnection.Connection, log: CommitLog) {
  const driver = recompiling(connection)
  const permit = yield* Semaphore.make(1)
  const autocommit = new Lent(driver, log, log.everyCommitSyncs)
  const autocommitUnsynced = new Lent(driver, log, false)
  let held: { readonly context: Context.Context<never>; readonly since: bigint } | undefined

  /**
   * The level of the connection. Whoever commits sees to it that it is the right one before, under the permit; so writes
   * of one kind after another cost nothing. Prepared anew each time: SQLite carries this out while it prepares it.
   */
  let isLowered = false
  const level = (lowered: boolean) =>
    compiling(() =>
      driver.executeUnprepared(`PRAGMA synchronous = ${lowered ? "NORMAL" : "FULL"}`, [], undefined),
    ).pipe(
      Effect.map(() => {
        isLowered = lowered
      }),
    )

  /** One use of the connection under the permit, at the level that it needs. */
  const alone = <A, E, R>(lowered: boolean, use: () => Effect.Effect<A, E, R>) =>
    permit.withPermit(
      Effect.suspend((): Effect.Effect<A, E | SqlError.SqlError, R> =>
        isLowered === lowered ? use() : Effect.andThen(level(lowered), Effect.suspend(use)),
      ),
    )

  const reserve: SqlConnection.Acquirer = Effect.uninterruptibleMask((restore) =>
    Effect.withFiber((fiber) => {
      const scope = Context.getUnsafe(fiber.context, Scope.Scope)
      const lowered = log.everyCommitSyncs && fiber.getRef(Unsynced)
      return Effect.flatMap(restore(permit.take(1)), () => {
        const lent = new Lent(driver, log, log.everyCommitSyncs && !lowered)
        held = { context: fiber.context, since: fiber.getRef(Clock.Clock).monotonicTimeNanosUnsafe() }
        const giveBack = Effect.suspend(() => {
          lent.ended = true
          held = undefined
          return permit.release(1)
        })
        const taken = Effect.as(Scope.addFinalizer(scope, giveBack), lent)
        // The scope of who does not get the connection is closed by nobody.
        return isLowered === lowered
          ? taken
          : Effect.andThen(
              Effect.onError(level(lowered), () => giveBack),
              taken,
            )
      })
    }),
  )

  const part = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError.SqlError, R> =>
    Effect.withFiber((fiber) => {
      const lent = new Lent(driver, log, log.everyCommitSyncs && !fiber.getRef(Unsynced))
      return Effect.ensuring(
        Effect.provideService(sql.withTransaction(self), sql.transactionService, [lent, 0]),
        Effect.sync(() => {
          lent.ended = true
        }),
      )
    })

  const client = yield* SqlClient.make({
    driver: "sqlite-node",
    acquirer: reserve,
    transactionAcquirer: reserve,
    borrower: (use) => alone(false, () => use(autocommit)),
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

  // The hot path of the `Writer`: nothing around it that one statement in a million needs.
  const execute: SafeClient["execute"] = (text, params) => connection.execute(text, params, undefined)
  const executeAnew: SafeClient["execute"] = (text, params) =>
    compiling(() => connection.executeUnprepared(text, params, undefined))
  const commit: SafeClient["commit"] = (text, params, { unsynced }) => {
    const lowered = log.everyCommitSyncs && unsynced
    const connection = unsynced ? autocommitUnsynced : autocommit
    return alone(lowered, () => connection.execute(text, params, undefined))
  }
  return { sql, holder, gate, part, commit, execute, executeAnew } satisfies SafeClient
})
