/**
 * A real PostgreSQL server, until the scope closes; nothing of it is left then, and neither when the process is killed.
 *
 * `SEAWALL_TEST_POSTGRES_URL` names one that takes its place, which is not ours to stop (`make`). A server of our own
 * (`makeOwn`) has its data in a temporary folder, on a port of 127.0.0.1. As root it runs as another user, because PostgreSQL
 * refuses root. A new cluster takes more than a second, so it is made once a machine, as `seawall-postgres-*` beside the
 * temporary folders, and copied.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted, type Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import type { SqlError } from "effect/sql"
import { spawnSync } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { setTimeout } from "node:timers/promises"
import * as Keeper from "./Keeper.ts"
import { freePort } from "./ports.ts"

export interface UrlOptions {
  /** The `search_path` of each session. Without one it is the server's. */
  readonly schema?: string
  readonly database?: string
  readonly user?: string
  /** What `pg_stat_activity` calls its connections. */
  readonly applicationName?: string
  /** Another way to the server: a relay, a pooler, its address in a network namespace. */
  readonly host?: string
  readonly port?: number
}

/** Fails as the driver does. */
export type Rows = Effect.Effect<ReadonlyArray<Readonly<Record<string, unknown>>>, SqlError.SqlError>

export interface PostgresServer {
  readonly url: (options?: UrlOptions) => string
  /** A schema name that was never used. Nothing is made; a server that goes on to live loses it with the scope. */
  readonly schema: Effect.Effect<string, never, Scope.Scope>
  /** Runs one statement over a connection of its own, from outside: `$1` is a parameter, int8 is a BigInt. */
  readonly sql: (text: string, parameters?: ReadonlyArray<unknown>, options?: UrlOptions) => Rows
  /**
   * Ends the connections whose application name is like this (`seawall%`), those of every test that shares the server. Returns
   * how many there were.
   */
  readonly terminate: (applicationNameLike: string) => Effect.Effect<number, SqlError.SqlError>
}

/** `fast` ends what the clients do, in order; `immediate` is a crash, which the next start recovers from. */
export type StopMode = "fast" | "immediate"

/** A server that may be stopped and frozen, which only one of our own may be. */
export interface OwnServer extends PostgresServer {
  readonly port: number
  /** Of the postmaster, while it runs. */
  readonly pid: Effect.Effect<number>
  /** The server's log. */
  readonly log: Effect.Effect<string>
  readonly stop: (mode?: StopMode) => Effect.Effect<void>
  /** Returns when it takes connections, on the same port. */
  readonly start: Effect.Effect<void>
  readonly restart: (mode?: StopMode) => Effect.Effect<void>
  /** SIGSTOP for the postmaster and all of its processes: connections are taken by the system, and nothing is answered. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
}

export interface PostgresServerOptions {
  /** Whether commits reach the disk, as they must when their time or loss is the subject. Default false. */
  readonly fsync?: boolean
  /** Addresses beside 127.0.0.1, from whose networks any client may connect. Default none. */
  readonly listen?: ReadonlyArray<string>
  /** Lines of `postgresql.conf`. https://www.postgresql.org/docs/current/runtime-config.html */
  readonly settings?: Readonly<Record<string, string>>
}

/** Where the programs of a server are: on the path, then where Debian has them, the newest version first. */
export const findBinaries = (path: string, debian = "/usr/lib/postgresql"): string | undefined => {
  const versions = fs.existsSync(debian) ? fs.readdirSync(debian) : []
  const newestFirst = versions.toSorted((a, b) => Number(b) - Number(a)).map((version) => join(debian, version, "bin"))
  const has = (folder: string) => ["initdb", "pg_ctl", "postgres"].every((name) => fs.existsSync(join(folder, name)))
  const found = [...path.split(":").filter((folder) => folder !== ""), ...newestFirst].find(has)
  // Some of them may be linked on the path, and all of them are there.
  return found === undefined ? undefined : dirname(fs.realpathSync(join(found, "pg_ctl")))
}

const idOf = (flag: "-u" | "-g", user: string) => {
  const { status, stdout } = spawnSync("id", [flag, user], { encoding: "utf8" })
  return status === 0 ? Number(stdout) : undefined
}

/** Undefined: this process's own. */
const findUser = () => {
  for (const name of ["postgres", "nobody"]) {
    const [uid, gid] = [idOf("-u", name), idOf("-g", name)]
    if (uid !== undefined && gid !== undefined) return { uid, gid }
  }
  return undefined
}

/** Who a server of ours runs as, when this process may not itself. */
export const user = process.getuid?.() === 0 ? findUser() : undefined

const given = process.env["SEAWALL_TEST_POSTGRES_URL"]

/** Those of this machine. */
export const binaries = findBinaries(process.env["PATH"] ?? "")

const missingBinaries = binaries === undefined ? "needs PostgreSQL: apt-get install postgresql" : undefined

/** Why there is no server; undefined when there is one. Starts nothing. */
export const missing = given === undefined ? missingBinaries : undefined

/** Why there is none that may be stopped and frozen. */
export const missingOwn =
  given === undefined ? missingBinaries : "needs a PostgreSQL of its own: unset SEAWALL_TEST_POSTGRES_URL"

const reach = (base: string, livesOn: boolean): PostgresServer => {
  const url = ({ applicationName, database, host, port, schema, user }: UrlOptions = {}) => {
    const url = new URL(base)
    if (database !== undefined) url.pathname = `/${encodeURIComponent(database)}`
    if (user !== undefined) url.username = encodeURIComponent(user)
    if (host !== undefined) url.hostname = host
    if (port !== undefined) url.port = String(port)
    // Not by `searchParams`: libpq takes its "+" for a plus.
    const more = Object.entries({
      options: schema === undefined ? undefined : `-c search_path=${schema}`,
      application_name: applicationName,
    }).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`]))
    url.search = [...url.search.replace(/^\?/, "").split("&"), ...more].filter((part) => part !== "").join("&")
    return url.href
  }
  const sql: PostgresServer["sql"] = (text, parameters = [], options = {}) =>
    PgClient.make({
      url: Redacted.make(url({ applicationName: "test", ...options })),
      maxConnections: 1,
      // A pooler would have it already, from another.
      prepare: false,
    }).pipe(
      Effect.flatMap((client) => client.unsafe<Record<string, unknown>>(text, parameters)),
      Effect.provide(Reactivity.layer),
      Effect.scoped,
    )
  return {
    url,
    sql,
    schema: Effect.acquireRelease(
      Effect.sync(() => `t_${randomBytes(6).toString("hex")}`),
      (name) =>
        livesOn ? sql(`DROP SCHEMA IF EXISTS ${name} CASCADE`).pipe(Effect.asVoid, Effect.orDie) : Effect.void,
    ),
    terminate: (applicationNameLike) =>
      sql(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE $1 AND pid <> pg_backend_pid()`,
        [applicationNameLike],
      ).pipe(Effect.map((rows) => rows.length)),
  }
}

const command = (folder: string, name: string, ...args: ReadonlyArray<string>) =>
  [join(folder, name), ...args].map(Keeper.quoted).join(" ")

/** One collation and encoding on every machine. `-N`: what is made here may be lost. */
const initOptions = ["-A", "trust", "-N", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-instructions"]

/** Of these programs and this user; another one's is never taken, because it says what its server runs. */
const clusterOf = (folder: string) => {
  const { mtimeMs } = fs.statSync(join(folder, "initdb"))
  const uid = user?.uid ?? process.getuid?.()
  const key = createHash("sha256")
    .update(JSON.stringify([folder, mtimeMs, uid, initOptions]))
    .digest("hex")
  const path = join(tmpdir(), `seawall-postgres-${key.slice(0, 12)}`)
  const isThere = () => fs.existsSync(join(path, "PG_VERSION")) && fs.statSync(path).uid === uid
  const keep = (made: string) => {
    try {
      fs.renameSync(made, path)
    } catch (error) {
      // Another process was faster.
      if (!isThere()) throw error
    }
  }
  return { path, isThere, keep }
}

/** Puts a new cluster into the keeper's folder, as `data`. */
const initialize = Effect.fnUntraced(function* (keeper: Keeper.Keeper, folder: string) {
  const cluster = clusterOf(folder)
  if (!cluster.isThere()) {
    yield* keeper.run(command(folder, "initdb", ...initOptions, "-D", "new"))
    cluster.keep(join(keeper.folder, "new"))
  }
  yield* keeper.run(`cp -R ${Keeper.quoted(cluster.path)} data && chmod 700 data`)
})

const configuration = (port: number, { fsync = false, listen = [], settings = {} }: PostgresServerOptions) => ({
  listen_addresses: ["127.0.0.1", ...listen].join(","),
  port: String(port),
  unix_socket_directories: "",
  // Where time or loss is the subject it is a server as it comes; otherwise several live beside each other, and are small.
  ...(fsync ? {} : { fsync: "off", shared_buffers: "16MB" }),
  log_min_messages: "warning",
  log_line_prefix: "%m [%p] %a ",
  ...settings,
})

const assign = ([name, value]: readonly [string, string]) => `${name} = '${value.replaceAll("'", "''")}'\n`

/** All of a server's processes are its postmaster's children. */
const childrenOf = (pid: number): ReadonlyArray<number> => {
  const file = `/proc/${pid}/task/${pid}/children`
  const text = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : spawnSync("pgrep", ["-P", `${pid}`]).stdout
  return String(text).split(/\s/).filter(Boolean).map(Number)
}

/** Nothing is left when one of them has ended meanwhile. */
const signal = (pids: ReadonlyArray<number>, name: "SIGSTOP" | "SIGCONT") => {
  for (const pid of pids) {
    try {
      process.kill(pid, name)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error
    }
  }
}

/** A process may run on for a moment on another core. */
const isStopped = (pid: number) => {
  try {
    return /\) [TZX] /.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return true
  }
}

/** First the one that starts others. */
const freeze = async (postmaster: number) => {
  const stop = async (pids: ReadonlyArray<number>) => {
    signal(pids, "SIGSTOP")
    while (!pids.every(isStopped)) await setTimeout(1)
  }
  await stop([postmaster])
  await stop(childrenOf(postmaster))
}

/** A frozen server could not stop. `pg_ctl` fails when none runs, which is what was wanted. */
const stopAtEnd = (folder: string) =>
  [
    `pid=$(head -n 1 data/postmaster.pid) && kill -CONT $(cat /proc/$pid/task/$pid/children) $pid`,
    command(folder, "pg_ctl", "stop", "-D", "data", "-m", "immediate", "-w", "-t", "20"),
  ].join("\n")

/** Times that a port which was free a moment ago may have been taken since. */
const attempts = 5

/** A server of our own, where `missingOwn` is undefined. */
export const makeOwn = Effect.fnUntraced(function* (
  options: PostgresServerOptions = {},
): Effect.fn.Return<OwnServer, never, Scope.Scope> {
  if (binaries === undefined || missingOwn !== undefined) return yield* Effect.die(new Error(missingOwn))
  const keeper = yield* Keeper.make({ name: "seawall-server", atEnd: stopAtEnd(binaries), user })
  const data = join(keeper.folder, "data")
  const logFile = join(keeper.folder, "log")
  const log = Effect.sync(() => fs.readFileSync(logFile, "utf8"))
  yield* initialize(keeper, binaries)
  if ((options.listen ?? []).length > 0) fs.appendFileSync(join(data, "pg_hba.conf"), "host all all samenet trust\n")
  const base = fs.readFileSync(join(data, "postgresql.conf"), "utf8")
  const configure = (port: number) =>
    fs.writeFileSync(
      join(data, "postgresql.conf"),
      base + Object.entries(configuration(port, options)).map(assign).join(""),
    )
  const ctl = (...args: ReadonlyArray<string>) =>
    Effect.asVoid(keeper.run(command(binaries, "pg_ctl", ...args, "-D", "data", "-w", "-t", "20")))
  const start = ctl("start", "-l", "log")
  const stop = (mode: StopMode = "fast") => ctl("stop", "-m", mode)

  const startSomewhere = (left: number): Effect.Effect<number> =>
    Effect.gen(function* () {
      const port = yield* Effect.promise(freePort)
      configure(port)
      const exit = yield* Effect.exit(start)
      // It starts all the same when one of several addresses is taken.
      const isTaken = (yield* log).includes("could not bind")
      if (!isTaken || left === 1) return yield* Effect.as(exit, port)
      if (exit._tag === "Success") yield* stop("immediate")
      fs.rmSync(logFile)
      return yield* startSomewhere(left - 1)
    })
  const port = yield* startSomewhere(attempts)

  const postmaster = () => Number(fs.readFileSync(join(data, "postmaster.pid"), "utf8").split("\n", 1)[0])
  return {
    ...reach(`postgres://postgres@127.0.0.1:${port}/postgres`, false),
    port,
    log,
    start,
    stop,
    restart: (mode = "fast") => ctl("restart", "-m", mode, "-l", "log"),
    pid: Effect.sync(postmaster),
    freeze: Effect.promise(() => freeze(postmaster())),
    thaw: Effect.sync(() => {
      const pid = postmaster()
      signal([...childrenOf(pid), pid], "SIGCONT")
    }),
  }
})

/** The server that the environment names, else one of our own; where `missing` is undefined. */
export const make = (options: PostgresServerOptions = {}): Effect.Effect<PostgresServer, never, Scope.Scope> =>
  given === undefined ? makeOwn(options) : Effect.succeed(reach(given, true))
