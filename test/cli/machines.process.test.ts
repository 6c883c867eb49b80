/** Two machines on one server: the dashboard, `/health` and the metrics of each say who leads, who stands by, and what is wrong. */
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { Effect, Exit, Schema, Scope } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { Snapshot } from "../../src/dashboard/Snapshot.ts"
import * as PostgresServer from "../support/PostgresServer.ts"
import { executablePath, freePort, launch, open } from "../support/Browser.ts"
import { quick, run, start } from "../support/Seawall.ts"

vi.setConfig({ testTimeout: 90_000 })

let folder = ""
let scope: Scope.Closeable
const running: Array<ReturnType<typeof start>> = []
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-machines-"))
  scope = Scope.makeUnsafe()
})
afterEach(async () => {
  for (const machine of running.splice(0)) {
    machine.kill("SIGKILL")
    await machine.ended
  }
  await Effect.runPromise(Scope.close(scope, Exit.void))
  fs.rmSync(folder, { recursive: true, force: true })
})

const decode = Schema.decodeUnknownSync(Snapshot)

/** Waits for the stream of the dashboard, which sends a snapshot each second, to show it. */
const snapshotOf = async (port: number, isIt: (now: Snapshot) => boolean): Promise<Snapshot> => {
  for (;;) {
    const now = decode(await (await fetch(`http://127.0.0.1:${port}/api/status`)).json())
    if (isIt(now)) return now
    await sleep(100)
  }
}

/** Waits in the same way for a metric, which is set each second. */
const metricsOf = async (port: number, wanted: RegExp): Promise<string> => {
  for (;;) {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    if (wanted.test(text)) return text
    await sleep(100)
  }
}

const health = async (port: number) => {
  const response = await fetch(`http://127.0.0.1:${port}/health`)
  return [response.status, await response.json()]
}

it.skipIf(PostgresServer.missingOwn !== undefined)(
  "shows who leads, who stands by, and that the server is gone",
  async () => {
    const server = await Effect.runPromise(Scope.provide(PostgresServer.makeOwn(), scope))
    const machine = async () => {
      const port = await freePort()
      const env = { ...quick, SEAWALL_POSTGRES_URL: server.url(), SEAWALL_ENGINE_STORE: "postgres" }
      const started = start(["run", "--dashboard-port", String(port)], { cwd: folder, env })
      running.push(started)
      return { started, port }
    }
    const first = await machine()
    await first.started.says("engine running")
    const second = await machine()
    await second.started.says("standing by")

    const leads = await snapshotOf(first.port, ({ leadership }) => leadership?.standbys.length === 1)
    expect(leads).toMatchObject({
      health: { ok: true },
      databases: [],
      engine: { status: "RUNNING", session_id: 1 },
      leadership: {
        leads_here: true,
        leader: { session_id: 1, pid: first.started.pid },
        lease_seconds: 3,
        problem: null,
      },
    })
    const waits = await snapshotOf(second.port, ({ leadership }) => leadership?.standbys.length === 1)
    expect(waits).toMatchObject({
      engine: null,
      leadership: { leads_here: false, leader: { session_id: 1, pid: first.started.pid }, leaderless_seconds: 0 },
    })
    expect(waits.leadership!.standbys[0]).toMatch(new RegExp(`:${second.started.pid}$`))
    expect(waits.leadership!.leader!.heard_seconds).toBeLessThan(3)
    expect(await health(second.port)).toEqual([200, { ok: true, reasons: [] }])
    expect(await metricsOf(second.port, /seawall_engine_standbys 1\n/)).toMatch(/seawall_engine_leads 0\n/)

    const third = await machine()
    await third.started.says("standing by")
    await snapshotOf(first.port, ({ leadership }) => leadership?.standbys.length === 2)
    third.started.kill("SIGTERM")
    const gone = await third.started.ended
    expect([gone.code, gone.stdout]).toEqual([0, expect.not.stringContaining("ERROR")])

    const status = ["status", "--store", "postgres"]
    const asked = await run([...status, "--json"], { cwd: folder, env: { SEAWALL_POSTGRES_URL: server.url() } })
    expect([asked.code, JSON.parse(asked.stdout)]).toMatchObject([
      0,
      { leader: { session_id: 1, pid: first.started.pid }, engine_status: "RUNNING", session_state: "open" },
    ])
    const table = await run(status, { cwd: folder, env: { SEAWALL_POSTGRES_URL: server.url() } })
    expect(table.stdout).toMatch(/^leads +\S+:\d+ since \S+ \(.*ago\); heard \d\.\d s ago; .*\nstands by +\S+:\d+\n/m)

    first.started.kill("SIGKILL")
    const took = await snapshotOf(second.port, ({ engine }) => engine?.status === "RUNNING")
    expect(took).toMatchObject({ engine: { session_id: 2 } })

    await Effect.runPromise(server.stop())
    const alone = await snapshotOf(second.port, ({ health }) => !health.ok)
    expect(alone.health.reasons.map(({ reason }) => reason)).toEqual(["unreachable"])
    expect((await health(second.port))[0]).toBe(503)
    const refused = await run(status, { cwd: folder, env: { SEAWALL_POSTGRES_URL: server.url() } })
    expect([refused.code, refused.stdout]).toEqual([1, ""])
    expect(refused.stderr).toContain("start the server, or correct the host and port of the URL")
  },
)

it("is asked for a database or for a server, not for both", async () => {
  for (const args of [["status"], ["status", "a.db", "--store", "postgres"]]) {
    const refused = await run(args, { cwd: folder })
    expect([refused.code, refused.stdout]).toEqual([78, ""])
    expect(refused.stderr).toMatch(/DB: (name the database, or choose --store postgres|there is no file with)/)
  }
})

it.skipIf(PostgresServer.missing !== undefined || executablePath === undefined)(
  "shows the machines on the page, in a real browser",
  async () => {
    const server = await Effect.runPromise(Scope.provide(PostgresServer.makeOwn(), scope))
    const port = await freePort()
    const env = { ...quick, SEAWALL_POSTGRES_URL: server.url(), SEAWALL_ENGINE_STORE: "postgres" }
    running.push(start(["run", "--dashboard-port", String(port)], { cwd: folder, env }))
    await running[0]!.says("engine running")
    const browser = await launch()
    const { page, problems } = await open(browser, `http://127.0.0.1:${port}/`)
    await page.getByText("(this process)").waitFor()
    await page.locator("#strip").getByText("RUNNING").waitFor()
    expect(await page.locator("#machines").innerText()).toMatch(/Machines\s+Leads\s+.*:\d+ \(this process\)\s+Since/)
    await page.locator("#figures dd").first().waitFor()
    expect(await page.locator("#list").isVisible()).toBe(false)
    expect(problems).toEqual([])
    await browser.close()
  },
)
