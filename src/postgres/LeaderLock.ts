/**
 * The lock of a schema on the server, and the row that says who has it, through one connection.
 *
 * Whatever happens to the connection, the lock is gone with it. Where something else elects there is no lock: the fence alone
 * decides (`LeaderRow`).
 * https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADVISORY-LOCKS
 */
import { DateTime, Deferred, Effect, Option, Schema } from "effect"
import type { SqlConnection } from "effect/sql"
import * as Lease from "../lease/Lease.ts"
import * as LeaderRow from "./LeaderRow.ts"
import { connect, sessionOf } from "./PostgresClient.ts"
import { fromDriver, notReached, type PostgresOpenError } from "./PostgresOpenError.ts"
import { type PostgresSettings, timesOf } from "./PostgresOptions.ts"

/** The lock of the schema: "seaL", and its name as a number. */
const lock = "1936027500, hashtext(current_schema())"
const hasLock = `EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted)`

/** What a session of a lock is called, within the 63 bytes of a name: its part, its schema, and where it runs. */
const nameOf = (part: "leads" | "stands by", schema: string, { host, pid }: Lease.LeaseHolder): string =>
  `seawall ${part}: ${schema.slice(0, 20)} ${host.slice(0, 18)}:${pid}`

const Holder = Schema.Tuple([
  Schema.Struct({ ...Lease.LeaseHolder.fields, command: Schema.String, since: Schema.String, host: Schema.String }),
])

type Answer<A> = Effect.Effect<A, PostgresOpenError>

type Run = (text: string, params?: ReadonlyArray<unknown>) => Answer<ReadonlyArray<Readonly<Record<string, unknown>>>>

export interface LeaderLock {
  /** Takes the lock where it is free: whether it has it now. */
  readonly take: Answer<boolean>
  readonly giveBack: Answer<void>
  /** Moves the row on, and answers with the epoch. Waits for the last transaction of the leader before. */
  readonly lead: (own: Lease.LeaseHolder) => Answer<number>
  /** Whether it still leads in this epoch. */
  readonly leads: (epoch: number) => Answer<boolean>
  /** Clears the leader in the row. */
  readonly leave: (epoch: number) => Answer<void>
  /** The leader, once its row names the session that has the lock: not right after it has taken it. */
  readonly leader: Answer<Option.Option<Lease.LeaseHolder>>
  /** The last session, when it has ended; none where there is none, or its leader could not end its row. */
  readonly lastEnded: Answer<Option.Option<Lease.Ended>>
  /** Succeeds when the connection is gone, or may be. */
  readonly shaken: Effect.Effect<void>
}

const connection = Effect.fnUntraced(function* (settings: PostgresSettings, holder: Lease.LeaseHolder) {
  const { idleSession } = timesOf(settings.lease)
  const shaken = yield* Deferred.make<void>()
  const sql = yield* connect(settings, {
    name: nameOf("stands by", settings.schema, holder),
    maxConnections: 1,
    session: { ...sessionOf(settings), idle_session_timeout: `${idleSession}` },
    onClose: () => Deferred.doneUnsafe(shaken, Effect.void),
  })
  const refuse = fromDriver(settings.where)
  const connected: SqlConnection.Connection = yield* Effect.mapError(sql.reserve, refuse)
  const run: Run = (text, params = []) =>
    Effect.mapError(connected.execute(text, params, undefined), refuse) as ReturnType<Run>
  return { run, shaken: Deferred.await(shaken) }
})

/** What a pooler may keep back though it hands on the schema: without it a leader that is frozen leads forever. */
const checkSession = Effect.fnUntraced(function* ({ lease, where }: PostgresSettings, run: Run) {
  const [found] = yield* run("SELECT setting FROM pg_settings WHERE name = 'idle_session_timeout'")
  if (found?.["setting"] === String(timesOf(lease).idleSession)) return
  return yield* notReached(where)
})

const lastEnded = Effect.fnUntraced(function* (run: Run) {
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

/** Connects for the life of the scope. With `elected` there is no lock to take. */
export const open = Effect.fnUntraced(function* (
  settings: PostgresSettings,
  holder: Lease.LeaseHolder,
  elected: boolean,
) {
  const { run, shaken } = yield* connection(settings, holder)
  yield* checkSession(settings, run)
  return {
    take: elected
      ? Effect.succeed(true)
      : Effect.map(run(`SELECT pg_try_advisory_lock(${lock}) AS locked`), ([row]) => row?.["locked"] === true),
    giveBack: elected ? Effect.void : Effect.asVoid(run(`SELECT pg_advisory_unlock(${lock})`)),
    lead: Effect.fnUntraced(function* (own) {
      const [row] = yield* run(
        `UPDATE ${LeaderRow.leaderTable} SET session_id = session_id + 1, backend = pg_backend_pid(), pid = $1, command = $2,
           host = $3, since = $4 RETURNING CAST(session_id AS FLOAT8) AS epoch`,
        [own.pid, own.command, own.host, own.since],
      )
      yield* run("SELECT set_config('application_name', $1, false)", [nameOf("leads", settings.schema, own)])
      return Number(row?.["epoch"])
    }),
    leads: (epoch) =>
      Effect.map(
        run(`SELECT ${elected ? "true" : hasLock} AND session_id = $1 AS leads FROM ${LeaderRow.leaderTable}`, [epoch]),
        ([row]) => row?.["leads"] === true,
      ),
    leave: (epoch) =>
      Effect.asVoid(run(`UPDATE ${LeaderRow.leaderTable} SET backend = NULL WHERE session_id = $1`, [epoch])),
    leader: Effect.map(
      run(
        `SELECT CAST(l.pid AS FLOAT8) AS pid, l.command, l.since, l.host FROM ${LeaderRow.leaderTable} AS l
         JOIN pg_locks AS k ON k.pid = l.backend AND k.locktype = 'advisory' AND k.granted AND k.classid = 1936027500`,
      ),
      (rows) => Option.map(Schema.decodeUnknownOption(Holder)(rows), ([it]) => it),
    ),
    lastEnded: lastEnded(run),
    shaken,
  } satisfies LeaderLock as LeaderLock
})
