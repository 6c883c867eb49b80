/** What may stand between an engine and its server: a pooler, which is refused where no lock of a session holds, and TLS. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { Effect, Exit, Scope } from "effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { because } from "../support/onPostgres.ts"
import * as Pooler from "../support/Pooler.ts"
import * as PostgresServer from "../support/PostgresServer.ts"
import { newSchema } from "../support/sharedPostgres.ts"
import { quick, run, start } from "../support/Seawall.ts"

vi.setConfig({ testTimeout: 60_000 })

let folder = ""
let scope: Scope.Closeable
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-reach-"))
  scope = Scope.makeUnsafe()
})
afterEach(async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  fs.rmSync(folder, { recursive: true, force: true })
})

const scoped = <A>(self: Effect.Effect<A, never, Scope.Scope>) => Effect.runPromise(Scope.provide(self, scope))

/** A session of a moment. */
const session = (url: string, env: Readonly<Record<string, string>> = {}) =>
  run(["run", "--duration-seconds", "0.3"], {
    cwd: folder,
    env: { ...quick, SEAWALL_POSTGRES_URL: url, SEAWALL_ENGINE_STORE: "postgres", ...env },
  })

describe.skipIf(PostgresServer.missing !== undefined || Pooler.missing !== undefined)(
  `a pooler${because(Pooler.missing)}`,
  () => {
    /** All that a session of an engine asks for. */
    const settings = [
      "options",
      "search_path",
      "lock_timeout",
      "idle_session_timeout",
      "idle_in_transaction_session_timeout",
      "synchronous_commit",
      "client_min_messages",
      "tcp_keepalives_idle",
      "tcp_keepalives_interval",
      "tcp_keepalives_count",
    ]

    it.each<[string, Pick<Pooler.PoolerOptions, "ignores" | "mode">]>([
      ["in transaction mode, which refuses settings of a session", {}],
      ["in transaction mode, which keeps them back", { ignores: settings }],
      ["in session mode, which keeps them back", { mode: "session", ignores: settings }],
    ])("%s, is refused, and nothing is made behind it", async (_, options) => {
      const server = await scoped(PostgresServer.make())
      const { at } = await scoped(Pooler.make({ ...options, url: server.url() }))
      const schema = newSchema()
      const ended = await session(server.url(at), { SEAWALL_POSTGRES_SCHEMA: schema })
      expect(ended.code).toBe(1)
      expect(ended.stdout + ended.stderr).toContain("; connect to the server itself")
      expect(await Effect.runPromise(Effect.orDie(server.sql(`SELECT to_regnamespace('${schema}') AS made`)))).toEqual([
        { made: null },
      ])
    })
  },
)

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0

describe.skipIf(PostgresServer.missingOwn !== undefined || !hasOpenssl)("TLS", () => {
  it("is spoken with a server whose certificate is known, and refused with another", async () => {
    const key = path.join(folder, "key.pem")
    const certificate = path.join(folder, "certificate.pem")
    const made = spawnSync(
      "openssl",
      `req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost`
        .split(" ")
        .concat("-keyout", key, "-out", certificate),
    )
    expect(made.status).toBe(0)
    fs.chmodSync(folder, 0o755)
    fs.chmodSync(key, 0o600)
    if (PostgresServer.user !== undefined) fs.chownSync(key, PostgresServer.user.uid, PostgresServer.user.gid)
    const server = await scoped(
      PostgresServer.makeOwn({ settings: { ssl: "on", ssl_cert_file: certificate, ssl_key_file: key } }),
    )
    const url = `${server.url({ host: "localhost" })}?sslmode=require`

    const unknown = await session(url)
    expect([unknown.code, unknown.stdout + unknown.stderr]).toEqual([1, expect.stringMatching(/certificate/)])

    const known = { NODE_EXTRA_CA_CERTS: certificate }
    const engine = start(["run"], {
      cwd: folder,
      env: { ...quick, ...known, SEAWALL_POSTGRES_URL: url, SEAWALL_ENGINE_STORE: "postgres" },
    })
    await engine.says("engine running")
    const connections = `SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'seawall%'`
    expect(await Effect.runPromise(Effect.orDie(server.sql(connections)))).toEqual([{ ssl: true }])
    // The bound of a silent server holds below TLS, too.
    await Effect.runPromise(server.freeze)
    await engine.says("leadership lost")
    await Effect.runPromise(server.thaw)
    await engine.says("engine running", 2)
    engine.kill("SIGTERM")
    expect((await engine.ended).code).toBe(0)
  })
})
