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
import { didNotCompile } from "./Compiling.ts"
import type { Durability } from "./Durability.ts"
import type { LogSync } from "./LogSync.ts"
import { type NativeReason, nativeReason } from "./NativeError.ts"
import { isInsideTransaction, type Row, type SafeClient, Unsynced } from "./SafeClient.ts"
import { kindOf } from "./StatementKind.ts"
import * as Waiting from "./Waiting.ts"
import { type WriteFailure, WriterError } from "./WriterError.ts"

/** Comes with `Database.layer`. When acknowledged, a write is as durable as that promises (`Durability`). */
export class Writer extends Context.Service<
  Writer,
  {
    /**
     * One statement, and the rows that it returns; what follows its semicolon is not run. It stays prepared for the
     * next one of the same text. The parameters are copied, bytes too, so that they may be changed at once.
     */
    readonly execute: <A extends object = Row>(
      sql: string,
      params?: ReadonlyArray<unknown>,
    ) => Effect.Effect<ReadonlyArray<A>, WriteFailure>
    /** The same as a template, with everything that may stand in one of the `SqlClient`: `` writer.sql`INSERT ... ${value}` ``. */
    readonly sql: <A extends object = Row>(
      strings: TemplateStringsArray,
      ...values: ReadonlyArray<unknown>
    ) => Effect.Effect<ReadonlyArray<A>, WriteFailure>
    /**
     * All that `self` writes through the `SqlClient`, or nothing when it fails. It shares its transaction with other
     * callers, so it should write and return; whatever it waits for, they wait for too. It may run again when another
     * caller's write takes the whole transaction with it (`ON CONFLICT ROLLBACK`, a COMMIT that fails). When its caller goes
     * away it is interrupted and rolled back.
     */
    readonly transaction: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | WriteFailure, R>
  }
>()("seawall/sqlite/Writer") {}

/** So many writes are one batch at most: about 5 ms of work. The callers of all others wait, in the order of asking. */
const capacity = 1024

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
  readonly work: Statement | Part
  readonly answer: (exit: Answer) => void
  /** It waits for this connection no longer: what it asked for is committed. */
  readonly taken: (() => void) | undefined
  /** The caller has gone away. */
  cancelled: boolean
  /** Interrupts the part, while it runs. */
  stop: (() => void) | undefined
  /** What its part leaves to be done after the COMMIT, before its caller is told. */
  afterCommit: ReadonlyArray<Effect.Effect<void>>
}

interface Statement {
  readonly text: string
  readonly params: ReadonlyArray<unknown>
  /** Whether its caller wants whole numbers as `bigint`. */
  readonly bigints: boolean
}

/** What is to run as a part of the transaction, with the services of its caller. */
interface Part {
  readonly self: Effect.Effect<unknown, unknown>
  readonly services: Context.Context<never>
}

const isStatement = (work: Write["work"]): work is Statement => "text" in work

/** Of bytes a copy of their own; what has been given away meanwhile has none. */
const copyOfBytes = (param: unknown): unknown => {
  if (!ArrayBuffer.isView(param)) return param
  const copy = new Uint8Array(param.byteLength)
  if (param.byteLength > 0) copy.set(new Uint8Array(param.buffer, param.byteOffset, param.byteLength))
  return copy
}
/** A parameter, or an object of named ones. */
const copyOf = (param: unknown): unknown => {
  if (typeof param !== "object" || param === null || ArrayBuffer.isView(param)) return copyOfBytes(param)
  return Object.fromEntries(Object.entries(param).map(([name, value]) => [name, copyOfBytes(value)]))
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
  readonly client: Pick<SafeClient, "sql" | "awaited" | "part" | "commit" | "execute" | "executeAnew" | "isOpenAfter">
  readonly logSync: Pick<LogSync, "durable" | "refusal">
  readonly durability: Durability
}

/** The writer, and how it is brought to rest: takes nothing more, and ends when everybody was told how it ended. @internal */
export const make = Effect.fnUntraced(function* ({ client, durability, logSync }: WriterOptions) {
  const { awaited, execute, executeAnew, isOpenAfter, part, sql } = client
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
    for (const { taken } of committed.writes) taken?.()
    if (!unsynced) tell(committed)
    else if (!acknowledging.offer(committed)) tellAll(committed.writes, closed)
  }

  const asAsked = <A, E>({ bigints }: Statement, self: Effect.Effect<A, E>) =>
    bigints ? Effect.provideService(self, SqlClient.SafeIntegers, true) : self

  /** It is interrupted when its caller goes away, and the batch goes on. */
  const runPart = (write: Write, { self, services }: Part) =>
    // What it writes to another database is synced as that one promises.
    part(Effect.provideService(self, Unsynced, false), services, (fiber, afterCommit) => {
      write.stop = () => fiber.interruptUnsafe()
      write.afterCommit = afterCommit
    })

  const run = (write: Write): Effect.Effect<unknown, unknown> => {
    if (write.cancelled) return Effect.void
    const { work } = write
    return isStatement(work) ? asAsked(work, execute(work.text, work.params)) : runPart(write, work)
  }

  /** After a failure: the answer of this write, unless SQLite has rolled everything back because of it. */
  const answerTo = (write: Write, cause: Cause.Cause<unknown>): Effect.Effect<Answer, TransactionLost> =>
    Effect.flatMap(isOpenAfter(Cause.squash(cause)), (open) =>
      open ? Effect.succeed(Exit.failCause(cause)) : Effect.fail(new TransactionLost({ write, cause })),
    )

  /** The same of what did not compile: its table may be there by now, so it is tried once more. */
  const again = (write: Write, cause: Cause.Cause<unknown>): Effect.Effect<Answer, TransactionLost> => {
    const { work } = write
    const error = Cause.squash(cause)
    return isStatement(work) && SqlError.isSqlError(error) && didNotCompile(error)
      ? Effect.matchCauseEffect(asAsked(work, executeAnew(work.text, work.params)), {
          onFailure: (later) => answerTo(write, later),
          onSuccess: (rows) => Effect.succeed(Exit.succeed(rows)),
        })
      : answerTo(write, cause)
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
          Effect.flatMap(again(writes[answers.length]!, cause), (answer) => {
            answers.push(answer)
            return rest
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

  /** Succeeds with why, when the file or its disk failed what is to be written. */
  const commit = (all: ReadonlyArray<Write>): Effect.Effect<Answer | undefined> =>
    Effect.suspend(() => {
      const writes = all.filter(({ cancelled }) => !cancelled)
      const [first] = writes
      const refusal = logSync.refusal()
      if (first === undefined) return Effect.succeed(undefined)
      if (refusal !== undefined) return failAll(writes, Exit.fail(refusal))
      let hasBegun = false
      const begun = Effect.suspend(() => {
        hasBegun = true
        return together(writes)
      })
      const transaction =
        writes.length === 1 && isStatement(first.work) ? alone(first, first.work) : sql.withTransaction(begun)
      return transaction.pipe(
        Effect.provideService(Unsynced, unsynced),
        Effect.map((committed): Answer | undefined => {
          acknowledge(committed)
          const [only] = committed.answers
          return committed.answers.length === 1 && only !== undefined && Exit.isFailure(only)
            ? ofTheFile(only)
            : undefined
        }),
        Effect.catchCause((cause) => {
          const lost = Cause.squash(cause)
          const exit = Exit.failCause(cause)
          if (lost instanceof TransactionLost) {
            const own = Exit.failCause(lost.cause)
            lost.write.answer(own)
            return writes.length === 1
              ? Effect.succeed(ofTheFile(own))
              : eachAlone(writes.filter((it) => it !== lost.write))
          }
          // The COMMIT failed, perhaps because of what one of them wrote.
          const canBeOne = hasBegun && writes.length > 1 && ofTheFile(exit) === undefined
          return canBeOne ? eachAlone(writes) : Effect.map(failAll(writes, exit), () => ofTheFile(exit))
        }),
      )
    })
  const failAll = (writes: ReadonlyArray<Write>, exit: Answer) => Effect.sync(() => (tellAll(writes, exit), exit))

  /** What one caller did costs the others a second run, and nothing else; the first that meets a failing file ends it for all. */
  const eachAlone = Effect.fnUntraced(function* (writes: ReadonlyArray<Write>) {
    for (const [at, write] of writes.entries()) {
      const failed = yield* commit([write])
      if (failed !== undefined) return yield* failAll(writes.slice(at + 1), failed)
    }
    return undefined
  })

  /** What a batch has taken and not yet told how it ended. */
  let underWay: ReadonlyArray<Write> = []

  const writing: Batching.Batching<Write> = yield* Batching.make(
    { capacity, gathers: true },
    Effect.fnUntraced(function* (waiting: ReadonlyArray<Write>) {
      const writes = waiting.filter(({ cancelled }) => !cancelled)
      const start = yield* Clock.monotonicTimeNanos
      underWay = writes
      yield* commit(writes)
      underWay = []
      yield* Metric.update(commitSeconds, Number((yield* Clock.monotonicTimeNanos) - start) / 1e9)
      yield* Metric.update(batchSize, writes.length)
      yield* Metric.update(queueDepth, waiting.length + writing.size())
    }),
  )

  /** How many gave up since those who did were last taken out. */
  let gaveUp = 0

  const runFork = Effect.runForkWith(yield* Effect.context<never>())

  /** The hot path: one callback, and no more objects than it needs. */
  const submit = <A, E, R = never>(
    work: (context: Context.Context<R>) => Write["work"],
  ): Effect.Effect<A, E | WriteFailure, R> =>
    Effect.callback<A, E | WriteFailure, R>((resume) => {
      const fiber = Fiber.getCurrent()!
      const { context } = fiber
      if (isInsideTransaction(sql, context)) return resume(insideTransaction)
      const taken = Waiting.start(fiber, awaited)
      if (SqlError.isSqlError(taken)) return resume(Effect.fail(taken))
      const write: Write = {
        work: work(context as Context.Context<R>),
        answer: (exit) => {
          taken?.()
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
        afterCommit: [],
      }
      if (!writing.offer(write)) {
        taken?.()
        return resume(closed)
      }
      return Effect.sync(() => {
        write.cancelled = true
        taken?.()
        write.stop?.()
        gaveUp += 1
        if (gaveUp < capacity) return
        gaveUp = 0
        writing.keep(({ cancelled }) => !cancelled)
      })
    })

  const quiesce = Effect.andThen(writing.close, acknowledging.close).pipe(
    Effect.onInterrupt(() =>
      Effect.map(writing.takeBack, (left) => {
        tellAll(left, closed)
        for (const { stop } of underWay) stop?.() // a part that does not end is told so, and the rest of its batch can end
      }),
    ),
  )

  const statement = <A extends object>(text: string, params: () => ReadonlyArray<unknown>) =>
    submit<ReadonlyArray<A>, never>((context) => ({
      text,
      params: params(),
      bigints: Context.get(context, SqlClient.SafeIntegers),
    }))
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
        submit<A, E, R>((services) => ({ self: self as Part["self"], services: services as Part["services"] })),
    }),
  }
})

const isPlain = (param: unknown) => typeof param !== "object" || param === null

/** A copy when it is asked for. An object may fail to be read. */
const copied = (params: ReadonlyArray<unknown>) =>
  Effect.try({
    try: () => params.map(copyOf),
    catch: (cause) =>
      new SqlError.SqlError({
        reason: new SqlError.UnknownError({ cause, message: "A parameter cannot be read", operation: "execute" }),
      }),
  })

const failedAfterCommit = { log: "Error", message: "afterCommit callback failed" } as const

/** What is wrong with the file or its disk fails all callers at once: no single write is at fault. */
const isOfTheFile: ReadonlySet<NativeReason> = new Set<NativeReason>([
  "Busy",
  "Locked",
  "ReadOnly",
  "Io",
  "Corrupt",
  "CannotOpen",
  "NotADatabase",
  "NoPermission",
])

const ofTheFile = (exit: Answer): Answer | undefined =>
  Exit.isFailure(exit) && isOfTheFile.has(nativeReason(Cause.squash(exit.cause))) ? exit : undefined

const refused = (reason: WriterError["reason"]) => Exit.fail(new WriterError({ reason }))
const closed = refused("Closed")
const insideTransaction = refused("InsideTransaction")
const notAWrite = refused("NotAWrite")
const transactionControl = refused("TransactionControl")
