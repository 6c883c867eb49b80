/**
 * A caller's part of the transaction around the fiber that runs a batch: all of it or nothing, with the services of that caller, and
 * nothing of it after it has ended.
 */
import { Context, Effect, Fiber } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { withOwnLabels } from "./DatabaseName.ts"
import { loanOf } from "./LentConnection.ts"
import * as Waiting from "./Waiting.ts"

/** Runs a part; `started` gets the fiber that runs it, and what it leaves to be done after the COMMIT, complete by then. */
export type Part = <A, E>(
  self: Effect.Effect<A, E>,
  services: Context.Context<never>,
  started: (fiber: Fiber.Fiber<unknown, unknown>, afterCommit: ReadonlyArray<Effect.Effect<void>>) => void,
) => Effect.Effect<A, E | SqlError.SqlError>

/** A caller's part of a batch. */
interface PartOfBatch extends Waiting.Transaction {
  readonly afterCommit: Array<Effect.Effect<void>>
}

export const make = (sql: SqlClient.SqlClient, awaited: Waiting.Awaited) => {
  const { transactionService } = sql

  const part: Part = (self, services, started) =>
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
  const { afterCommit } = sql
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

  return { part, afterCommit: handingOver }
}
