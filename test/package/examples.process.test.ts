/**
 * The examples as their readers get them: compiled under every strict flag against the built package, which they import by its
 * name, and run as processes.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Effect, Exit, Scope } from "effect"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import { watch as fsWatch } from "node:fs/promises"
import * as os from "node:os"
import * as path from "node:path"
import * as readline from "node:readline"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import * as PostgresServer from "../support/PostgresServer.ts"
import { freePort } from "../support/ports.ts"
import { newSchema } from "../support/sharedPostgres.ts"
import { inherited } from "../support/Seawall.ts"
import { strict } from "./strict.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-examples-"))
const at = (...names: ReadonlyArray<string>) => path.join(folder, ...names)
const compiler = path.join(root, "node_modules/typescript/bin/tsc")

const node = (cwd: string, args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) =>
  spawnSync(process.execPath, args, { cwd, encoding: "utf8", env: { ...inherited, ...env }, timeout: 60_000 })

beforeAll(() => {
  const own = at("node_modules/seawall")
  fs.mkdirSync(own, { recursive: true })
  fs.copyFileSync(path.join(root, "package.json"), path.join(own, "package.json"))
  for (const name of fs.readdirSync(path.join(root, "node_modules"))) {
    if (!name.startsWith(".")) fs.symlinkSync(path.join(root, "node_modules", name), at("node_modules", name))
  }
  const built = node(root, [compiler, "-p", "src/tsconfig.json", "--outDir", path.join(own, "dist")])
  expect(built.stdout).toBe("")
  fs.cpSync(path.join(root, "src/dashboard/page"), path.join(own, "dist/dashboard/page"), { recursive: true })
  fs.cpSync(path.join(root, "examples"), at("examples"), { recursive: true })
})

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

const examples = fs.readdirSync(path.join(root, "examples"))

describe("the examples", () => {
  it.each(examples)("%s type-checks under every strict flag", (name) => {
    const config = at("examples", name, "tsconfig.json")
    fs.writeFileSync(
      config,
      JSON.stringify({
        compilerOptions: { ...strict, erasableSyntaxOnly: true, skipLibCheck: true },
        include: ["*.ts"],
      }),
    )
    expect(node(folder, [compiler, "-p", config])).toMatchObject({ stdout: "", status: 0 })
  })

  it.each(examples)("%s imports only what its readers have, by its name, and is short", (name) => {
    const main = fs.readFileSync(at("examples", name, "main.ts"), "utf8")
    const imported = [...main.matchAll(/from "([^"]+)"/g)].map(([, from = ""]) => from)
    expect(
      imported.filter(
        (from) =>
          !/^(?:seawall(?:\/\w+)?|effect(?:\/\w+)?|@effect\/(?:sql-pg|platform-node\/\w+)|node:\w+(?:\/\w+)?)$/.test(
            from,
          ),
      ),
    ).toEqual([])
    expect(imported.some((from) => from.startsWith("seawall"))).toBe(true)
    expect(main.split("\n").length).toBeLessThanOrEqual(150)
  })
})

describe("the HTTP service", () => {
  it("stores what it is sent, shows its database, and ends in order at SIGTERM", { timeout: 60_000 }, async () => {
    const cwd = at("examples/http-service")
    const [port, pagePort] = [await freePort(), await freePort()]
    const env = { ...inherited, PORT: String(port), PAGE_PORT: String(pagePort) }
    const service = spawn(process.execPath, ["main.ts"], { cwd, env, stdio: ["ignore", "pipe", "inherit"] })
    const said: Array<string> = []
    const lines = readline.createInterface({ input: service.stdout })
    const listening = new Promise<void>((resolve) =>
      lines.on("line", (line) => {
        said.push(line)
        if (line.includes("Listening on") && line.endsWith(`:${port}`)) resolve()
      }),
    )
    await Promise.race([listening, once(service, "exit").then(() => expect.fail(said.join("\n")))])
    const at8080 = (init?: RequestInit) => fetch(`http://127.0.0.1:${port}/notes`, init)
    const sent = ["milk", "bread", "salt"].map((body) => at8080({ method: "POST", body }))
    expect((await Promise.all(sent)).map(({ status }) => status)).toEqual([201, 201, 201])
    expect((await at8080({ method: "POST", body: "" })).status).toBe(400)
    const notes = (await (await at8080()).json()) as ReadonlyArray<{ readonly text: string }>
    expect(notes.map(({ text }) => text).toSorted()).toEqual(["bread", "milk", "salt"])
    expect((await fetch(`http://127.0.0.1:${pagePort}/health`)).status).toBe(200)
    service.kill("SIGTERM")
    await once(service, "exit")
    expect(fs.readdirSync(cwd).filter((name) => name.startsWith("notes.db"))).toEqual(["notes.db"])
    expect(said.filter((line) => / (?:WARN|ERROR|FATAL) /.test(line))).toEqual([])
  })
})

describe("several databases", () => {
  it("are written side by side, and each leaves one file", () => {
    const cwd = at("examples/several-databases")
    const { status, stderr, stdout } = node(cwd, ["main.ts"])
    expect([stderr, status]).toEqual(["", 0])
    expect(stdout).toMatch(/^orders: 100 rows;/m)
    expect(stdout).toMatch(/^prices: 1000 rows;/m)
    expect(stdout).not.toMatch(/ (?:WARN|ERROR|FATAL) /)
    expect(fs.readdirSync(cwd).filter((name) => name.includes(".db"))).toEqual(["orders.db", "prices.db"])
  })
})

describe("virtual time", () => {
  it("passes an hour in a test", () => {
    const { status, stdout } = node(at("examples/virtual-time"), ["--test", "main.ts"])
    expect(stdout).toMatch(/pass 1\n/)
    expect(status).toBe(0)
  })
})

describe("the temperature logger", () => {
  /** Runs it in a folder of its own, beside a sensor that says this. */
  const run = (degrees: string, env: Readonly<Record<string, string>> = {}) => {
    const cwd = fs.mkdtempSync(at("examples/temperature-logger-"))
    for (const name of ["main.ts", "config.yaml", "package.json"]) {
      fs.copyFileSync(at("examples/temperature-logger", name), path.join(cwd, name))
    }
    fs.writeFileSync(path.join(cwd, "degrees"), degrees)
    const ended = node(cwd, ["main.ts"], {
      SEAWALL_ENGINE_TICK_INTERVAL_SECONDS: "0.05",
      SEAWALL_SENSOR_FILE: "degrees",
      SEAWALL_PAGE_PORT: "0",
      ...env,
    })
    return { ...ended, files: fs.readdirSync(cwd).filter((name) => name.startsWith("temperature.db")), cwd }
  }

  const query = (cwd: string, sql: string) => {
    const database = new DatabaseSync(path.join(cwd, "temperature.db"), { readOnly: true })
    const rows = database.prepare(sql).all()
    database.close()
    return rows.map((row) => Object.values(row))
  }

  const state = (cwd: string) => Object.fromEntries(query(cwd, "SELECT key, value FROM engine_state")) as object

  it("keeps readings in its own table until its time is over, and no table of another trade", () => {
    const { cwd, files, status, stderr, stdout } = run("21500\n", { SEAWALL_ENGINE_DURATION_SECONDS: "0.7" })
    expect([stderr, status]).toEqual(["", 0])
    expect(stdout).not.toMatch(/ (?:WARN|ERROR|FATAL) /)
    const [[count = 0] = []] = query(cwd, "SELECT count(*) FROM readings WHERE session_id = 1 AND degrees = 21.5")
    expect(count).toBeGreaterThan(1)
    expect(state(cwd)).toMatchObject({
      engine_status: "HALTED",
      "halt.reason": "duration_elapsed",
      "temperature.last": "21.5",
      "temperature.readings": String(count),
    })
    const tables = query(cwd, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '%migrations'")
    expect(tables.flat().toSorted()).toEqual(["effect_sql_migrations", "temperature_migrations"])
    expect(query(cwd, "SELECT name FROM sqlite_schema WHERE name LIKE 'paper%'")).toEqual([])
    expect(files.map((name) => name.replace(/\d{8}T\d+Z.*/, "stamp"))).toEqual([
      "temperature.db",
      "temperature.db.post.stamp",
    ])
  })

  it("halts with its own exit code when it is too hot, and keeps a backup", () => {
    const { cwd, files, status } = run("96000")
    expect(status).toBe(5)
    expect(state(cwd)).toMatchObject({
      "halt.reason": "temperature_alarm",
      "halt.detail": "96 is not between -40 and 95",
    })
    expect(files).toHaveLength(2)
  })

  it("halts with its own exit code when the sensor is lost, and keeps no backup", () => {
    const { cwd, files, status, stdout } = run("broken")
    expect(status).toBe(4)
    expect(state(cwd)).toMatchObject({ "halt.reason": "sensor_lost", "halt.detail": "degrees holds no number" })
    expect(stdout.match(/sensor missed/g)).toHaveLength(3)
    expect(query(cwd, "SELECT count(*) FROM readings")).toEqual([[0]])
    expect(files).toEqual(["temperature.db"])
  })

  it("refuses what is wrong in its configuration, all at once, before there is a database", () => {
    const { files, status, stdout } = run("20000", {
      SEAWALL_SENSOR_PER_DEGREE: "0",
      SEAWALL_ALARM_HIGHEST: "hot",
      SEAWALL_ALARM_COLDEST: "1",
    })
    expect(status).toBe(78)
    expect(stdout).toContain("sensor.per_degree (SEAWALL_SENSOR_PER_DEGREE): Expected a value greater than 0, got 0")
    expect(stdout).toContain('alarm.highest (SEAWALL_ALARM_HIGHEST): Expected number, got "hot"')
    expect(stdout).toContain('SEAWALL_ALARM_COLDEST: unknown variable, got "1"')
    expect(files).toEqual([])
  })

  it("refuses settings that make no sense together, and stores why", () => {
    const { cwd, status, stdout } = run("20000", { SEAWALL_ALARM_LOWEST: "95" })
    expect(status).toBe(78)
    expect(stdout).toContain("expected alarm.lowest to be less than alarm.highest (95), got 95")
    expect(state(cwd)).toMatchObject({ engine_status: "HALTED", "halt.reason": "config_mismatch" })
  })
})

describe.skipIf(PostgresServer.missing !== undefined)("the orders of a cluster", () => {
  const scope = Scope.makeUnsafe()
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  it("go on when the machine that sends them is killed, and none was sent that is not stored", async () => {
    const server = await Effect.runPromise(Scope.provide(PostgresServer.make(), scope))
    const cwd = at("examples/cluster-orders")
    const exchange = path.join(cwd, "exchange.log")
    const start = async () => {
      const child = spawn(process.execPath, ["main.ts"], {
        cwd,
        stdio: ["ignore", "pipe", "inherit"],
        env: {
          ...inherited,
          SEAWALL_POSTGRES_URL: server.url(),
          SEAWALL_POSTGRES_SCHEMA: schema,
          SEAWALL_ENGINE_TICK_INTERVAL_SECONDS: "0.02",
          RUNNER_PORT: String(await freePort()),
          EXCHANGE_FILE: exchange,
        },
      })
      await Effect.runPromise(
        Scope.addFinalizer(
          scope,
          Effect.sync(() => child.kill("SIGKILL")),
        ),
      )
      const lines = readline.createInterface({ input: child.stdout })
      const runs = new Promise<void>((resolve) =>
        lines.on("line", (line) => (line.includes("engine running") ? resolve() : undefined)),
      )
      return { child, runs, ended: once(child, "exit") }
    }
    const sent = () =>
      fs
        .readFileSync(exchange, "utf8")
        .trim()
        .split("\n")
        .map((line) => Number(line.split(" ")[0]))
    const untilSent = async (count: number) => {
      for await (const _ of fsWatch(cwd)) if (fs.existsSync(exchange) && sent().length >= count) return
    }
    const schema = newSchema()

    const machines = [await start(), await start()]
    const first = await Promise.race(machines.map(({ runs }, index) => runs.then(() => index)))
    await untilSent(10)
    machines[first]!.child.kill("SIGKILL")
    await machines[1 - first]!.runs
    await untilSent(sent().length + 10)
    machines[1 - first]!.child.kill("SIGTERM")
    await machines[1 - first]!.ended

    const rows = await Effect.runPromise(
      Effect.orDie(
        server.sql(`SELECT CAST(order_id AS INTEGER) AS id, CAST(sent AS INTEGER) AS sent FROM ${schema}.orders`),
      ),
    )
    const known = new Set(sent())
    expect(sent().filter((id) => !rows.some((row) => row["id"] === id))).toEqual([])
    expect(rows.filter((row) => row["sent"] === 1 && !known.has(Number(row["id"])))).toEqual([])
    // What the kill fell into is sent once more, under its number.
    expect(sent().length - known.size).toBeLessThanOrEqual(1)
    for (const dropped of [
      `SCHEMA ${schema} CASCADE`,
      "TABLE IF EXISTS cluster_locks, cluster_runners, cluster_runner_migrations",
    ]) {
      await Effect.runPromise(Effect.orDie(server.sql(`DROP ${dropped}`)))
    }
  }, 60_000)
})
