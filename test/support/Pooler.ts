/**
 * A pooler in front of a PostgreSQL server, until the scope closes: PgBouncer, in transaction mode if nothing else is asked for, which
 * gives each transaction any of its connections, so that no session lock and no setting of a session holds.
 */
import { Effect, type Scope } from "effect"
import * as fs from "node:fs"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import * as Keeper from "./Keeper.ts"
import * as PostgresServer from "./PostgresServer.ts"
import { freePort, isTaken } from "./ports.ts"

export interface Pooler {
  /** As `PostgresServer.url` takes it. */
  readonly at: { readonly host: string; readonly port: number }
  /** With its WAL. */
  readonly folder: string
}

export interface PoolerOptions {
  /** For how long a client has a connection of the server. Default `transaction`. */
  readonly mode?: "transaction" | "session"
  /** The server's URL. */
  readonly url: string
  /**
   * Settings that a client may ask for and does not get: `ignore_startup_parameters`. Default none: it refuses a client that
   * asks for another than its own five. https://www.pgbouncer.org/config.html#ignore_startup_parameters
   */
  readonly ignores?: ReadonlyArray<string>
}

const program = ["/usr/sbin", ...(process.env["PATH"] ?? "").split(":")]
  .map((folder) => join(folder, "pgbouncer"))
  .find((file) => fs.existsSync(file))

/** Why there is none; undefined when there is one. */
export const missing = program === undefined ? "needs PgBouncer: apt-get install pgbouncer" : undefined

const configuration = (port: number, { ignores = [], mode = "transaction", url }: PoolerOptions) => {
  const server = new URL(url)
  const password = server.password === "" ? "" : ` password=${decodeURIComponent(server.password)}`
  return `
[databases]
* = host=${server.hostname} port=${server.port || "5432"} user=${decodeURIComponent(server.username)}${password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
pidfile = pid
logfile = log
ignore_startup_parameters = ${ignores.join(", ")}
`
}

/** Where `missing` is undefined. */
export const make = Effect.fnUntraced(function* (options: PoolerOptions): Effect.fn.Return<Pooler, never, Scope.Scope> {
  if (program === undefined) return yield* Effect.die(new Error(missing))
  // It refuses root as PostgreSQL does. It removes its file when it has ended.
  const atEnd = `kill -TERM $(cat pid) && for n in $(seq 500); do [ -e pid ] || break; sleep 0.01; done`
  const { folder, run } = yield* Keeper.make({ name: "seawall-pooler", atEnd, user: PostgresServer.user })
  const port = yield* Effect.promise(freePort)
  fs.writeFileSync(join(folder, "pgbouncer.ini"), configuration(port, options))
  yield* run(`${Keeper.quoted(program)} -q -d pgbouncer.ini`)
  const at = { host: "127.0.0.1", port }
  yield* Effect.promise(async () => {
    // Often enough to cost a test nothing, and seldom enough to leave the other core alone.
    while (!(await isTaken(at))) await setTimeout(5)
  })
  return { at, folder }
})
