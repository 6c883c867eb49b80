/**
 * Which server, database and schema an engine is kept in, and the times that follow from one lease.
 *
 * The URL is a secret, because it may hold a password: nothing but the driver sees it whole, and what is said of it is
 * `where`. https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
 */
import { Duration, Effect, Redacted, Result, Schema } from "effect"
import { Durability } from "../sql/Durability.ts"
import { PostgresOpenError } from "./PostgresOpenError.ts"

/** Which server, and for how long an engine leads without a word. */
export interface PostgresOptions {
  /**
   * `postgres://user:password@host:5432/database?sslmode=require`: the server itself, no pooler, through which
   * neither a lock nor a setting of a session holds.
   */
  readonly url: Redacted.Redacted
  /** One engine a schema; created when missing. Default `seawall`. */
  readonly schema?: string | undefined
  /**
   * How long a leader of which nothing is heard stays leader; at least 1 s, default 3 s. Shorter: sooner replaced when its
   * machine freezes or is cut off, and sooner for a network that is merely slow.
   */
  readonly lease?: Duration.Input | undefined
  /** Connections for statements, beside the one of the lease; default 4. Writes wait for each other all the same. */
  readonly maxConnections?: number | undefined
  /** Default `durable`; the same as `full` here. `normal` is `synchronous_commit = off`. */
  readonly durability?: Durability | undefined
}

const defaultSchema = "seawall"
const defaultLease = Duration.seconds(3)
const defaultMaxConnections = 4

/** The same, checked and complete. */
export interface PostgresSettings {
  readonly url: Redacted.Redacted
  readonly schema: string
  readonly lease: Duration.Duration
  readonly maxConnections: number
  readonly durability: Durability
  /** Where a connection goes. */
  readonly address: { readonly host: string; readonly port: number } | { readonly path: string }
  /** Its name in messages, without a secret. */
  readonly where: string
}

/** A name of PostgreSQL has at most 63 bytes. https://www.postgresql.org/docs/current/sql-syntax-lexical.html */
const isSchema = (name: string) => /^[a-z_][a-z0-9_]{0,62}$/.test(name) && !name.startsWith("pg_")

const addressOf = (url: URL): PostgresSettings["address"] => {
  const host = url.searchParams.get("host") ?? decodeURIComponent(url.hostname.replace(/^\[|\]$/g, ""))
  const port = Number((url.searchParams.get("port") ?? url.port) || "5432")
  return host.startsWith("/") ? { path: `${host}/.s.PGSQL.${port}` } : { host: host === "" ? "localhost" : host, port }
}

/** Fails with a `PostgresOpenError` that names the option. The URL is never a part of it. */
export const check = Effect.fnUntraced(function* (options: PostgresOptions) {
  const refuse = (detail: string, where = "PostgreSQL") => new PostgresOpenError({ reason: "Invalid", where, detail })
  const parsed = Result.try(() => {
    const url = new URL(Redacted.value(options.url))
    return { url, address: addressOf(url), database: decodeURIComponent(url.pathname.slice(1)) }
  })
  const isUrl = Result.isSuccess(parsed) && ["postgres:", "postgresql:"].includes(parsed.success.url.protocol)
  if (!Result.isSuccess(parsed) || !isUrl) {
    const isMissing = Redacted.value(options.url) === ""
    return yield* refuse(
      `${isMissing ? "there is no URL of it (postgres.url, SEAWALL_POSTGRES_URL)" : "its URL is not one"}; expected postgres://user:password@host:5432/database`,
    )
  }
  const { address, database, url } = parsed.success
  const { schema = defaultSchema, maxConnections = defaultMaxConnections, durability = "durable" } = options
  const at =
    "path" in address
      ? address.path
      : `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`
  const where = `PostgreSQL at ${at}/${database || decodeURIComponent(url.username)}, schema ${schema}`
  if (!isSchema(schema))
    return yield* refuse(`expected schema to be a name in lower case, got ${JSON.stringify(schema)}`)
  const lease = Duration.fromInput(options.lease ?? defaultLease)
  const seconds = lease._tag === "Some" ? Duration.toSeconds(lease.value) : Number.NaN
  if (!(seconds >= 1 && seconds <= 3600)) {
    return yield* refuse(`expected lease to be 1 second to 1 hour, got ${String(options.lease)}`, where)
  }
  if (!Number.isSafeInteger(maxConnections) || maxConnections < 1 || maxConnections > 1000) {
    return yield* refuse(`expected maxConnections to be 1 to 1000, got ${maxConnections}`, where)
  }
  if (!Schema.is(Durability)(durability)) {
    return yield* refuse(`expected durability to be durable, full or normal, got ${String(durability)}`, where)
  }
  return {
    url: options.url,
    schema,
    lease: Duration.seconds(seconds),
    maxConnections,
    durability,
    address,
    where,
  } satisfies PostgresSettings
})

/** The times that follow from a lease, in milliseconds. */
export const timesOf = (lease: Duration.Duration) => {
  const millis = Duration.toMillis(lease)
  return {
    /** The server ends a lock session of which it hears nothing for so long. */
    idleSession: millis,
    /** How often a leader is heard. */
    heartbeat: millis / 3,
    /**
     * How long a statement may be without any answer, and a transaction without a statement. Below the lease, so that a leader
     * that was cut off knows before another leads, and its last transaction is gone by then.
     */
    silence: Math.round((millis * 2) / 3),
    /** Above it: a successor outwaits the transaction of a frozen leader, instead of failing at it. */
    lock: millis * 2,
  }
}
