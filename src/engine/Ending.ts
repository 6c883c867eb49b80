/**
 * How a session ends, always: a start that failed is stored, and what is stored at the end waits for a busy database.
 *
 * It stands twice in the chain of `Session`. `above` has the `StateManager`, and closes before the guard, whose end closes
 * the `Writer`. `below` stands on the database alone: it closes after a start that failed before `above` was built, brings
 * the schema up to date, and writes without the `Writer`. `Halt.settled` says that a reason was stored already.
 * What this does not do: store anything for a file that was not opened. There the log and the exit code are all there is.
 */
import { Cause, Clock, Context, Duration, Effect, Exit, Fiber, Layer, Option, Ref, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { holderNames } from "../processes/ProcessName.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import * as Database from "../sqlite/Database.ts"
import { ofSeawall } from "../sqlite/DatabaseName.ts"
import { reasonOf } from "../sqlite/NativeError.ts"
import * as Lease from "../lease/Lease.ts"
import { Writer } from "../sql/Writer.ts"
import { engineStatusKey, haltDetailKey, haltReasonKey } from "../state/StateKeys.ts"
import { reasonOf as storeReasonOf, StateError } from "../state/StateError.ts"
import * as StateManager from "../state/StateManager.ts"
import * as Halt from "./Halt.ts"
import * as HaltReason from "./HaltReason.ts"

/** A detail is read by eyes. */
const longestDetail = 2000

/** What the first failure says; empty when there is none, as at an interruption. */
const firstMessage = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return ""
  const failures = exit.cause.reasons.filter((reason) => !Cause.isInterruptReason(reason))
  const [first] = Cause.prettyErrors(Cause.fromReasons(failures.slice(0, 1)))
  return (first?.message ?? "").toWellFormed().slice(0, longestDetail)
}

/** The detail that is stored beside the reason: the detail of the request, else the first cause of the failure. */
export const detailOf = (requested: Option.Option<Halt.HaltRequest>, exit: Exit.Exit<unknown, unknown>): string =>
  Option.match(requested, { onNone: () => firstMessage(exit), onSome: ({ detail }) => detail })

/** How often a closing step asks a busy database again. */
const retryInterval = "100 millis"

const isBusy = (error: unknown) => ["Busy", "Locked"].includes(reasonOf(error))

/** The processes that keep a writer out; all that hold a lock when none of them does. */
const holders = Effect.gen(function* () {
  const database = yield* Effect.serviceOption(Database.Database)
  if (Option.isNone(database)) return "unknown"
  const all = Option.getOrElse(yield* database.value.lockHolders, () => [])
  const writing = all.filter(({ lock }) => lock === "write" || lock === "recover")
  return holderNames(writing.length > 0 ? writing : all) || "unknown"
})

/**
 * Gives what makes a closing step wait for a busy database: it tries again every 100 ms, for half of what is left of the
 * budget, so that the next step has some. The first step that waits says who holds the lock, once for all of them.
 */
export const patience = Effect.gen(function* () {
  const isSaid = yield* Ref.make(false)
  return (step: string) =>
    Effect.fnUntraced(function* <A, E, R>(self: Effect.Effect<A, E, R>) {
      const left = yield* Effect.flatMap(Shutdown.Shutdown, ({ remaining }) => remaining)
      const until = (yield* Clock.currentTimeMillis) + Duration.toMillis(left) / 2
      const say = Effect.gen(function* () {
        if (yield* Ref.getAndSet(isSaid, true)) return
        const seconds = Math.round(Duration.toMillis(left) / 2) / 1000
        yield* Effect.annotateLogs(Effect.logWarning("database busy"), {
          step,
          held_by: yield* holders,
          tried_again_for_seconds: seconds,
        })
      })
      return yield* self.pipe(
        Effect.tapError((error) => (isBusy(error) ? say : Effect.void)),
        Effect.retry({
          schedule: Schedule.spaced(retryInterval),
          while: (error) => Effect.map(Clock.currentTimeMillis, (now) => isBusy(error) && now < until),
        }),
      )
    })
})

/**
 * What a program may give at the end, for half of what is left of the budget. Where it fails, dies or does not end, that is
 * an ERROR and a step that failed, and none is given.
 */
export const given = Effect.fnUntraced(function* <A, E, R>(name: string, self: Effect.Effect<Option.Option<A>, E, R>) {
  const shutdown = yield* Shutdown.Shutdown
  const bound = Duration.divideUnsafe(yield* shutdown.remaining, 2)
  const asked = yield* Effect.forkDetach(Effect.exit(Effect.interruptible(self)), { startImmediately: true })
  const answered = yield* Effect.timeoutOption(Fiber.join(asked), bound)
  if (Option.isNone(answered)) yield* Effect.forkDetach(Fiber.interrupt(asked))
  const exit = Option.getOrElse(answered, (): Exit.Exit<Option.Option<A>, E | Cause.TimeoutError> =>
    Exit.fail(new Cause.TimeoutError(`it did not end within ${Duration.toSeconds(bound)} s`)),
  )
  if (Exit.isSuccess(exit)) return exit.value
  yield* Effect.logError(`${name} unknown`, exit.cause)
  yield* shutdown.recordFailure(name)
  return Option.none<A>()
})

/** Whether the lease is lost: from then on nothing is written, and the next leader ends the row of this session. */
export const isLost = (requested: Option.Option<Halt.HaltRequest>): boolean =>
  Option.exists(requested, ({ reason }) => Option.contains(reason, "leadership_lost"))

/** Whether a start failed because another leads by then, or the server is not reached. */
const isLossOfLease = Effect.fnUntraced(function* (exit: Exit.Exit<unknown, unknown>) {
  const epoch = Option.flatMap(yield* Effect.serviceOption(Lease.Lease), (lease) => lease.epoch)
  return Option.isSome(epoch) && Exit.isFailure(exit) && Lease.isLoss(storeReasonOf(Cause.squash(exit.cause)))
})

const isOfSchema = (exit: Exit.Exit<unknown, unknown>) => {
  const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  return error instanceof StateError && error.operation === "schema"
}

const stepName = "halt.reason"

/** Stores reason, detail and HALTED in one transaction, unless a reason was stored before. */
const storing = <E, R>(
  memory: Effect.Effect<StateManager.StateManager["Service"], E, R>,
  failed: (cause: Cause.Cause<unknown>) => Effect.Effect<void, unknown>,
) =>
  Layer.effectDiscard(
    Effect.addFinalizer((exit) =>
      Effect.gen(function* () {
        const halt = yield* Halt.Halt
        if (Option.isSome(yield* halt.settled)) return
        const requested = yield* halt.requested
        if (isLost(requested) || (yield* isLossOfLease(exit))) return yield* halt.settle("leadership_lost")
        const explicit = Halt.explicitReason(requested, exit, "startup_failure")
        if (Option.isSome(explicit)) yield* halt.settle(explicit.value)
        // Where the tables are not ours there is no place for it.
        if (isOfSchema(exit)) return
        const patient = (yield* patience)(stepName)
        const store = Effect.gen(function* () {
          const state = yield* memory
          // A request without a reason says that the reason is stored; what is stored otherwise is of the session before.
          const stored =
            Option.isSome(requested) && Option.isNone(explicit) ? yield* state.get(haltReasonKey) : Option.none()
          const reason = HaltReason.resolve(explicit, stored)
          yield* halt.settle(reason)
          yield* state.setMany({
            [haltReasonKey]: reason,
            [haltDetailKey]: detailOf(requested, exit),
            [engineStatusKey]: "HALTED",
          })
        })
        yield* Shutdown.step(stepName, Effect.catchCause(patient(Effect.scoped(store)), failed))
      }).pipe(Shutdown.contained(stepName), ofSeawall),
    ),
  )

/** What fails above it is stored before the guard closes. A function: each database has its own. */
export const above = () => storing(StateManager.StateManager, Effect.failCause)

/** A memory through the `Writer` in the context. */
const inReach = Effect.gen(function* () {
  const context = yield* Layer.build(StateManager.layer())
  return Context.get(context, StateManager.StateManager)
})

/** Writes of one caller, when the `Writer` may have been closed: each is its own transaction, and durable when it returns. */
const direct = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const { durable } = yield* Database.Database
  return Writer.of({
    execute: <A extends object>(text: string, params: ReadonlyArray<unknown> = []) =>
      Effect.tap(sql.unsafe<A>(text, params), durable),
    sql: <A extends object>(strings: TemplateStringsArray, ...values: ReadonlyArray<unknown>) =>
      Effect.tap(sql<A>(strings, ...values), durable),
    transaction: (self) => Effect.tap(sql.withTransaction(self), durable),
  })
})

const ownMemory = Effect.gen(function* () {
  const writer = yield* direct
  const context = yield* Layer.build(Layer.provide(StateManager.layer(), Layer.succeed(Writer, writer)))
  return Context.get(context, StateManager.StateManager)
})

const ownOf = <E, R>(memory: Effect.Effect<StateManager.StateManager["Service"], E, R>) =>
  storing(memory, (cause) =>
    Effect.andThen(
      Effect.logError("start failure not stored", cause),
      Effect.flatMap(Shutdown.Shutdown, ({ recordFailure }) => recordFailure(stepName)),
    ),
  )

/** What fails between it and `above` is stored with a `StateManager` of its own. A function: each database has its own. */
export const below = () => ownOf(ownMemory)

/** The same on a store whose `Writer` closes after it. */
export const belowWriter = () => ownOf(inReach)
