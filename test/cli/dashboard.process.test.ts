/** The dashboard of `seawall run` and `seawall guard` as real processes: where it is, when there is none, and how it ends. */
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { once } from "node:events"
import { freePort } from "../support/Browser.ts"
import { type Ended, run, start } from "../support/Seawall.ts"

let folder = ""
const undo: Array<() => unknown> = []
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-dashboard-"))
})
afterEach(() => {
  for (const each of undo.splice(0)) each()
  fs.rmSync(folder, { recursive: true, force: true })
})

const session = ["run", "--log-format", "json", "--db", "test.db"]
const env = { SEAWALL_ENGINE_BACKUPS: "0" }

const lines = ({ log }: Ended, event: string) => log.filter(({ message }) => [message].flat()[0] === event)

const steps = (ended: Ended) => lines(ended, "shutdown step").map(({ annotations }) => annotations["step"])

describe("the dashboard of a command", { timeout: 60_000 }, () => {
  it("says where it is, answers there, and closes before everything else", async () => {
    const port = await freePort()
    const running = start([...session, "--dashboard-port", String(port)], { cwd: folder, env })
    undo.push(() => running.kill("SIGKILL"))
    await running.says(`"url":"http://127.0.0.1:${port}"`)
    const events = await fetch(`http://127.0.0.1:${port}/api/events`) // a page that is open at the end
    expect(events.headers.get("content-type")).toBe("text/event-stream")
    const health = await fetch(`http://localhost:${port}/health`)
    expect([health.status, await health.json()]).toEqual([200, { ok: true, reasons: [] }])
    running.kill("SIGTERM")
    const ended = await running.ended
    expect(ended.code).toBe(0)
    expect(steps(ended).slice(0, 2)).toEqual(["close dashboard", "stop ticking"])
    const heard = await events.text() // to its end
    expect(heard).toContain(`"halt_reason":"interrupted_sigterm"`)
  })

  it("is left out with a WARNING when its port is taken, and the session goes on", async () => {
    const taken = net.createServer().listen(0, "127.0.0.1")
    undo.push(() => taken.close())
    await once(taken, "listening")
    const { port } = taken.address() as net.AddressInfo
    const ended = await run([...session, "--duration-seconds", "1", "--dashboard-port", String(port)], {
      cwd: folder,
      env,
    })
    expect(ended.code).toBe(0)
    expect(lines(ended, "dashboard unavailable").map(({ annotations, level }) => [level, annotations["port"]])).toEqual(
      [["WARN", port]],
    )
    expect(lines(ended, "engine halted")[0]?.annotations["halt_reason"]).toBe("duration_elapsed")
  })

  it("is not there with port 0, and a port that is none is refused", async () => {
    const without = await run([...session, "--duration-seconds", "1", "--dashboard-port", "0"], { cwd: folder, env })
    expect([without.code, lines(without, "dashboard")]).toEqual([0, []])
    const refused = await run([...session, "--dashboard-port", "70000"], { cwd: folder, env })
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("between 0 and 65535")])
  })

  it("of a guard labels the metrics of each database, also those of checkpoints on a thread", async () => {
    for (const name of ["a.db", "b.db"]) {
      const database = new DatabaseSync(path.join(folder, name))
      database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (a)")
      database.close()
    }
    const port = await freePort()
    const guard = start(
      ["guard", "--log-format", "json", "--interval-seconds", "0.1", "--dashboard-port", String(port), "a.db", "b.db"],
      { cwd: folder },
    )
    undo.push(() => guard.kill("SIGKILL"))
    await guard.says(`"message":"dashboard"`)
    const metrics = async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    const counted = (text: string, name: string) =>
      new RegExp(`^seawall_wal_checkpoints_total\\{[^}]*database="${name}"[^}]*\\} [1-9]`, "m").test(text)
    let text = await metrics()
    while (!counted(text, "a.db") || !counted(text, "b.db")) text = await metrics()
    expect(text).not.toMatch(/^seawall_exposure_seconds/m) // whether other programs sync each commit cannot be seen
    guard.kill("SIGINT")
    expect((await guard.ended).code).toBe(0)
  })
})
