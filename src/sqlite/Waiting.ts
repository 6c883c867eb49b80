/**
 * The waits between the connections of a process, so that two transactions which write into each other's database end
 * with a failure instead of waiting for each other for good.
 *
 * A fiber inside a transaction holds that connection until the transaction ends. While it waits for another connection, the
 * first waits for the second; a wait that would close a circle fails. SQLite itself cannot see this: each connection is only
 * a queue of fibers. Not seen: a reserved connection, because nothing shows which fiber has it. Seen although harmless: a
 * fiber that was forked in a transaction counts as that until it ends, though the transaction may not wait for it.
 */
import { Context, Effect, type Fiber } from "effect"
import { constVoid } from "effect/Function"
import { SqlError } from "effect/sql"

/** A connection that fibers wait for. */
export interface Awaited {
  /** The transaction that has it now. */
  holder: Transaction | undefined
}

export const make = (): Awaited => ({ holder: undefined })

/** A transaction that a fiber is inside of, or a caller's part of one. */
export interface Transaction {
  readonly connection: Awaited
  ended: boolean
  /** The connections that fibers inside of it wait for now, and how many; a part shares those of its transaction. */
  readonly waitsFor: Map<Awaited, number>
}

/** The transactions around a fiber, the outermost first; those that have ended stay in the context of what was forked in them. */
export const Transactions = Context.Reference<ReadonlyArray<Transaction>>("seawall/sqlite/Transactions", {
  defaultValue: () => [],
})

/** The innermost transaction of this connection around a fiber, ended or not. */
export const innermost = (context: Context.Context<never>, connection: Awaited): Transaction | undefined =>
  Context.get(context, Transactions).findLast((it) => it.connection === connection)

/** The transactions of a fiber that enters another. Those of the same connection that have ended say nothing any more. */
export const entering = (
  transactions: ReadonlyArray<Transaction>,
  transaction: Transaction,
): ReadonlyArray<Transaction> => [
  ...transactions.filter(({ connection, ended }) => !ended || connection !== transaction.connection),
  transaction,
]

/** Whether what is asked for waits, over the transactions that have it now, for one of these. */
const leadsTo = (from: Awaited, targets: ReadonlySet<Awaited>, seen = new Set<Awaited>()): boolean => {
  if (targets.has(from)) return true
  if (seen.has(from)) return false
  seen.add(from)
  const next = from.holder?.ended === false ? [...from.holder.waitsFor.keys()] : []
  return next.some((it) => leadsTo(it, targets, seen))
}

const deadlock = () => {
  const message =
    "two transactions would wait for each other's database for good; write to the databases one after the other"
  return new SqlError.SqlError({
    reason: new SqlError.DeadlockError({ cause: new Error(message), message, operation: "acquireConnection" }),
  })
}

/**
 * Notes that this fiber waits for a connection from now on: answers what is to be called when it no longer does (nothing when
 * it holds none), or why it must not wait. Not an effect, because it is on the path of every write.
 */
export const start = (
  fiber: Fiber.Fiber<unknown, unknown>,
  connection: Awaited,
): (() => void) | SqlError.SqlError | undefined => {
  const all = fiber.getRef(Transactions)
  if (all.length === 0) return undefined
  const holding = all.filter((it) => !it.ended && it.connection !== connection)
  if (holding.length === 0) return undefined
  if (leadsTo(connection, new Set(holding.map((it) => it.connection)))) return deadlock()
  const maps = new Set(holding.map(({ waitsFor }) => waitsFor))
  for (const waitsFor of maps) waitsFor.set(connection, (waitsFor.get(connection) ?? 0) + 1)
  let waits = true
  return () => {
    if (!waits) return
    waits = false
    for (const waitsFor of maps) {
      const left = (waitsFor.get(connection) ?? 0) - 1
      if (left > 0) waitsFor.set(connection, left)
      else waitsFor.delete(connection)
    }
  }
}

/**
 * Runs what waits for a connection first and has it then; `taken` is to be called when it has it. An interruption cannot come
 * between the note and its end.
 */
export const whileWaiting = <A, E, R>(
  connection: Awaited,
  self: (taken: () => void) => Effect.Effect<A, E, R>,
): Effect.Effect<A, E | SqlError.SqlError, R> =>
  Effect.withFiber<A, E | SqlError.SqlError, R>((fiber) =>
    fiber.getRef(Transactions).length === 0
      ? self(constVoid)
      : Effect.uninterruptibleMask((restore) =>
          Effect.suspend((): Effect.Effect<A, E | SqlError.SqlError, R> => {
            const taken = start(fiber, connection)
            if (taken === undefined) return restore(self(constVoid))
            return typeof taken === "function"
              ? Effect.ensuring(restore(self(taken)), Effect.sync(taken))
              : Effect.fail(taken)
          }),
        ),
  )
