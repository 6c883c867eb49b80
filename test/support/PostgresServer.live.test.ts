/** The server that other tests rely on: what it does to its clients, and that nothing of it is left. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { onTestFinished } from "vitest"
import { because, onOwnPostgres, onPostgres } from "./onPostgres.ts"
import * as PostgresServer from "./PostgresServer.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** One that has ended may wait for its parent to look. */
const isAlive = (pid: number) => {
  try {
    return !/\) [ZX] /.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return false
  }
}

/** The bound is the test's. */
const until = async (holds: () => boolean) => {
  while (!holds()) await setTimeout(10)
}

/** Far longer than a statement takes. */
const aWhile = Effect.promise(() => setTimeout(500))

/** A connection whose statement runs for so many seconds, once it runs. */
const hold = Effect.fnUntraced(function* (
  sql: PostgresServer.PostgresServer["sql"],
  seconds: string,
  options: PostgresServer.UrlOptions = {},
) {
  const mark = `held ${Math.random()}`
  const fiber = yield* Effect.forkChild(sql(`SELECT '${mark}' AS mark FROM pg_sleep(${seconds})`, [], options))
  const own = "SELECT 1 FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND strpos(query, $1) > 0"
  while ((yield* sql(own, [mark])).length === 0) yield* Effect.yieldNow
  return fiber
})

onPostgres("any server", (server) => {
  it.live("runs a statement with parameters", () =>
    Effect.gen(function* () {
      expect(yield* server().sql("SELECT $1::text AS a, 2 AS b", ["x"])).toEqual([{ a: "x", b: 2 }])
    }),
  )

  it.live("gives each test a schema that was never used, and takes a schema in its URL", () =>
    Effect.gen(function* () {
      const { schema, sql } = server()
      const own = yield* schema
      const other = yield* schema
      expect(own).not.toBe(other)
      yield* sql(`CREATE SCHEMA ${own}`)
      yield* sql("CREATE TABLE t AS SELECT 7 AS a", [], { schema: own })
      expect(yield* sql(`SELECT a FROM ${own}.t`)).toEqual([{ a: 7 }])
      expect((yield* Effect.flip(sql("SELECT a FROM t", [], { schema: other })))._tag).toBe("SqlError")
    }).pipe(Effect.scoped),
  )

  it.live("ends the connections with an application name", () =>
    Effect.gen(function* () {
      const { sql, terminate } = server()
      const applicationName = `to be ended, ${Math.random()}`
      const held = yield* hold(sql, "60", { applicationName })
      expect(yield* terminate("to be started%")).toBe(0)
      expect(yield* terminate(applicationName.replace("ended", "_nd%"))).toBe(1)
      expect(Exit.isFailure(yield* Fiber.await(held))).toBe(true)
    }),
  )
})

onOwnPostgres("a server of our own", (server) => {
  it.live("stops, refuses connections, and starts on the same port with what it had", () =>
    Effect.gen(function* () {
      const { sql, start, stop } = server()
      yield* sql("CREATE TABLE kept AS SELECT 1 AS a")
      for (const mode of ["fast", "immediate"] as const) {
        yield* stop(mode)
        expect((yield* Effect.flip(sql("SELECT 1"))).reason._tag).toBe("ConnectionError")
        yield* start
        expect(yield* sql("SELECT a FROM kept")).toEqual([{ a: 1 }])
      }
      expect(yield* server().log).toContain("was not properly shut down")
    }),
  )

  it.live("restarts as another process, and ends what was connected", () =>
    Effect.gen(function* () {
      const { pid, restart, sql } = server()
      const before = yield* pid
      const held = yield* hold(sql, "60")
      yield* restart()
      expect(Exit.isFailure(yield* Fiber.await(held))).toBe(true)
      expect(yield* pid).not.toBe(before)
      expect(yield* sql("SELECT 1 AS a")).toEqual([{ a: 1 }])
    }),
  )

  it.live("answers nothing while it is frozen, and everything once it has thawed", () =>
    Effect.gen(function* () {
      const { freeze, pid, sql, thaw } = server()
      const before = yield* pid
      // Its process is there already.
      const held = yield* hold(sql, "0.2")
      yield* freeze
      const asked = yield* Effect.forkChild(sql("SELECT 1 AS a"))
      yield* aWhile
      expect([held.pollUnsafe(), asked.pollUnsafe()]).toEqual([undefined, undefined])
      yield* thaw
      expect(yield* Fiber.join(asked)).toEqual([{ a: 1 }])
      expect(yield* Fiber.join(held)).toHaveLength(1)
      expect(yield* pid).toBe(before)
    }),
  )

  it.live("has the settings that were asked for", () =>
    Effect.gen(function* () {
      const durable = yield* PostgresServer.makeOwn({ fsync: true, settings: { max_connections: "7" } })
      const settings = (name: string) => Effect.map(durable.sql(`SHOW ${name}`), ([row]) => row?.[name])
      expect(yield* settings("fsync")).toBe("on")
      expect(yield* settings("max_connections")).toBe("7")
      expect(yield* server().sql("SHOW fsync")).toEqual([{ fsync: "off" }])
    }).pipe(Effect.scoped),
  )
})

const needsOwn = "needs a PostgreSQL of its own: unset SEAWALL_TEST_POSTGRES_URL"

interface Report {
  readonly testResults: ReadonlyArray<{
    readonly assertionResults: ReadonlyArray<{
      readonly ancestorTitles: ReadonlyArray<string>
      readonly status: string
    }>
  }>
}

const { missingOwn } = PostgresServer
const cannotSee = process.platform === "linux" ? missingOwn : "needs /proc"

/** It is where its data is. */
const folderOf = (pid: number) => dirname(fs.readlinkSync(`/proc/${pid}/cwd`))

describe.skipIf(cannotSee !== undefined)(`what is left of a server of our own${because(cannotSee)}`, () => {
  it.live.each(["running", "stopped", "frozen"] as const)("is nothing when its scope closes while it is %s", (state) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const server = yield* Scope.provide(PostgresServer.makeOwn(), scope)
      const pid = yield* server.pid
      const folder = folderOf(pid)
      expect(fs.existsSync(folder)).toBe(true)
      if (state === "stopped") yield* server.stop()
      if (state === "frozen") yield* server.freeze
      yield* Scope.close(scope, Exit.void)
      expect([isAlive(pid), fs.existsSync(folder)]).toEqual([false, false])
    }),
  )

  const program = `
    import { Effect } from "effect"
    import * as PostgresServer from "./test/support/PostgresServer.ts"
    Effect.runFork(Effect.scoped(Effect.gen(function* () {
      console.log("starts")
      const server = yield* PostgresServer.makeOwn()
      if (process.argv[1] === "frozen") yield* server.freeze
      console.log(yield* server.pid)
      yield* Effect.never
    })))`

  const spawned = (state: string, env = process.env) => {
    const child = spawn(process.execPath, ["--input-type=module", "-e", program, state], {
      cwd: root,
      env,
      stdio: ["ignore", "pipe", "inherit"],
    })
    let said = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text
    })
    return { child, said: () => said.split("\n").slice(0, -1) }
  }

  it.each(["running", "frozen"])("is nothing when the process is killed while it is %s", async (state) => {
    const { child, said } = spawned(state)
    await until(() => said().length === 2)
    const pid = Number(said()[1])
    const folder = folderOf(pid)
    expect([isAlive(pid), fs.existsSync(folder)]).toEqual([true, true])
    child.kill("SIGKILL")
    await once(child, "exit")
    await until(() => !isAlive(pid) && !fs.existsSync(folder))
  })

  /** What runs in a folder, or is told of it: the shell that keeps a server, and the server. */
  const usersOf = (folder: string) =>
    fs
      .readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        try {
          const [cwd, command] = [fs.readlinkSync(`/proc/${pid}/cwd`), fs.readFileSync(`/proc/${pid}/cmdline`, "utf8")]
          return cwd.startsWith(folder) || command.includes(folder)
        } catch {
          return false
        }
      })

  // Milliseconds: the folder, the copy of the cluster, the start of the server.
  it.each([0, 50, 100, 200])("is nothing when the process is killed %i ms after it began", async (moment) => {
    const folder = fs.mkdtempSync(join(tmpdir(), "seawall-temporary-"))
    onTestFinished(() => fs.rmSync(folder, { recursive: true }))
    fs.chmodSync(folder, 0o777)
    const uid = PostgresServer.user?.uid ?? process.getuid?.()
    const clusters = fs
      .readdirSync(tmpdir())
      .filter((name) => name.startsWith("seawall-postgres-") && fs.statSync(join(tmpdir(), name)).uid === uid)
    for (const name of clusters) execFileSync("cp", ["-a", join(tmpdir(), name), folder])
    const { child, said } = spawned("running", { ...process.env, TMPDIR: folder })
    await until(() => said().length > 0)
    await setTimeout(moment)
    child.kill("SIGKILL")
    await once(child, "exit")
    await until(() => usersOf(folder).length === 0)
    expect(fs.readdirSync(folder)).toEqual(clusters)
  })
})

describe("the programs of a server", () => {
  const folderWith = (...names: ReadonlyArray<string>) => {
    const folder = fs.mkdtempSync(join(tmpdir(), "seawall-programs-"))
    onTestFinished(() => fs.rmSync(folder, { recursive: true }))
    for (const name of names) {
      fs.mkdirSync(join(folder, dirname(name)), { recursive: true })
      fs.writeFileSync(join(folder, name), "")
    }
    return folder
  }
  const programs = (folder: string) => ["initdb", "pg_ctl", "postgres"].map((name) => join(folder, name))

  it("are those on the path, else the newest of Debian", () => {
    const path = folderWith(...programs("bin"))
    const debian = folderWith(...programs("9/bin"), ...programs("15/bin"), "16/bin/psql")
    expect(PostgresServer.findBinaries(`/nowhere:${path}/bin`, debian)).toBe(`${path}/bin`)
    expect(PostgresServer.findBinaries("/nowhere", debian)).toBe(`${debian}/15/bin`)
    const links = folderWith()
    for (const name of programs("")) fs.symlinkSync(join(debian, "15/bin", name), join(links, name))
    expect(PostgresServer.findBinaries(links, "/nowhere")).toBe(`${debian}/15/bin`)
  })

  it("are missing where only a client is installed, or nothing", () => {
    expect(PostgresServer.findBinaries(folderWith("psql"), folderWith("16/bin/psql"))).toBeUndefined()
    expect(PostgresServer.findBinaries("", "/nowhere")).toBeUndefined()
  })
})

describe.skipIf(missingOwn !== undefined)(`a server that the environment names${because(missingOwn)}`, () => {
  it("is used, and not stopped: such tests are skipped, and their name says why", { timeout: 60_000 }, async () => {
    const file = fileURLToPath(import.meta.url)
    const scope = Scope.makeUnsafe()
    onTestFinished(() => Effect.runPromise(Scope.close(scope, Exit.void)))
    const server = await Effect.runPromise(Scope.provide(PostgresServer.makeOwn(), scope))
    const env = { ...process.env, SEAWALL_TEST_POSTGRES_URL: server.url() }
    const folder = fs.mkdtempSync(join(tmpdir(), "seawall-report-"))
    onTestFinished(() => fs.rmSync(folder, { recursive: true }))
    const output = join(folder, "report.json")
    const args = ["node_modules/vitest/vitest.mjs", "run", file, "--reporter=json", `--outputFile=${output}`]
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: ["ignore", "ignore", "inherit"] })
    await once(child, "exit")
    const report = JSON.parse(fs.readFileSync(output, "utf8")) as Report
    const states = new Map<string, Set<string>>()
    for (const { ancestorTitles, status } of report.testResults.flatMap((file) => file.assertionResults)) {
      const [suite = ""] = ancestorTitles
      states.set(suite, (states.get(suite) ?? new Set()).add(status))
    }
    expect(states.get("any server")).toEqual(new Set(["passed"]))
    expect(states.get(`a server of our own (${needsOwn})`)).toEqual(new Set(["skipped"]))
    // Schemas of its tests are gone.
    const schemas = await Effect.runPromise(server.sql("SELECT 1 FROM pg_namespace WHERE nspname LIKE 't\\_%'"))
    expect(schemas).toEqual([])
  })
})
