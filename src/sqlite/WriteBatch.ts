/**
 * One batch of the `Writer`: many callers' writes in one transaction, each of which answers for itself.
 *
 * A failure is that caller's answer as long as the transaction goes on. When SQLite has rolled it back because of one of them,
 * or the COMMIT fails, the others run again, each by itself; what is wrong with the file or its disk fails all at once.
 */
import { Cause, type Context, Data, Effect, Exit } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { didNotCompile } from "./Compiling.ts"
import type { DurabilityError } from "../sql/Durability.ts"
import { type NativeReason, reasonOf } from "./NativeError.ts"
import { Unsynced } from "./ConnectionPermit.ts"
import type { SafeClient } from "./SafeClient.ts"
import type { WriteTrace } from "./WriteTrace.ts"

/** The queue knows no types: what a write answers is what its own work did, or why it could not. */
export type Answer = Exit.Exit<unknown, unknown>

export interface Write {
  readonly work: Statement | Part
  readonly answer: (exit: Answer) => void
  /** It waits for this connection no longer: what it asked for is committed. */
  readonly taken: (() => void) | undefined
  /** The caller has gone away. */
  cancelled: boolean
  /** Interrupts the part, while it runs. */
  stop: (() => void) | undefined
  /** None while no tracer receives spans. */
  readonly trace: WriteTrace | undefined
  /** What its part leaves to be done after the COMMIT, before its caller is told. */
  afterCommit: ReadonlyArray<Effect.Effect<void>>
}

export interface Statement {
  readonly text: string
  readonly params: ReadonlyArray<unknown>
  /** Whether its caller wants whole numbers as `bigint`. */
  readonly bigints: boolean
}

/** Runs as a part of the transaction, with the services of its caller. */
export interface Part {
  readonly self: Effect.Effect<unknown, unknown>
  readonly services: Context.Context<never>
}

const isStatement = (work: Write["work"]): work is Statement => "text" in work

/** Writes that are committed, and what each of them will be told, in the same order. */
export interface Committed {
  readonly writes: ReadonlyArray<Write>
  readonly answers: ReadonlyArray<Answer>
}

/** SQLite has rolled the whole transaction back because of one of the writes. */
class TransactionLost extends Data.TaggedError("TransactionLost")<{
  readonly write: Write
  readonly cause: Cause.Cause<unknown>
}> {}

export const tell = ({ answers, writes }: Committed) => writes.forEach(({ answer }, index) => answer(answers[index]!))
export const tellAll = (writes: ReadonlyArray<Write>, exit: Answer) => writes.forEach(({ answer }) => answer(exit))

interface BatchOptions {
  readonly client: Pick<SafeClient, "sql" | "part" | "commit" | "execute" | "executeAnew" | "isOpenAfter">
  /** Whether what is committed is synced later, by its acknowledgement. */
  readonly unsynced: boolean
  /** Why nothing may commit any more, if so. */
  readonly refusal: () => DurabilityError | undefined
  readonly acknowledge: (committed: Committed) => void
}

/** How writes run, in one transaction or alone, and what each of them is answered. */
const runs = ({ client, unsynced }: BatchOptions) => {
  const { commit, execute, executeAnew, isOpenAfter, part } = client

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
      Effect.exit(asAsked(statement, commit(statement.text, statement.params, { unsynced }))),
      (exit): Committed => ({ writes: [write], answers: [exit] }),
    )

  return { together, alone }
}

/** Commits a batch, and answers each caller in it or passes it on to be acknowledged. */
export const commits = (options: BatchOptions) => {
  const { acknowledge, client, refusal: refusalOf, unsynced } = options
  const { alone, together } = runs(options)

  /** Succeeds with why, when the file or its disk failed what is to be written. */
  const commit = (all: ReadonlyArray<Write>): Effect.Effect<Answer | undefined> =>
    Effect.suspend(() => {
      const writes = all.filter(({ cancelled }) => !cancelled)
      const [first] = writes
      const refusal = refusalOf()
      if (first === undefined) return Effect.undefined
      if (refusal !== undefined) return failAll(writes, Exit.fail(refusal))
      let hasBegun = false
      const begun = Effect.suspend(() => {
        hasBegun = true
        return together(writes)
      })
      const transaction =
        writes.length === 1 && isStatement(first.work) ? alone(first, first.work) : client.sql.withTransaction(begun)
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

  return commit
}

/** A fault of the file or its disk fails all callers at once: no single write caused it. */
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
  Exit.isFailure(exit) && isOfTheFile.has(reasonOf(Cause.squash(exit.cause))) ? exit : undefined
