/**
 * Which of many machines runs the engine of a schema: the second implementation of `Lease`.
 *
 * A leader has a lock of its session on the server, and is heard there three times in a lease. The server ends a session of
 * which it hears nothing for a lease, and its lock with it, so that another can lead; a leader whose beat fails, or whose connection
 * ends, knows that it has lost the lease, at the latest after two thirds of it without an answer. What it still tries to
 * write then is refused by the fence (`LeaderRow`), whose epoch has moved on with the lock.
 * It does not elect by majority and replicates nothing: the server is the one arbiter, and its failover is its own.
 * https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
 */
import { Cause, Deferred, Duration, Effect, Exit, Layer, Option, Scope } from "effect"
import * as Lease from "../lease/Lease.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import { ofSeawall } from "../sqlite/DatabaseName.ts"
import * as LeaderLock from "./LeaderLock.ts"
import { prepare } from "./PostgresClient.ts"
import type { PostgresOpenError } from "./PostgresOpenError.ts"
import { check, type PostgresOptions, type PostgresSettings, timesOf } from "./PostgresOptions.ts"
import { messageOf } from "./SqlState.ts"

export type { PostgresOptions }

/** How an engine comes to lead. */
export interface LeadershipOptions extends PostgresOptions {
  /** Whether it waits while another leads; default true. If not, it fails with `Held`. */
  readonly standby?: boolean | undefined
  /**
   * Asked after a wait, when the lease is free: whether to take over from a session that has ended. Default always. One that ended on
   * purpose is not to be gone on with, before an operator starts an engine again; that it is not is said once (WARNING).
   */
  readonly takesOver?: ((last: Lease.Ended) => boolean) | undefined
  /** Whether this process led, or stood by, before: then it goes on after the last leader, and a server that is down is waited for. Default false. */
  readonly again?: boolean | undefined
  /** Whether something else elects, as a cluster does: then there is no lock, and the fence alone decides. Default false. */
  readonly elected?: boolean | undefined
}

/**
 * Leads for the life of the layer, and waits before that while another does. Fails with a `LeaseError` where the server is not one that
 * an engine can be kept in, or another leads and nothing is to be waited for.
 */
export const layer = (options: LeadershipOptions): Layer.Layer<Lease.Lease, Lease.LeaseError> =>
  Layer.effect(Lease.Lease, ofSeawall(make(options)))

/** How often one that waits looks whether the lease is free. */
const pollInterval = "100 millis"

/** How often it looks when it is free and no machine is to lead, and how long it waits for a server that does not answer; heard in between. */
const restInterval = (lease: Duration.Duration) => Duration.min(Duration.seconds(1), Duration.divideUnsafe(lease, 3))

const unavailable = (cause: PostgresOpenError) =>
  new Lease.LeaseError({ file: cause.where, reason: "Unavailable", detail: cause.problem, cause })

/** One that wants to lead, over all its connections. */
interface Candidate {
  readonly settings: PostgresSettings
  readonly options: LeadershipOptions
  readonly elected: boolean
  /** Whether it stood by, or led before: then it goes on after the last leader. */
  waited: boolean
  /** Lines that come once, however long it waits. */
  readonly said: Set<"standing by" | "not taken over">
}

const sayOnce = Effect.fnUntraced(function* <E>(
  { said }: Candidate,
  what: "standing by" | "not taken over",
  say: Effect.Effect<void, E>,
) {
  if (said.has(what)) return
  said.add(what)
  yield* say
})

/** Whether the last session ended on purpose, and so is not gone on with. */
const isOver = Effect.fnUntraced(function* (candidate: Candidate, lock: LeaderLock.LeaderLock) {
  const { takesOver = () => true } = candidate.options
  const ended = candidate.waited ? yield* lock.lastEnded : Option.none<Lease.Ended>()
  if (!Option.exists(ended, (last) => !takesOver(last))) return false
  const haltReason = Option.flatMap(ended, (last) => last.haltReason)
  yield* sayOnce(
    candidate,
    "not taken over",
    Effect.annotateLogs(Effect.logWarning("not taken over: the engine ended on purpose"), {
      halt_reason: Option.getOrElse(haltReason, () => "unknown"),
      advice: "start an engine to go on, here or on another machine",
    }),
  )
  return true
})

/** Another leads: waits, or is refused. */
const standBy = Effect.fnUntraced(function* (candidate: Candidate, lock: LeaderLock.LeaderLock) {
  if (candidate.options.standby === false) {
    const holder = Option.getOrUndefined(yield* lock.leader)
    const refused = { file: candidate.settings.where, reason: "Held", detail: "" } as const
    return yield* new Lease.LeaseError(holder === undefined ? refused : { ...refused, holder })
  }
  candidate.waited = true
  const say = Effect.flatMap(lock.leader, (leader) =>
    Effect.annotateLogs(Effect.logInfo("standing by"), {
      leader: Option.match(leader, { onNone: () => "unknown", onSome: Lease.described }),
    }),
  )
  yield* sayOnce(candidate, "standing by", say)
  yield* Effect.sleep(pollInterval)
})

/** One connection's life: until it leads, is refused, or the connection fails. */
const attempt = Effect.fnUntraced(function* (candidate: Candidate) {
  const { elected, settings } = candidate
  yield* prepare(settings, { create: true })
  const lock = yield* LeaderLock.open(settings, yield* Lease.own, elected)
  for (;;) {
    if (!(yield* lock.take)) {
      yield* standBy(candidate, lock)
      continue
    }
    if (!(yield* isOver(candidate, lock))) break
    yield* lock.giveBack
    yield* Effect.sleep(restInterval(settings.lease))
  }
  const holder = yield* Lease.own
  return { lock, holder, epoch: yield* lock.lead(holder) }
})

/** Tries until it leads. A server that is down is waited for by one that waited before. */
const lead = Effect.fnUntraced(function* (candidate: Candidate) {
  for (;;) {
    const scope = yield* Scope.make()
    const exit = yield* Effect.exit(Scope.provide(Effect.interruptible(attempt(candidate)), scope))
    if (Exit.isSuccess(exit)) return { ...exit.value, scope }
    yield* Scope.close(scope, exit)
    const error = yield* Effect.flip(Exit.failCause(exit.cause))
    if (error instanceof Lease.LeaseError) return yield* error
    if (!candidate.waited || error.reason !== "Unreachable") return yield* unavailable(error)
    yield* Effect.annotateLogs(Effect.logWarning("standing by without a server"), { error: error.detail })
    yield* Effect.interruptible(Effect.sleep(restInterval(candidate.settings.lease)))
  }
})

const make = Effect.fnUntraced(function* (options: LeadershipOptions) {
  const { again = false, elected = false } = options
  const settings = yield* Effect.mapError(check(options), unavailable)
  const candidate: Candidate = { settings, options, elected, waited: elected || again, said: new Set() }
  const lost = yield* Deferred.make<string>()
  const lose = (why: string) => Effect.asVoid(Deferred.succeed(lost, why))

  const { epoch, holder, lock } = yield* Effect.acquireRelease(lead(candidate), (own) => {
    const release = Effect.gen(function* () {
      if (yield* Deferred.isDone(lost)) return
      yield* own.lock.leave(own.epoch)
      yield* own.lock.giveBack
    })
    const step = Shutdown.step("release lease", Effect.ensuring(release, Scope.close(own.scope, Exit.void)))
    return Shutdown.contained("release lease")(step)
  })
  yield* Effect.annotateLogs(Effect.logInfo("leads"), { session_id: epoch, where: settings.where })

  const beat = Effect.flatMap(lock.leads(epoch), (leads) => (leads ? Effect.void : lose("another leads since")))
  const beating = Effect.forever(Effect.andThen(Effect.sleep(timesOf(settings.lease).heartbeat), beat))
  yield* Effect.raceFirst(beating, lock.shaken).pipe(
    Effect.andThen(beat),
    Effect.andThen(beating),
    Effect.catchCause((cause) => lose(messageOf(Cause.squash(cause)))),
    Effect.forkScoped,
  )
  return { holder, epoch: Option.some(epoch), waited: candidate.waited, lost: Deferred.await(lost), lose }
})
