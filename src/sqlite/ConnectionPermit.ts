/**
 * The one connection of a database behind one permit: who has it, for how long, and in which state it is handed over.
 *
 * Before anything runs the connection is brought to the level of durability that it needs (`synchronous`), and a rollback that
 * failed is tried again. What a reserved connection leaves open is rolled back when it is given back.
 * https://www.sqlite.org/pragma.html#pragma_synchronous
 */
import { type Cause, Clock, Context, Effect, Exit, Option, Scope, Semaphore, Tracer } from "effect"
import type { SqlConnection, SqlError } from "effect/sql"
import { compilingAnew } from "./Compiling.ts"
import { aboutThis } from "./DatabaseName.ts"
import { type CommitLog, connectionOf, type Lender, Loan, rollBack } from "./LentConnection.ts"
import type { Use } from "./StatementRules.ts"
import * as Waiting from "./Waiting.ts"

/**
 * Commits made under this are not synced: the caller syncs them before
 * it acknowledges them. No other caller commits at that level.
 */
export const Unsynced = Context.Reference<boolean>("seawall/sqlite/Unsynced", { defaultValue: () => false })

/** The holder of the connection: a transaction, or a reservation. */
export interface Holder {
  /** The nearest span around it that is not the transaction's own. */
  readonly span: string
  /** For how long, in seconds. */
  readonly seconds: number
}

const spanOf = (context: Context.Context<never>): string => {
  let span = Option.getOrUndefined(Context.getOption(context, Tracer.ParentSpan))
  while (span?._tag === "Span" && span.name === "sql.transaction") span = Option.getOrUndefined(span.parent)
  return span?._tag === "Span" ? span.name : "unknown"
}

/** The state in which the connection is handed to the next caller. */
const readiness = (driver: ReturnType<typeof compilingAnew>, about: Effect.Success<typeof aboutThis>) => {
  /**
   * The level of the connection. A commit sets the right one before, under the permit; so writes
   * of one kind after another cost nothing. Prepared again each time: SQLite carries this out while it prepares it.
   */
  let isLowered = false
  const level = (lowered: boolean) =>
    driver.executeUnprepared(`PRAGMA synchronous = ${lowered ? "NORMAL" : "FULL"}`, [], undefined).pipe(
      Effect.map(() => {
        isLowered = lowered
      }),
    )

  /** A rollback that did not succeed is tried again before the next caller gets the connection. */
  let isStuck = false
  const unstuck = Effect.suspend(() =>
    isStuck
      ? Effect.map(rollBack(driver), () => {
          isStuck = false
        })
      : Effect.void,
  )
  return {
    stuck: (cause: Cause.Cause<SqlError.SqlError>) =>
      Effect.suspend(() => {
        isStuck = true
        return about(Effect.logError("rollback failed", cause))
      }),
    isReady: (lowered: boolean) => isLowered === lowered && !isStuck,
    /** Runs before the connection is used. */
    ready: (lowered: boolean) =>
      Effect.andThen(
        unstuck,
        Effect.suspend(() => (isLowered === lowered ? Effect.void : level(lowered))),
      ),
  }
}

/** Makes the permit of a connection that the caller owns, and that is used in no other way from now on. */
export const make = Effect.fnUntraced(function* (connection: SqlConnection.Connection, log: CommitLog) {
  const driver = compilingAnew(connection)
  const permit = yield* Semaphore.make(1)
  const awaited = Waiting.make()
  const about = yield* aboutThis
  const { isReady, ready, stuck } = readiness(driver, about)

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

  let held: { readonly context: Context.Context<never>; readonly since: bigint } | undefined

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
        // On failure no scope will release the permit, so release it here.
        return isReady(lowered)
          ? taken
          : Effect.andThen(
              Effect.onError(ready(lowered), () => release),
              taken,
            )
      })
    })
  const holder = Effect.map(Clock.monotonicTimeNanos, (now) =>
    Option.map(Option.fromUndefinedOr(held), ({ context, since }): Holder => ({
      span: spanOf(context),
      seconds: Number(now - since) / 1e9,
    })),
  )
  return { acquire, alone, autocommit, autocommitUnsynced, awaited, holder, lender, permit }
})
