/**
 * Writes of many fibers in one transaction, acknowledged when they are as durable as the `Database` promises.
 *
 * The writes that wait when the event loop turns become one batch; while one batch is synced the next is committed. No caller
 * waits for a timer, and nothing runs while there is nothing to write. Writes commit in the order of asking, and a read
 * after an acknowledged write sees it. One caller's failure is that caller's alone.
 * Interrupting a caller removes its write as long as its batch has not started; after that it may still commit.
 * What this does not do: retry. A COMMIT that fails (a full disk) fails its batch, and the next one is tried as ever.
 * https://www.sqlite.org/lang_transaction.html
 */
import { Clock, Context, Duration, Effect, Exit, Fiber, Metric } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import * as Batching from "./Batching.ts"
import { attributesOf } from "./DatabaseName.ts"
import type { WalSync } from "./WalSync.ts"
import { copied, isPlain } from "./Parameters.ts"
import type { SafeClient } from "./SafeClient.ts"
import { isInsideTransaction } from "./SafeTransactions.ts"
import { kindOf } from "./StatementKind.ts"
import * as Waiting from "./Waiting.ts"
import * as WriteBatch from "./WriteBatch.ts"
import { type Committed, type Part, tell, tellAll, type Write } from "./WriteBatch.ts"
import * as WriteTrace from "./WriteTrace.ts"
import { type Row, Writer } from "../sql/Writer.ts"
import { type WriteFailure, WriterError } from "../sql/WriterError.ts"

/** Maximum writes per batch: about 5 ms of work. The other callers wait, in the order in which they asked. */
const capacity = 1024

/** One for each database: a metric remembers its series only until another database updates it. */
const metrics = () => ({
  batchSize: Metric.histogram("seawall_write_batch_size", {
    description: "Writes in one transaction",
    boundaries: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024],
  }),
  queueDepth: Metric.gauge("seawall_write_queue_depth", {
    description: "Writes that waited when the last batch was taken",
  }),
  commitSeconds: Metric.histogram("seawall_write_commit_duration_seconds", {
    description: "How long a batch took from its BEGIN to the return of its COMMIT, in seconds",
    boundaries: [0.00005, 0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1],
  }),
})

/** What a `Database` makes its writer of. @internal */
interface WriterOptions {
  readonly client: Pick<SafeClient, "sql" | "awaited" | "part" | "commit" | "execute" | "executeAnew" | "isOpenAfter">
  readonly walSync: Pick<WalSync, "durable" | "refusal">
  /** Whether it commits without a sync, and syncs the WAL itself before it acknowledges. */
  readonly unsynced: boolean
  /** What its spans are about. */
  readonly file: string
  /** What they have beside that. */
  readonly spanAttributes?: Readonly<Record<string, unknown>> | undefined
}

/** Tells the callers of a batch how it ended, once it is as durable as they were promised. */
const acknowledgement = Effect.fnUntraced(function* ({ unsynced, walSync }: WriterOptions) {
  const syncing = yield* Batching.make({ capacity, gathers: false }, (batches: ReadonlyArray<Committed>) =>
    Effect.map(Effect.exit(walSync.durable), (exit) => {
      for (const { answers, writes } of batches) {
        if (Exit.isSuccess(exit)) for (const { trace } of writes) trace?.synced()
        tell(
          Exit.isSuccess(exit)
            ? { answers, writes }
            : { writes, answers: answers.map((own) => (Exit.isFailure(own) ? own : exit)) },
        )
      }
    }),
  )
  return {
    close: syncing.close,
    acknowledge: (committed: Committed) => {
      for (const { taken, trace } of committed.writes) {
        taken?.()
        trace?.committed()
      }
      if (!unsynced) tell(committed)
      else if (!syncing.offer(committed)) tellAll(committed.writes, closed)
    },
  }
})

/** How a caller's write comes into the queue, and what it waits for. */
const submitter = Effect.fnUntraced(function* (
  { awaited, sql }: WriterOptions["client"],
  writing: Batching.Batching<Write>,
  traces: ReturnType<typeof WriteTrace.make>,
) {
  /** How many gave up since those who did were last taken out. */
  let gaveUp = 0

  const runFork = Effect.runForkWith(yield* Effect.context<never>())

  /** The hot path: one callback, and no more objects than it needs. */
  const submit = <A, E, R = never>(
    work: (context: Context.Context<R>) => Write["work"],
    text: string | undefined,
    trace?: WriteTrace.WriteTrace,
  ): Effect.Effect<A, E | WriteFailure, R> =>
    Effect.callback<A, E | WriteFailure, R>((resume) => {
      const fiber = Fiber.getCurrent()!
      const { context } = fiber
      const tracer = WriteTrace.tracerOf(fiber)
      if (tracer !== undefined && trace === undefined) {
        return resume(traces.traced(tracer, text, (own) => submit<A, E, R>(work, text, own)))
      }
      if (isInsideTransaction(sql, context)) return resume(insideTransaction)
      const taken = Waiting.start(fiber, awaited)
      if (SqlError.isSqlError(taken)) return resume(Effect.fail(taken))
      const write: Write = {
        work: work(context as Context.Context<R>),
        answer: (exit) => {
          taken?.()
          trace?.ended(exit)
          if (write.afterCommit.length === 0 || Exit.isFailure(exit)) return resume(exit as Exit.Exit<A, E>)
          // In a fiber of its own: what it waits for may be the next batch.
          const all = Effect.forEach(write.afterCommit, (one) => Effect.ignoreCause(one, failedAfterCommit))
          runFork(
            Effect.andThen(
              all,
              Effect.sync(() => resume(exit as Exit.Exit<A, E>)),
            ),
          )
        },
        taken,
        cancelled: false,
        stop: undefined,
        trace,
        afterCommit: [],
      }
      if (!writing.offer(write)) {
        taken?.()
        return resume(closed)
      }
      return Effect.sync(() => {
        write.cancelled = true
        taken?.()
        trace?.ended(Exit.void)
        write.stop?.()
        gaveUp += 1
        if (gaveUp < capacity) return
        gaveUp = 0
        writing.keep(({ cancelled }) => !cancelled)
      })
    })

  return submit
})

/** The writer, and its end: takes nothing more, and ends when every caller has its answer. @internal */
export const make = Effect.fnUntraced(function* (options: WriterOptions) {
  const { client, file, spanAttributes, unsynced, walSync } = options
  const { sql } = client
  const { batchSize, commitSeconds, queueDepth } = metrics()
  const traces = WriteTrace.make({ ...spanAttributes, ...attributesOf(file) }, yield* Clock.Clock)

  const { acknowledge, close } = yield* acknowledgement(options)
  const commit = WriteBatch.commits({ client, unsynced, refusal: walSync.refusal, acknowledge })

  /** What a batch has taken and not yet told how it ended. */
  let underWay: ReadonlyArray<Write> = []

  const writing: Batching.Batching<Write> = yield* Batching.make(
    { capacity, gathers: true },
    Effect.fnUntraced(function* (waiting: ReadonlyArray<Write>) {
      const writes = waiting.filter(({ cancelled }) => !cancelled)
      underWay = writes
      const batch = traces.begin(writes)
      const [took] = yield* Effect.timed(commit(writes))
      batch?.leave(Exit.void)
      underWay = []
      yield* Metric.update(commitSeconds, Duration.toSeconds(took))
      yield* Metric.update(batchSize, writes.length)
      yield* Metric.update(queueDepth, waiting.length + writing.size())
    }),
  )

  const submit = yield* submitter(client, writing, traces)

  const quiesce = Effect.andThen(writing.close, close).pipe(
    Effect.onInterrupt(() =>
      Effect.map(writing.takeBack, (left) => {
        tellAll(left, closed)
        for (const { stop } of underWay) stop?.() // a part that does not end is told so, and the rest of its batch can end
      }),
    ),
  )

  const statement = <A extends object>(text: string, params: () => ReadonlyArray<unknown>) =>
    submit<ReadonlyArray<A>, never>(
      (context) => ({ text, params: params(), bigints: Context.get(context, SqlClient.SafeIntegers) }),
      text,
    )
  const executing = <A extends object = Row>(text: string, params: ReadonlyArray<unknown> = []) => {
    switch (kindOf(text)._tag) {
      case "Opens":
      case "Ends":
      case "Nests":
        return transactionControl
      case "Pragma":
      case "Attach":
      case "Vacuum":
        return notAWrite
      default:
        return params.every(isPlain)
          ? statement<A>(text, () => params.slice())
          : Effect.flatMap(copied(params), (own) => statement<A>(text, () => own))
    }
  }

  return {
    quiesce,
    writer: Writer.of({
      execute: executing,
      sql: <A extends object = Row>(strings: TemplateStringsArray, ...values: ReadonlyArray<unknown>) => {
        const [text, params] = sql(strings, ...values).compile()
        return executing<A>(text, params)
      },
      transaction: <A, E, R>(self: Effect.Effect<A, E, R>) =>
        submit<A, E, R>(
          (services) => ({ self: self as Part["self"], services: services as Part["services"] }),
          undefined,
        ),
    }),
  }
})

const failedAfterCommit = { log: "Error", message: "afterCommit callback failed" } as const

const refused = (reason: WriterError["reason"]) => Exit.fail(new WriterError({ reason }))
const closed = refused("Closed")
const insideTransaction = refused("InsideTransaction")
const notAWrite = refused("NotAWrite")
const transactionControl = refused("TransactionControl")
