/**
 * Connections to the server of an engine: every one of them bounded (`BoundedSocket`), with the times of the lease as settings of its
 * session, so that the server ends what a frozen or cut-off process leaves there.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Schema, type Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import * as BoundedSocket from "./BoundedSocket.ts"
import * as LeaderRow from "./LeaderRow.ts"
import { fromDriver, notReached, PostgresOpenError } from "./PostgresOpenError.ts"
import { type PostgresSettings, timesOf } from "./PostgresOptions.ts"
import * as WholeNumbers from "./WholeNumbers.ts"

/** One kind of connection. */
interface ConnectOptions {
  /** What `pg_stat_activity` calls it, at most 63 bytes. */
  readonly name: string
  readonly maxConnections: number
  /** Settings of each session: https://www.postgresql.org/docs/current/runtime-config-client.html */
  readonly session: Readonly<Record<string, string>>
  /** Called when one of the connections is gone. */
  readonly onClose?: (() => void) | undefined
}

/** Connects at the first statement, and once more for each connection that is lost. Closes with the scope. */
export const connect = (
  settings: PostgresSettings,
  { maxConnections, name, onClose, session }: ConnectOptions,
): Effect.Effect<PgClient.PgClient, PostgresOpenError, Scope.Scope> =>
  PgClient.make({
    url: settings.url,
    applicationName: name,
    maxConnections,
    connectTimeout: timesOf(settings.lease).silence,
    types: WholeNumbers.types(),
    stream: () => BoundedSocket.open({ address: settings.address, silence: timesOf(settings.lease).silence, onClose }),
    startupParameters: session,
  }).pipe(Effect.mapError(fromDriver(settings.where)), Effect.provide(Reactivity.layer))

/** What every session of an engine has, whatever it does: names without a schema are those of the engine. */
export const sessionOf = ({ durability, lease, schema }: PostgresSettings): Readonly<Record<string, string>> => {
  const { lock, silence } = timesOf(lease)
  return {
    search_path: schema,
    lock_timeout: `${lock}`,
    idle_in_transaction_session_timeout: `${silence}`,
    synchronous_commit: durability === "normal" ? "off" : "on",
    client_min_messages: "warning",
    tcp_keepalives_idle: "2",
    tcp_keepalives_interval: "1",
    tcp_keepalives_count: "2",
  }
}

const Server = Schema.Tuple([
  Schema.Struct({
    version: Schema.Int,
    name: Schema.String,
    replica: Schema.Boolean,
    readOnly: Schema.Boolean,
    isReached: Schema.Boolean,
  }),
])

/** PostgreSQL 14, which can end an idle session. */
const oldest = 140_000

/**
 * Finds out what is wrong with the server, before a session asks for more than any server has; then makes the schema where it is
 * missing, or fails when it is not to be made.
 */
export const prepare = Effect.fnUntraced(function* (
  settings: PostgresSettings,
  { create }: { readonly create: boolean },
) {
  const { schema, where } = settings
  const sql = yield* connect(settings, { name: "seawall", maxConnections: 1, session: { search_path: schema } })
  const rows = sql`SELECT CAST(current_setting('server_version_num') AS INTEGER) AS version,
    current_setting('server_version') AS name, pg_is_in_recovery() AS replica,
    current_setting('transaction_read_only') = 'on' AS "readOnly",
    current_setting('search_path') = ${schema} AS "isReached"`
  const [server] = yield* Effect.flatMap(rows, Schema.decodeUnknownEffect(Server)).pipe(
    Effect.mapError(fromDriver(where)),
  )
  const refuse = (reason: PostgresOpenError["reason"], detail: string) =>
    Effect.fail(new PostgresOpenError({ reason, where, detail }))
  if (!server.isReached) return yield* notReached(where)
  if (server.version < oldest) return yield* refuse("TooOld", `the server is PostgreSQL ${server.name}`)
  if (server.replica) return yield* refuse("ReadOnly", "the server is a replica, which takes no writes")
  if (server.readOnly) return yield* refuse("ReadOnly", "the server is set to take no writes")
  if (create) return yield* Effect.mapError(LeaderRow.make(sql, schema), fromDriver(where))
  const isThere = yield* Effect.mapError(LeaderRow.isThere(sql, schema), fromDriver(where))
  if (!isThere) return yield* refuse("EngineMissing", "no engine was ever started there")
}, Effect.scoped)
