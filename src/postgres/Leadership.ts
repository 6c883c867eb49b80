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
import { Cause, DateTime, Deferred, Duration, Effect, Exit, Layer, Option, Schema, Scope } from "effect"
import type { SqlConnection } from "effect/sql"
import * as Lease from "../lease/Lease.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import { ofSeawall } from "../sqlite/DatabaseName.ts"
import * as LeaderRow from "./LeaderRow.ts"
import { connect, prepare, sessionOf } from "./PostgresClient.ts"
import { fromDriver, notReached, type PostgresOpenError } from "./PostgresOpenError.ts"
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

/** The lock of the schema: "seaL", and its name as a number. */
const lock = "1936027500, hashtext(current_schema())"
const hasLock = `EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted)`

/** What a session of a lock is called, within the 63 bytes of a name: its part, its schema, and where it runs. */
export const nameOf = (part: "leads" | "stands by", schema: string, { host, pid }: Lease.LeaseHolder): string =>
  `seawall ${part}: ${schema.slice(0, 20)} ${host.slice(0, 18)}:${pid}`

const Holder = Schema.Tuple([
  Schema.Struct({ ...Lease.LeaseHolder.fields, command: Schema.String, since: Schema.String, host: Schema.String }),
])

/** A connection of a lock. Whatever happens to it, the lock is gone with it. */
interface LockSession {
  readonly run: (
    text: string,
    params?: ReadonlyArray<unknown>,
  ) => Effect.Effect<ReadonlyArray<Readonly<Record<string, unknown>>>, PostgresOpenError>
  /** Succeeds when the connection is gone, or may be. */
  readonly shaken: Effect.Effect<void>
}

const open = Effect.fnUntraced(function* (settings: PostgresSettings, holder: Lease.LeaseHolder) {
  const { idleSession } = timesOf(settings.lease)
  const shaken = yield* Deferred.make<void>()
  const sql = yield* connect(settings, {
    name: nameOf("stands by", settings.schema, holder),
    maxConnections: 1,
    session: { ...sessionOf(settings), idle_session_timeout: `${idleSession}` },
    onClose: () => Deferred.doneUnsafe(shaken, Effect.void),
  })
  const refuse = fromDriver(settings.where)
  const connection: SqlConnection.Connection = yield* Effect.mapError(sql.reserve, refuse)
  return {
    run: (text, params = []) =>
      Effect.mapError(connection.execute(text, params, undefined), refuse) as ReturnType<LockSession["run"]>,
    shaken: Deferred.await(shaken),
  } satisfies LockSession
})

/** What a pooler may keep back though it hands on the schema: without it a leader that is frozen leads forever. */
const checkSession = Effect.fnUntraced(function* ({ lease, where }: PostgresSettings, { run }: LockSession) {
  const [found] = yield* run("SELECT setting FROM pg_settings WHERE name = 'idle_session_timeout'")
  if (found?.["setting"] === String(timesOf(lease).idleSession)) return
  return yield* notReached(where)
})

/** The last session, when it has ended; none where there is none, or its leader could not end its row. */
const lastEnded = Effect.fnUntraced(function* ({ run }: LockSession) {
  const [there] = yield* run("SELECT to_regclass('sessions') IS NOT NULL AS sessions")
  if (there?.["sessions"] !== true) return Option.none<Lease.Ended>()
  const [last] = yield* run("SELECT ended_at, halt_reason FROM sessions ORDER BY session_id DESC LIMIT 1")
  const endedAt = Option.flatMap(Option.fromNullishOr(last?.["ended_at"]), (text) => DateTime.make(String(text)))
  const haltReason = Option.fromNullishOr(last?.["halt_reason"]).pipe(
    Option.map(String),
    Option.filter((it) => it !== ""),
  )
  return Option.map(endedAt, (at): Lease.Ended => ({ haltReason, endedAt: DateTime.toEpochMillis(at) }))
})

/** Moves the row on, which waits for the last transaction of the leader before; its answer is the epoch. */
const lead = Effect.fnUntraced(function* ({ run }: LockSession, { command, host, pid, since }: Lease.LeaseHolder) {
  const [row] = yield* run(
    `UPDATE ${LeaderRow.leaderTable} SET session_id = session_id + 1, backend = pg_backend_pid(), pid = $1, command = $2,
       host = $3, since = $4 RETURNING CAST(session_id AS FLOAT8) AS epoch`,
    [pid, command, host, since],
  )
  return Number(row?.["epoch"])
})

/** The leader, once its row names the session that has the lock: not right after it has taken it. */
const leading = Effect.fnUntraced(function* ({ run }: LockSession) {
  const rows = yield* run(
    `SELECT CAST(l.pid AS FLOAT8) AS pid, l.command, l.since, l.host FROM ${LeaderRow.leaderTable} AS l
     JOIN pg_locks AS k ON k.pid = l.backend AND k.locktype = 'advisory' AND k.granted AND k.classid = 1936027500`,
  )
  return Schema.decodeUnknownOption(Holder)(rows).pipe(Option.map(([holder]) => holder))
})

const unavailable = (cause: PostgresOpenError) =>
  new Lease.LeaseError({ file: cause.where, reason: "Unavailable", detail: cause.problem, cause })

const make = Effect.fnUntraced(function* (options: LeadershipOptions) {
  const { again = false, elected = false, standby = true, takesOver = () => true } = options
  const settings = yield* Effect.mapError(check(options), unavailable)
  const { lease, schema, where } = settings
  const times = timesOf(lease)
  const lost = yield* Deferred.make<string>()
  const lose = (why: string) => Effect.asVoid(Deferred.succeed(lost, why))
  let waited = elected || again
  let isSaid = false
  let isOverSaid = false
  const sayOver = Effect.fnUntraced(function* (ended: Option.Option<Lease.Ended>) {
    if (isOverSaid) return
    isOverSaid = true
    yield* Effect.annotateLogs(Effect.logWarning("not taken over: the engine ended on purpose"), {
      halt_reason: Option.getOrElse(
        Option.flatMap(ended, ({ haltReason }) => haltReason),
        () => "unknown",
      ),
      advice: "start an engine to go on, here or on another machine",
    })
  })

  /** One connection's life: until it leads, is refused, or the connection fails. */
  const attempt = Effect.gen(function* () {
    yield* prepare(settings, { create: true })
    const holder = yield* Lease.own
    const session = yield* open(settings, holder)
    yield* checkSession(settings, session)
    for (;;) {
      const [row] = elected ? [{ locked: true }] : yield* session.run(`SELECT pg_try_advisory_lock(${lock}) AS locked`)
      if (row?.["locked"] === true) {
        const ended = waited ? yield* lastEnded(session) : Option.none<Lease.Ended>()
        if (!Option.exists(ended, (last) => !takesOver(last))) break
        if (!elected) yield* session.run(`SELECT pg_advisory_unlock(${lock})`)
        yield* sayOver(ended)
        yield* Effect.sleep(restInterval(lease))
        continue
      }
      if (!standby) {
        const other = yield* leading(session)
        return yield* new Lease.LeaseError({
          file: where,
          reason: "Held",
          detail: "",
          ...Option.match(other, { onNone: () => ({}), onSome: (it) => ({ holder: it }) }),
        })
      }
      waited = true
      if (!isSaid) {
        isSaid = true
        const other = yield* leading(session)
        yield* Effect.annotateLogs(Effect.logInfo("standing by"), {
          leader: Option.match(other, { onNone: () => "unknown", onSome: Lease.described }),
        })
      }
      yield* Effect.sleep(pollInterval)
    }
    const own = { ...holder, since: (yield* Lease.own).since }
    const epoch = yield* lead(session, own)
    yield* session.run("SELECT set_config('application_name', $1, false)", [nameOf("leads", schema, own)])
    return { session, epoch, holder: own }
  })

  const leads = yield* Effect.acquireRelease(
    Effect.gen(function* () {
      for (;;) {
        const scope = yield* Scope.make()
        const exit = yield* Effect.exit(Scope.provide(Effect.interruptible(attempt), scope))
        if (Exit.isSuccess(exit)) return { ...exit.value, scope }
        yield* Scope.close(scope, exit)
        const error = yield* Effect.flip(Exit.failCause(exit.cause))
        if (error instanceof Lease.LeaseError) return yield* error
        if (!waited || error.reason !== "Unreachable") return yield* unavailable(error)
        yield* Effect.annotateLogs(Effect.logWarning("standing by without a server"), { error: error.detail })
        yield* Effect.interruptible(Effect.sleep(restInterval(lease)))
      }
    }),
    ({ epoch, scope, session }) =>
      Shutdown.contained("release lease")(
        Shutdown.step(
          "release lease",
          Effect.ensuring(
            Effect.gen(function* () {
              if (yield* Deferred.isDone(lost)) return
              yield* session.run(`UPDATE ${LeaderRow.leaderTable} SET backend = NULL WHERE session_id = $1`, [epoch])
              if (!elected) yield* session.run(`SELECT pg_advisory_unlock(${lock})`)
            }),
            Scope.close(scope, Exit.void),
          ),
        ),
      ),
  )
  const { epoch, holder, session } = leads
  yield* Effect.annotateLogs(Effect.logInfo("leads"), { session_id: epoch, where })

  const beat = Effect.gen(function* () {
    const [row] = yield* session.run(
      `SELECT ${elected ? "true" : hasLock} AND session_id = $1 AS leads FROM ${LeaderRow.leaderTable}`,
      [epoch],
    )
    if (row?.["leads"] === true) return
    yield* lose("another leads since")
  })
  const pause = Effect.sleep(times.heartbeat)
  yield* Effect.raceFirst(Effect.forever(Effect.andThen(pause, beat)), session.shaken).pipe(
    Effect.andThen(beat),
    Effect.andThen(Effect.forever(Effect.andThen(pause, beat))),
    Effect.catchCause((cause) => lose(messageOf(Cause.squash(cause)))),
    Effect.forkScoped,
  )
  return { holder, epoch: Option.some(epoch), waited, lost: Deferred.await(lost), lose }
})
