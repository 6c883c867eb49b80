/** One engine a database, with real processes: started at the same instant, killed, ended, and started again. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { describe, expect, test, vi } from "vitest"
import { inherited, run, start, quick, quickEngine } from "../support/Seawall.ts"

vi.setConfig({ testTimeout: 60_000 })

const program = fileURLToPath(new URL("../children/leaseRounds.ts", import.meta.url))

/** A process that takes leases; it is asked one thing at a time. */
class Taker {
  readonly #child = spawn(process.execPath, [program], { env: inherited, stdio: ["pipe", "pipe", "inherit"] })
  readonly #lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  readonly #ended = once(this.#child, "exit")
  readonly pid = this.#child.pid!

  readonly ask = async (line: string) => {
    this.#child.stdin.write(`${line}\n`)
    const { value } = await this.#lines.next()
    return String(value)
  }

  readonly kill = async () => {
    this.#child.kill("SIGKILL")
    await this.#ended
  }
}

interface Fixtures {
  readonly folder: string
  readonly takers: (count: number) => ReadonlyArray<Taker>
}

const it = test.extend<Fixtures>({
  // oxlint-disable-next-line no-empty-pattern -- the runner reads the dependencies of a fixture off this pattern
  folder: async ({}, use) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-lease-"))
    await use(folder)
    fs.rmSync(folder, { recursive: true, force: true })
  },
  // oxlint-disable-next-line no-empty-pattern -- as above
  takers: async ({}, use) => {
    const all: Array<Taker> = []
    await use((count) => {
      const them = Array.from({ length: count }, () => new Taker())
      all.push(...them)
      return them
    })
    await Promise.all(all.map((taker) => taker.kill()))
  },
})

/** All of them at the same instant; what each answers, with its pid. */
const takeAll = (takers: ReadonlyArray<Taker>, file: string) => {
  const at = Date.now() + 30
  return Promise.all(takers.map(async (taker) => ({ taker, answer: await taker.ask(`take ${file} ${at}`) })))
}

/** Exactly one runs, and every other one is told which. */
const expectOne = (answers: Awaited<ReturnType<typeof takeAll>>, round: number) => {
  const [winner, ...more] = answers.filter(({ answer }) => answer === "runs")
  expect(more, `round ${round}: ${answers.map(({ answer }) => answer).join(", ")}`).toEqual([])
  expect(winner, `round ${round}: ${answers.map(({ answer }) => answer).join(", ")}`).toBeDefined()
  for (const { answer, taker } of answers) {
    if (taker === winner?.taker) continue
    expect(answer, `round ${round}`).toMatch(
      new RegExp(`^refused ${winner?.taker.pid} .* runs: pid ${winner?.taker.pid} \\(`),
    )
  }
  return winner!.taker
}

describe("processes that start at the same instant", () => {
  it("run one at a time, fifty times, and leave nothing", async ({ folder, takers }) => {
    const file = path.join(folder, "test.db")
    const both = takers(2)
    const winners = new Set<number>()
    for (let round = 0; round < 50; round++) {
      const winner = expectOne(await takeAll(both, file), round)
      winners.add(winner.pid)
      expect(await winner.ask("end"), `round ${round}`).toBe("ended")
      expect(fs.readdirSync(folder), `round ${round}`).toEqual([])
    }
    expect(winners.size).toBe(2)
  })

  it("run one at a time on what a killed process left", async ({ folder, takers }) => {
    const file = path.join(folder, "test.db")
    for (let round = 0; round < 5; round++) {
      const them = takers(3)
      const winner = expectOne(await takeAll(them, file), round)
      await winner.kill()
      expect(fs.readdirSync(folder), `round ${round}`).toEqual(["test.db-lease"])
    }
  })

  it("never run together, however often they start and end", async ({ folder, takers }) => {
    const file = path.join(folder, "test.db")
    const answers = await Promise.all(takers(3).map((taker) => taker.ask(`churn ${file} 200`)))
    expect(answers).toEqual(["churned", "churned", "churned"])
    expect(fs.readdirSync(folder)).toEqual([])
  })
})

const startOf = (folder: string) => start(quickEngine, { cwd: folder, env: quick })

const refusal = (pid: number) =>
  new RegExp(
    `^test\\.db belongs to an engine that runs: pid ${pid} \\(node main\\.ts run .*\\), since \\S+Z; end that one first$`,
  )

const sessions = (folder: string) => {
  const db = new DatabaseSync(path.join(folder, "test.db"), { readOnly: true })
  const rows = db.prepare("SELECT session_id AS id, halt_reason AS reason FROM sessions ORDER BY session_id").all()
  db.close()
  return rows.map(({ id, reason }) => [id, reason])
}

describe.concurrent("a second start on a database", () => {
  it("is refused before it writes, creates or checks anything, and the first goes on", async ({ folder }) => {
    const first = startOf(folder)
    await first.says(`"engine running"`)
    const before = fs.readdirSync(folder).toSorted()
    const second = await run(quickEngine, { cwd: folder, env: { ...quick, SEAWALL_ENGINE_BACKUPS: "3" } })
    expect(second.code).toBe(1)
    expect(second.log.map(({ message }) => message)).toEqual(["start failed"])
    expect(second.log[0]?.annotations["error"]).toMatch(refusal(first.pid))
    expect(fs.readdirSync(folder).toSorted()).toEqual(before)
    first.kill("SIGTERM")
    const { code, log } = await first.ended
    expect([code, log.filter(({ level }) => level === "ERROR" || level === "FATAL")]).toEqual([0, []])
    expect(fs.readdirSync(folder)).toEqual(["test.db"])
    expect(sessions(folder)).toEqual([[1, "interrupted_sigterm"]])
  })

  it("goes on at once when the first was killed, with nothing to clean up", async ({ folder }) => {
    const first = startOf(folder)
    await first.says(`"engine running"`)
    first.kill("SIGKILL")
    await first.ended
    expect(fs.readdirSync(folder)).toContain("test.db-lease")
    const second = await run([...quickEngine, "--duration-seconds", "0.5"], { cwd: folder, env: quick })
    expect(second.code).toBe(0)
    expect(fs.readdirSync(folder)).toEqual(["test.db"])
    expect(sessions(folder).at(-1)).toEqual([2, "duration_elapsed"])
  })
})

describe.concurrent("beside an engine", () => {
  it("what writes is refused with the same message, and what reads goes on", async ({ folder }) => {
    const seawall = (...args: ReadonlyArray<string>) => run(args, { cwd: folder })
    fs.mkdirSync(path.join(folder, "other"))
    expect(
      (await run([...quickEngine, "--duration-seconds", "0.3"], { cwd: path.join(folder, "other"), env: quick })).code,
    ).toBe(0)
    const session = startOf(folder)
    await session.says(`"engine running"`)
    for (const args of [
      ["inject-capital", "--db", "test.db", "--amount", "5", "--source-note", "bank", "--confirm"],
      ["write-initial-basis", "--db", "test.db", "--amount", "5", "--confirm"],
      ["restore", "other/test.db", "test.db"],
    ]) {
      const { code, stderr, stdout } = await seawall(...args)
      expect([code, stdout], `${args[0]}`).toEqual([1, ""])
      expect(stderr.trimEnd().replace(`seawall ${args[0]}: `, "")).toMatch(refusal(session.pid))
    }
    expect((await seawall("checkpoint", "test.db")).stderr).toBe("")
    expect((await seawall("backup", "test.db", "other/copy.db")).code).toBe(0)
    session.kill("SIGTERM")
    expect((await session.ended).code).toBe(0)
    expect(fs.readdirSync(folder)).toEqual(["other", "test.db"])
    expect(fs.readdirSync(path.join(folder, "other")).toSorted()).toEqual(["copy.db", "test.db"])
  })

  it("status and doctor tell one that runs from one that crashed, also while a shell has the database open", async ({
    folder,
  }) => {
    const look = async () =>
      JSON.parse((await run(["status", "test.db", "--json"], { cwd: folder })).stdout) as Record<string, unknown>
    const text = async () => (await run(["status", "test.db"], { cwd: folder })).stdout
    const examine = async () => {
      const report = JSON.parse((await run(["doctor", "test.db", "--json"], { cwd: folder })).stdout) as Report
      return {
        seen: report.examined.find(({ subject }) => subject === "open-session")?.seen,
        session: report.findings.find(({ subject }) => subject === "open-session"),
        open: report.findings.find(({ subject }) => subject === "open-elsewhere"),
      }
    }
    const session = startOf(folder)
    await session.says(`"engine running"`)
    expect(await look()).toMatchObject({
      engine_lease: "held",
      engine_lease_reason: null,
      engine_holder: { pid: session.pid, host: os.hostname(), since: expect.stringMatching(/Z$/) as unknown },
      engine_status: "RUNNING",
      session_state: "open",
    })
    expect(await text()).toMatch(
      new RegExp(`engine +RUNNING: node main\\.ts run .* \\(pid ${session.pid}\\), since \\S+Z \\(\\d+ s ago\\)\n`),
    )
    const running = await examine()
    expect(running.session).toBeUndefined()
    expect(running.seen).toContain(`1 session without an end, the newest runs: pid ${session.pid} (node main.ts run`)
    expect(running.open?.message).toContain(`an engine runs on it: pid ${session.pid} (`)
    expect(running.open?.remedy).toBe("seawall status test.db")

    session.kill("SIGKILL")
    await session.ended
    const shell = new DatabaseSync(path.join(folder, "test.db"))
    shell.exec("CREATE TABLE notes (text)")
    expect(await look()).toMatchObject({
      engine_lease: "left",
      engine_holder: null,
      engine_status: "RUNNING",
      session_state: "not_closed",
    })
    expect(await text()).toContain("RUNNING, but no engine runs: it crashed, and the next start goes on\n")
    const crashed = await examine()
    expect(crashed.session?.evidence).toMatchObject({ session_ids: [1] })
    expect(crashed.open?.message).not.toContain("an engine runs")
    shell.close()
    expect(fs.readdirSync(folder)).toEqual(["test.db", "test.db-lease"])
  })
})

describe.runIf(process.getuid?.() === 0)("a lease of another user", () => {
  const as = (...args: ReadonlyArray<string>) => [
    "setpriv",
    "--reuid=1234",
    "--clear-groups",
    "--bounding-set=-all",
    ...args,
  ]

  it("is unknown to one who may read it alone, with why, and nothing is changed", async ({ folder }) => {
    fs.chmodSync(folder, 0o755)
    expect((await run([...quickEngine, "--duration-seconds", "0.3"], { cwd: folder, env: quick })).code).toBe(0)
    new DatabaseSync(path.join(folder, "test.db-lease")).close()
    const under = as()
    const status = JSON.parse((await run(["status", "test.db", "--json"], { cwd: folder, under })).stdout) as Record<
      string,
      unknown
    >
    expect(status).toMatchObject({
      engine_lease: null,
      engine_lease_reason: expect.stringContaining("cannot be locked by this user") as unknown,
      engine_status: "HALTED",
    })
    expect(fs.readdirSync(folder)).toEqual(["test.db", "test.db-lease"])
  })

  it("that was left beside a database of this user is taken over", async ({ folder }) => {
    fs.chownSync(folder, 1234, 1234)
    const file = path.join(folder, "test.db")
    fs.writeFileSync(file, "")
    fs.chownSync(file, 1234, 1234)
    const first = startOf(folder)
    await first.says(`"engine running"`)
    first.kill("SIGKILL")
    await first.ended
    expect(fs.statSync(`${file}-lease`).uid).toBe(1234)
    for (const end of ["-wal", "-shm"]) fs.chownSync(`${file}${end}`, 1234, 1234)
    const second = await run([...quickEngine, "--duration-seconds", "0.3"], { cwd: folder, env: quick, under: as() })
    expect(second.log.filter(({ level }) => level === "ERROR")).toEqual([])
    expect(second.code).toBe(0)
    expect(fs.readdirSync(folder)).toEqual(["test.db"])
  })
})

interface Report {
  readonly examined: ReadonlyArray<{ readonly subject: string; readonly seen: string }>
  readonly findings: ReadonlyArray<{
    readonly subject: string
    readonly message: string
    readonly evidence: Readonly<Record<string, unknown>>
    readonly remedy: string
  }>
}
