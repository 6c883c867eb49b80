/**
 * The leader of the engine of a schema, its standbys, and how long ago the leader was heard: asked from outside, of the server alone,
 * with one statement. Creates nothing, locks nothing.
 */
import { Clock, Duration, Effect, Option, Ref, Schema } from "effect"
import { LeaseHolder } from "../lease/Lease.ts"
import * as LeaderRow from "./LeaderRow.ts"
import { connect, prepare } from "./PostgresClient.ts"
import { fromDriver, type PostgresOpenError } from "./PostgresOpenError.ts"
import { check, type PostgresOptions } from "./PostgresOptions.ts"

/** Where an engine stands. */
export interface Leaders {
  /** The server, database and schema, without a secret. */
  readonly where: string
  /** The leader, and since when; none between two leaders. */
  readonly leader: Option.Option<Leader>
  /** The machines that wait for the lease, with their pid, as in `host:1234`. */
  readonly standbys: ReadonlyArray<string>
}

/** The engine that leads. */
export interface Leader extends LeaseHolder {
  /** The number of its row in `sessions`. */
  readonly sessionId: number
  /** How long ago it was heard; a third of the lease at most, when all is well. */
  readonly heard: Duration.Duration
}

const Rows = Schema.Array(
  Schema.Struct({
    part: Schema.Literals(["leads", "stands by"]),
    place: Schema.String,
    heardSeconds: Schema.NullOr(Schema.Finite),
    sessionId: Schema.NullOr(Schema.Finite),
    pid: Schema.NullOr(Schema.Finite),
    command: Schema.NullOr(Schema.String),
    host: Schema.NullOr(Schema.String),
    since: Schema.NullOr(Schema.String),
  }),
)

/** Sessions of a lock, by the name that `LeaderLock` gives them; the leader is the one whose session its row names. */
const statement = `SELECT CASE WHEN l.backend = a.pid THEN 'leads' ELSE 'stands by' END AS part,
    split_part(a.application_name, ' ', -1) AS place,
    CAST(extract(epoch FROM clock_timestamp() - a.state_change) AS FLOAT8) AS "heardSeconds",
    CAST(l.session_id AS FLOAT8) AS "sessionId", CAST(l.pid AS FLOAT8) AS pid, l.command, l.host, l.since
  FROM pg_stat_activity AS a LEFT JOIN ${LeaderRow.leaderTable} AS l
    ON l.backend = a.pid AND EXISTS (SELECT FROM pg_locks AS k WHERE k.pid = a.pid AND k.locktype = 'advisory' AND k.granted)
  WHERE a.datname = current_database()
    AND (a.application_name LIKE 'seawall leads: ' || left(current_schema(), 20) || ' %'
      OR a.application_name LIKE 'seawall stands by: ' || left(current_schema(), 20) || ' %')
  ORDER BY a.backend_start`

/** Looks as often as it is run; the connection is open as long as the scope. Fails when no engine was ever started there. */
export const make = Effect.fnUntraced(function* (options: PostgresOptions) {
  const settings = yield* check(options)
  const { schema, where } = settings
  yield* prepare(settings, { create: false })
  const sql = yield* connect(settings, { name: "seawall", maxConnections: 1, session: { search_path: schema } })
  return Effect.gen(function* () {
    const rows = yield* Effect.flatMap(sql.unsafe(statement), Schema.decodeUnknownEffect(Rows))
    const found = rows.find(({ part }) => part === "leads")
    const leader =
      found?.sessionId == null || found.pid === null
        ? Option.none()
        : Option.some({
            sessionId: found.sessionId,
            pid: found.pid,
            command: found.command ?? "",
            host: found.host ?? "",
            since: found.since ?? "",
            heard: Duration.seconds(Math.max(0, found.heardSeconds ?? 0)),
          })
    const standbys = rows.filter(({ part }) => part !== "leads").map(({ place }) => place)
    return { where, leader, standbys } satisfies Leaders
  }).pipe(Effect.mapError(fromDriver(where)))
})

/** What a look once a second remembers. */
export interface Watched extends Leaders {
  /** After which a leader that is not heard is replaced. */
  readonly lease: Duration.Duration
  /** For how long there was no leader; zero while there is one. */
  readonly leaderless: Duration.Duration
  /** Why the server could not be asked the last time; then the rest is from when it could. */
  readonly problem: Option.Option<string>
}

const lookInterval = "1 second"

/**
 * Looks once a second as long as the scope is open, with a connection of its own, and gives what it saw last: from memory. Never
 * fails: a server that is down, or has no engine yet, is asked again, and `problem` says so meanwhile.
 */
export const watch = Effect.fnUntraced(function* (options: PostgresOptions) {
  const start = yield* Clock.monotonicTimeNanos
  const checked = yield* Effect.result(check(options))
  const { lease, where } =
    checked._tag === "Success" ? checked.success : { lease: Duration.zero, where: checked.failure.where }
  const unknown: Leaders = { where, leader: Option.none(), standbys: [] }
  const seen = yield* Ref.make({ leaders: unknown, at: start, ledAt: start, problem: Option.none<string>() })

  const note = (leaders: Leaders) =>
    Effect.flatMap(Clock.monotonicTimeNanos, (at) =>
      Ref.update(seen, ({ ledAt }) => ({
        leaders,
        at,
        ledAt: Option.isSome(leaders.leader) ? at : ledAt,
        problem: Option.none<string>(),
      })),
    )
  const looking = Effect.flatMap(make(options), (look) =>
    Effect.forever(Effect.andThen(Effect.flatMap(look, note), Effect.sleep(lookInterval))),
  )
  const failed = (error: PostgresOpenError) =>
    Ref.update(seen, (it) => ({ ...it, problem: Option.some(error.problem) }))
  yield* Effect.scoped(looking).pipe(
    Effect.catch(failed),
    Effect.andThen(Effect.sleep(lookInterval)),
    Effect.forever,
    Effect.forkScoped,
  )

  return Effect.gen(function* () {
    const now = yield* Clock.monotonicTimeNanos
    const { at, leaders, ledAt, problem } = yield* Ref.get(seen)
    const leader = Option.map(leaders.leader, (it) => ({
      ...it,
      heard: Duration.sum(it.heard, Duration.nanos(now - at)),
    }))
    const leaderless = Option.isSome(leader) ? Duration.zero : Duration.nanos(now - ledAt)
    return { ...leaders, leader, lease, leaderless, problem } satisfies Watched
  })
})
