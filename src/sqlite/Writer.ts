/**
 * Writes of many fibers in one transaction, acknowledged when they are as durable as the `Database` promises.
 *
 * What is waiting when the event loop turns becomes one batch; while one batch is synced the next is committed. Nobody
 * waits for a timer, and nothing runs while there is nothing to write. Writes commit in the order of asking, and a read
 * after an acknowledged write sees it. One caller's failure is that caller's alone.
 * Interrupting a caller removes its write as long as its batch has not started; after that it may still commit.
 * What this does not do: retry. A COMMIT that fails (a full disk) fails its batch, and the next one is tried as ever.
 * https://www.sqlite.org/lang_transaction.html
 */
import { Cause, Clock, Context, Data, Effect, Exit, Fiber, Metric } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import * as Batching from "./Batching.ts"
import type { Durability } from "./Durability.ts"
import { didNotCompile } from "./LentConnection.ts"
import type { LogSync } from "./LogSync.ts"
import { nativeReason } from "./NativeError.ts"
import { isInsideTransaction, type Row, type SafeClient, Unsynced } from "./SafeClient.ts"
import { type WriteFailure, WriterError } from "./WriterError.ts"

/** Comes with `Database.layer`. When acknowledged, a write is as durable as that promises (`Durability`). */
export class Writer extends Context.Service<
  Writer,
  {
    /**
     * One statement, and the rows that it returns; what follows its semicolon is not run. It stays prepared for the
     * next one of the same text.
     */
    readonly execute: (sql: string, params?: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, WriteFailure>
    /**
     * All that `self` writes through the `SqlClient`, or nothing when it fails. It shares its transaction with other
     * callers, so it should write and return; whatever it waits for, they wait for too. It may run again when another
     * caller's statement takes the whole transaction with it (`ON CONFLICT ROLLBACK`).
     */
    readonly transaction: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | WriteFailure, R>
  }
>()("seawall/sqlite/Writer") {}

/** So many writes are one batch at most: about 5 ms of work. The callers of all others wait, in the order of asking. */
const capacity = 1024

/** Behind white space and comments, as SQLite reads it. */
const forbidden =
  /^(?:\s|--[^\n]*\n|\/\*[^]*?\*\/)*(?:begin|commit|end|rollback|savepoint|release|pragma|attach|detach|vacuum)\b/i

const batchSize = Metric.histogram("seawall_write_batch_size", {
  description: "Writes in one transaction",
  boundaries: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024],
})
const queueDepth = Metric.gauge("seawall_write_queue_depth", {
  description: "Writes that waited when the last batch was taken",
})
const commitSeconds = Metric.histogram("seawall_write_commit_duration_seconds", {
  description: "How long a batch took from its BEGIN to the return of its COMMIT",
  boundaries: [0.00005, 0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1],
})

/** The queue knows no types: what a write answers is what its own work did, or why it could not. */
type Answer = Exit.Exit<unknown, unknown>

interface Write {
  /** A statement, or what is to run as a part of the transaction with the services of its caller. */
  readonly work: Statement | Effect.Effect<unknown, unknown>
  readonly answer: (exit: Answer) => void
  /** The caller has gone away. */
  cancelled: boolean
}

interface Statement {
  readonly text: string
  readonly params: ReadonlyArray<unknown>
  /** Whether its caller wants whole numbers as `bigint`. */
  readonly bigints: boolean
}

/** Writes that are committed, and what each of them will be told, in the same order. */
interface Committed {
  readonly writes: ReadonlyArray<Write>
  readonly answers: ReadonlyArray<Answer>
}

/** SQLite has rolled the whole transaction back because of one of the writes. */
class TransactionLost extends Data.TaggedError("TransactionLost")<{
  readonly write: Write
  readonly cause: Cause.Cause<unknown>
}> {}

const tell = ({ answers, writes }: Committed) => writes.forEach(({ answer }, index) => answer(answers[index]!))
const tellAll = (writes: ReadonlyArray<Write>, exit: Answer) => writes.forEach(({ answer }) => answer(exit))

/** What a `Database` makes its writer of. @internal */
export interface WriterOptions {
  readonly client: Pick<SafeClient, "sql" | "part" | "commit" | "execute" | "executeAnew">
  readonly logSync: Pick<LogSync, "durable" | "refusal">
  readonly durability: Durability
}

/** The writer, and how it is brought to rest: takes nothing more, and ends when everybody was told how it ended. @internal */
export const make = Effect.fnUntraced(function* ({ client, durability, logSync }: WriterOptions) {
  const { execute, executeAnew, part, sql } = client
  const unsynced = durability === "durable"

  const acknowledging = yield* Batching.make({ capacity, gathers: false }, (batches: ReadonlyArray<Committed>) =>
    Effect.map(Effect.exit(logSync.durable), (exit) => {
      for (const { answers, writes } of batches) {
        tell(
          Exit.isSuccess(exit)
            ? { answers, writes }
            : { writes, answers: answers.map((own) => (Exit.isFailure(own) ? own : exit)) },
        )
      }
    }),
  )
  const acknowledge = (committed: Committed) => {
    if (!unsynced) tell(committed)
    else if (!acknowledging.offer(committed)) tellAll(committed.writes, closed)
  }

  /** Whether the transaction is still open, which only SQLite knows. */
  const isOpen = Effect.match(execute("BEGIN", []), { onFailure: () => true, onSuccess: () => false })

  const asAsked = <A, E>({ bigints }: Statement, self: Effect.Effect<A, E>) =>
    bigints ? Effect.provideService(self, SqlClient.SafeIntegers, true) : self

  const run = ({ work }: Write): Effect.Effect<unknown, unknown> =>
    // What it writes to another database is synced as that one promises.
    Effect.isEffect(work)
      ? part(Effect.provideService(work, Unsynced, false))
      : asAsked(work, execute(work.text, work.params))

  /** What failed once more, if there is a chance: its table may be there by now. */
  const again = ({ work }: Write, cause: Cause.Cause<unknown>): Effect.Effect<Answer> => {
    const error = Cause.squash(cause)
    return !Effect.isEffect(work) && SqlError.isSqlError(error) && didNotCompile(error)
      ? Effect.exit(asAsked(work, executeAnew(work.text, work.params)))
      : Effect.succeed(Exit.failCause(cause))
  }

  /** Each write in turn; the failure of one is its answer, unless SQLite has rolled everything back. */
  const together = (writes: ReadonlyArray<Write>) =>
    Effect.suspend(() => {
      const answers: Array<Answer> = []
      const rest: Effect.Effect<void, TransactionLost> = Effect.whileLoop({
        while: () => answers.length < writes.length,
        body: () => run(writes[answers.length]!),
        step: (value) => answers.push(Exit.succeed(value)),
      }).pipe(
        Effect.catchCause((cause) =>
          Effect.flatMap(isOpen, (open) => {
            const write = writes[answers.length]!
            if (!open) return Effect.fail(new TransactionLost({ write, cause }))
            return Effect.flatMap(again(write, cause), (answer) => {
              answers.push(answer)
              return rest
            })
          }),
        ),
      )
      return Effect.as(rest, { writes, answers } satisfies Committed)
    })

  /** One statement is a transaction by itself. */
  const alone = (write: Write, statement: Statement) =>
    Effect.map(
      Effect.exit(asAsked(statement, client.commit(statement.text, statement.params, { unsynced }))),
      (exit): Committed => ({ writes: [write], answers: [exit] }),
    )

  const commit = (writes: ReadonlyArray<Write>): Effect.Effect<void> =>
    Effect.suspend(() => {
      const [first] = writes
      const refusal = logSync.refusal()
      if (first === undefined) return Effect.void
      if (refusal !== undefined) return Effect.sync(() => tellAll(writes, Exit.fail(refusal)))
      const transaction =
        writes.length > 1 || Effect.isEffect(first.work)
          ? sql.withTransaction(together(writes))
          : alone(first, first.work)
      return transaction.pipe(
        Effect.provideService(Unsynced, unsynced),
        Effect.map(acknowledge),
        Effect.catchTag("TransactionLost", ({ cause, write }) => {
          const exit = Exit.failCause(cause)
          // A statement that asks to roll back on a conflict costs nobody else; a full disk is everybody's.
          if (nativeReason(Cause.squash(cause)) !== "Constraint") return Effect.sync(() => tellAll(writes, exit))
          write.answer(exit)
          return Effect.forEach(
            writes.filter((other) => other !== write),
            (other) => commit([other]),
            { discard: true },
          )
        }),
        Effect.catchCause((cause) => Effect.sync(() => tellAll(writes, Exit.failCause(cause)))),
      )
    })

  const writing: Batching.Batching<Write> = yield* Batching.make(
    { capacity, gathers: true },
    Effect.fnUntraced(function* (waiting: ReadonlyArray<Write>) {
      const writes = waiting.filter(({ cancelled }) => !cancelled)
      const start = yield* Clock.monotonicTimeNanos
      yield* commit(writes)
      yield* Metric.update(commitSeconds, Number((yield* Clock.monotonicTimeNanos) - start) / 1e9)
      yield* Metric.update(batchSize, writes.length)
      yield* Metric.update(queueDepth, waiting.length + writing.size())
    }),
  )

  /** How many gave up since those who did were last taken out. */
  let gaveUp = 0

  /** The hot path: one callback, and no more objects than it needs. */
  const submit = <A, E, R = never>(
    work: (context: Context.Context<R>) => Write["work"],
  ): Effect.Effect<A, E | WriteFailure, R> =>
    Effect.callback<A, E | WriteFailure, R>((resume) => {
      const { context } = Fiber.getCurrent()!
      if (isInsideTransaction(sql, context)) return resume(insideTransaction)
      const write: Write = {
        work: work(context as Context.Context<R>),
        answer: resume as (exit: Answer) => void,
        cancelled: false,
      }
      if (!writing.offer(write)) return resume(closed)
      return Effect.sync(() => {
        write.cancelled = true
        gaveUp += 1
        if (gaveUp < capacity) return
        gaveUp = 0
        writing.keep(({ cancelled }) => !cancelled)
      })
    })

  const quiesce = Effect.andThen(writing.close, acknowledging.close).pipe(
    Effect.onInterrupt(() => Effect.map(writing.takeBack, (left) => tellAll(left, closed))),
  )

  return {
    quiesce,
    writer: Writer.of({
      execute: (text, params = []) =>
        forbidden.test(text)
          ? notAWrite
          : submit((context) => ({ text, params, bigints: Context.get(context, SqlClient.SafeIntegers) })),
      transaction: <A, E, R>(self: Effect.Effect<A, E, R>) =>
        submit<A, E, R>((context) => Effect.provideContext(self, context)),
    }),
  }
})

const refused = (reason: WriterError["reason"]) => Exit.fail(new WriterError({ reason }))
const closed = refused("Closed")
const insideTransaction = refused("InsideTransaction")
const notAWrite = refused("NotAWrite")
