/**
 * A real PostgreSQL for tests: `SEAWALL_TEST_POSTGRES_URL` when it is set, else one of its own in a temporary folder, started as
 * another user when this one is root, which the server refuses. Where there is none, the suites that need it are skipped.
 */
import { Effect, Redacted, type Scope } from "effect"
import { execFileSync, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"

const given = process.env["SEAWALL_TEST_POSTGRES_URL"]

const folders = ["/usr/lib/postgresql", "/usr/local/opt/postgresql", "/opt/homebrew/opt/postgresql"]
  .flatMap((root) => (fs.existsSync(root) ? [root, ...fs.readdirSync(root).map((name) => path.join(root, name))] : []))
  .map((root) => path.join(root, "bin"))
const binaries = [...(process.env["PATH"] ?? "").split(path.delimiter), ...folders].findLast(
  (folder) => fs.existsSync(path.join(folder, "initdb")) && fs.existsSync(path.join(folder, "pg_ctl")),
)

/** Whether there is one. */
export const isAvailable = given !== undefined || binaries !== undefined

/** Whether this is ours to stop, restart and freeze. */
export const isOwn = given === undefined && binaries !== undefined

/** A server that was started by its test. */
export interface PostgresServer {
  readonly port: number
  readonly url: string
  /** `immediate` as after a crash; default `fast`, which ends all sessions. */
  readonly stop: (mode?: "fast" | "immediate") => void
  readonly start: () => void
  /** Stops every process of it where it is: it takes connections, and answers none. */
  readonly freeze: () => void
  readonly thaw: () => void
}

const isRoot = process.getuid?.() === 0

const asServer = (command: string, args: ReadonlyArray<string>) => {
  const program = path.join(binaries ?? "", command)
  const quoted = [program, ...args].map((arg) => `'${arg}'`).join(" ")
  return isRoot
    ? execFileSync("su", ["postgres", "-s", "/bin/sh", "-c", quoted], { cwd: "/", stdio: "ignore" })
    : execFileSync(program, args, { stdio: "ignore" })
}

const freePort = () =>
  Effect.callback<number>((resume) => {
    const server = net.createServer()
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo
      server.close(() => resume(Effect.succeed(port)))
    })
  })

export interface PostgresServerOptions {
  /** Default false: what is tested is not the disk. */
  readonly fsync?: boolean
  /** Default the loopback alone. */
  readonly listen?: string
  /** Lines of postgresql.conf. */
  readonly settings?: ReadonlyArray<string>
}

/** Starts one; it is gone with the scope, and with this process. */
export const make = Effect.fnUntraced(function* ({
  fsync = false,
  listen = "127.0.0.1",
  settings = [],
}: PostgresServerOptions = {}): Effect.fn.Return<PostgresServer, never, Scope.Scope> {
  const port = yield* freePort()
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-postgres-"))
  const data = path.join(folder, "data")
  if (isRoot) execFileSync("chown", ["postgres", folder])
  asServer("initdb", ["-A", "trust", "-N", "-U", "postgres", "-D", data])
  const lines = [
    `listen_addresses = '${listen}'`,
    `port = ${port}`,
    `unix_socket_directories = '${folder}'`,
    `fsync = ${fsync ? "on" : "off"}`,
    ...settings,
  ]
  fs.appendFileSync(path.join(data, "postgresql.conf"), `${lines.join("\n")}\n`)
  fs.appendFileSync(path.join(data, "pg_hba.conf"), "host all all 0.0.0.0/0 trust\n")
  const start = () => void asServer("pg_ctl", ["-w", "-s", "-D", data, "-l", path.join(folder, "log"), "start"])
  const stop = (mode = "fast") => void asServer("pg_ctl", ["-w", "-s", "-D", data, "-m", mode, "stop"])
  const pids = () => {
    const postmaster = Number(fs.readFileSync(path.join(data, "postmaster.pid"), "utf8").split("\n")[0])
    const children = execFileSync("ps", ["-o", "pid=", "--ppid", `${postmaster}`], { encoding: "utf8" })
    return [postmaster, ...children.trim().split(/\s+/).map(Number)]
  }
  const signal = (name: NodeJS.Signals) => () => pids().forEach((pid) => process.kill(pid, name))
  const thaw = signal("SIGCONT")
  yield* Effect.acquireRelease(Effect.sync(start), () =>
    Effect.sync(() => {
      if (fs.existsSync(path.join(data, "postmaster.pid"))) {
        thaw()
        stop("immediate")
      }
      fs.rmSync(folder, { recursive: true, force: true })
    }),
  )
  // A test that is killed leaves no server.
  const watch = `while kill -0 ${process.pid} 2>/dev/null; do sleep 1; done
    [ -d '${data}' ] && kill -9 $(head -1 '${data}/postmaster.pid') 2>/dev/null; rm -rf '${folder}'`
  spawn("sh", ["-c", watch], { detached: true, stdio: "ignore" }).unref()
  return { port, url: `postgres://postgres@127.0.0.1:${port}/postgres`, start, stop, freeze: signal("SIGSTOP"), thaw }
})

/** A schema that nothing else uses. */
export const newSchema = () => `t_${randomUUID().replaceAll("-", "").slice(0, 12)}`

/** A server for the tests of a file, and a schema of its own for each that asks. */
export const options = (server: Pick<PostgresServer, "url">) => ({
  url: Redacted.make(server.url),
  schema: newSchema(),
})
