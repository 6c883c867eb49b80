/** `seawall inject-capital` and `seawall write-initial-basis` as real processes. */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { Counts } from "../children/countThreads.ts"
import { type Ended, loading, run, start, quick, quickEngine } from "../support/Seawall.ts"

const startingValue = "paper.pnl_starting_value_rlusd"
const bank = ["--amount", "250", "--source-note", "bank transfer"]
const inject = ["inject-capital", "--db", "test.db", ...bank]
const initial = ["write-initial-basis", "--db", "test.db", "--amount", "1000"]
const both = [
  ["inject-capital", inject],
  ["write-initial-basis", initial],
] as const

/** A case is many processes, beside those of other cases. */
vi.setConfig({ testTimeout: 60_000 })

/** A folder for one test, and the database in it. */
class Place {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-capital-"))
  readonly file = path.join(this.folder, "test.db")

  readonly seawall = (...args: ReadonlyArray<string>) => run(args, { cwd: this.folder })

  readonly sql = (sql: string) => {
    const database = new DatabaseSync(this.file)
    const rows = database.prepare(sql).all()
    database.close()
    return rows.map((row) => Object.values(row))
  }

  /** A database as an engine leaves it. */
  readonly afterEngine = () => {
    fs.copyFileSync(left.file, this.file)
  }

  readonly events = () =>
    this.sql("SELECT event_type, asset, amount, price_rlusd, basis_delta_rlusd, source_note FROM capital_events")

  readonly value = () => this.sql(`SELECT value FROM engine_state WHERE key = '${startingValue}'`)

  /** Every file with all of its bytes. */
  readonly everything = () =>
    Object.fromEntries(
      fs.readdirSync(this.folder).map((name) => {
        const file = path.join(this.folder, name)
        return [name, fs.statSync(file).isFile() ? fs.readFileSync(file).toString("base64") : "a folder"]
      }),
    )
}

/** Where an engine has run, once for all tests. */
const left = new Place()

beforeAll(async () => {
  const args = [...quickEngine, "--duration-seconds", "0.5"]
  expect((await run(args, { cwd: left.folder, env: quick })).code).toBe(0)
  left.sql(`UPDATE engine_state SET value = '2000.5' WHERE key = '${startingValue}'`)
}, 60_000)

afterAll(() => fs.rmSync(left.folder, { recursive: true, force: true }))

const it = test.extend<{ at: Place }>({
  // oxlint-disable-next-line no-empty-pattern -- the runner reads the dependencies of a fixture off this pattern
  at: async ({}, use) => {
    const at = new Place()
    await use(at)
    fs.rmSync(at.folder, { recursive: true, force: true })
  },
})

/** Exit code 1, nothing on standard output, and one line that says why. */
const expectRefused = ({ code, stderr, stdout }: Ended, ...texts: ReadonlyArray<string | RegExp>) => {
  expect([code, stdout]).toEqual([1, ""])
  expect(stderr.trimEnd().split("\n")).toHaveLength(1)
  for (const text of texts) expect(stderr).toMatch(text)
}

const table = (...rows: ReadonlyArray<readonly [string, string, string]>) =>
  new RegExp(`^${rows.map((row) => row.join(" +").replaceAll(".", "\\.")).join("\n")}\n$`)

describe.concurrent("without --confirm", () => {
  it("an injection is shown, and not a byte changes", async ({ at }) => {
    at.afterEngine()
    const before = at.everything()
    expect(Object.keys(before)).toEqual(["test.db"])
    const ended = await at.seawall(...inject)
    expect(ended.code).toBe(0)
    expect(ended.stdout).toMatch(
      table(["", "before", "after"], ["net_basis_rlusd", "0", "250"], [startingValue, "2000.5", "2250.5"]),
    )
    expect(ended.stderr).toBe("nothing was changed; repeat with --confirm to store it\n")
    expect(at.everything()).toEqual(before)
  })

  it("the same by the name of the group", async ({ at }) => {
    at.afterEngine()
    const args = ["--db", "test.db", "--amount", "250", "--source-note", "bank", "--json"]
    // One after the other: each is refused while another process has the file open.
    const grouped = await run(["capital", "deposit", ...args], { cwd: at.folder })
    const old = await run(["inject-capital", ...args], { cwd: at.folder })
    expect([grouped.code, JSON.parse(grouped.stdout).event]).toEqual([0, JSON.parse(old.stdout).event])
    const wrong = await run(["capital", "basis", "--db", "none.db", "--amount", "1"], { cwd: at.folder })
    expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining("seawall capital basis: cannot open")])
  })

  it("the initial basis is shown, and not a byte changes", async ({ at }) => {
    at.afterEngine()
    const before = at.everything()
    const ended = await at.seawall(...initial)
    expect(ended.code).toBe(0)
    expect(ended.stdout).toMatch(
      table(["", "before", "after"], ["net_basis_rlusd", "0", "1000"], [startingValue, "2000.5", "2000.5"]),
    )
    expect(at.everything()).toEqual(before)
  })

  it("a database that no engine has used yet is shown, and gets no schema", async ({ at }) => {
    at.sql("CREATE TABLE notes (text)")
    const before = at.everything()
    for (const [, args] of both) {
      const ended = await at.seawall(...args, "--json")
      expect(JSON.parse(ended.stdout)).toMatchObject({
        stored: false,
        before: { net_basis_rlusd: 0, [startingValue]: null },
      })
    }
    expect(at.everything()).toEqual(before)
  })

  it("what a dashboard left beside the file stays as it is", async ({ at }) => {
    at.afterEngine()
    const dashboard = new DatabaseSync(at.file, { readOnly: true })
    dashboard.prepare("SELECT count(*) FROM sessions").all()
    dashboard.close()
    const before = at.everything()
    expect(Object.keys(before)).toEqual(["test.db", "test.db-shm", "test.db-wal"])
    expect((await at.seawall(...inject)).code).toBe(0)
    expect(at.everything()).toEqual(before)
  })

  it("what would be is what then is", async ({ at }) => {
    at.afterEngine()
    const xrp = ["inject-capital", "--db", "test.db", "--asset", "XRP", "--amount", "3", "--price-rlusd", "0.1"]
    for (const args of [initial, [...xrp, "--source-note", "cold"], inject]) {
      const shown = JSON.parse((await at.seawall(...args, "--json")).stdout) as Record<string, unknown>
      const made = JSON.parse((await at.seawall(...args, "--json", "--confirm")).stdout) as Record<string, unknown>
      expect([shown["stored"], made["stored"]]).toEqual([false, true])
      expect(made).toEqual({ ...shown, stored: true })
    }
    expect(at.value()).toEqual([["2250.8"]])
  })
})

describe.concurrent("with --confirm", () => {
  it("an injection is stored, both writes, in one clean file", async ({ at }) => {
    at.afterEngine()
    const ended = await at.seawall(...inject, "--confirm")
    expect([ended.code, ended.stderr]).toEqual([0, "stored\n"])
    expect(ended.stdout).toMatch(
      table(["", "before", "after"], ["net_basis_rlusd", "0", "250"], [startingValue, "2000.5", "2250.5"]),
    )
    expect(fs.readdirSync(at.folder)).toEqual(["test.db"])
    expect(at.events()).toEqual([["deposit", "RLUSD", 250, null, 250, "bank transfer"]])
    expect(at.value()).toEqual([["2250.5"]])
    expect(at.sql("PRAGMA quick_check")).toEqual([["ok"]])
  })

  it("an injection of XRP is stored at its worth, and printed as one JSON object", async ({ at }) => {
    at.sql("CREATE TABLE notes (text)")
    const args = ["--asset", "XRP", "--price-rlusd", "0.5", "--confirm", "--json"]
    const ended = await at.seawall(...inject, ...args)
    expect(ended.code).toBe(0)
    expect(JSON.parse(ended.stdout)).toEqual({
      command: "inject-capital",
      db: "test.db",
      stored: true,
      event: {
        asset: "XRP",
        event_type: "deposit",
        amount: 250,
        price_rlusd: 0.5,
        basis_delta_rlusd: 125,
        source_note: "bank transfer",
      },
      before: { net_basis_rlusd: 0, [startingValue]: null },
      after: { net_basis_rlusd: 125, [startingValue]: 125 },
    })
    expect(at.events()).toEqual([["deposit", "XRP", 250, 0.5, 125, "bank transfer"]])
  })

  it("the initial basis is stored once, whatever the second amount is", async ({ at }) => {
    at.afterEngine()
    expect((await at.seawall(...initial, "--confirm")).stderr).toBe("stored\n")
    const again = await at.seawall("write-initial-basis", "--db", "test.db", "--amount", "5", "--confirm", "--json")
    expect([again.code, again.stderr]).toEqual([0, "it was stored before; nothing was changed\n"])
    expect(JSON.parse(again.stdout)).toMatchObject({ stored: false, event: null, after: { net_basis_rlusd: 1000 } })
    expect(at.events()).toEqual([["basis_commit", "RLUSD", 1000, null, 1000, "synthetic_initial_basis"]])
  })

  it("a failure between the two writes leaves neither", async ({ at }) => {
    at.afterEngine()
    at.sql(`CREATE TRIGGER forced BEFORE UPDATE ON engine_state BEGIN SELECT RAISE(ABORT, 'forced'); END`)
    expectRefused(await at.seawall(...inject, "--confirm"), "injectCapital failed: forced")
    expect(at.value()).toEqual([["2000.5"]])
    expect(at.events()).toEqual([])
    expect(fs.readdirSync(at.folder)).toEqual(["test.db"])
  })

  it("starts no thread and no process, where an engine starts both", async ({ at }) => {
    const counting = { COUNT_IN: path.join(at.folder, "counts") }
    const counts = () => JSON.parse(fs.readFileSync(counting.COUNT_IN, "utf8")) as Counts
    const under = { ...counting, ...loading("countThreads") }
    at.afterEngine()

    spawnSync(process.execPath, ["--eval", `require("node:fs").stat(".", () => {})`], {
      env: { ...process.env, ...under },
    })
    const { threads } = counts()
    for (const [, args] of both) {
      for (const confirm of [[], ["--confirm"]]) {
        expect((await run([...args, ...confirm], { cwd: at.folder, env: under })).code).toBe(0)
        expect(counts()).toEqual({ workers: 0, children: 0, threads })
      }
    }
    const session = [...quickEngine, "--duration-seconds", "0.5"]
    expect((await run(session, { cwd: at.folder, env: { ...quick, ...under } })).code).toBe(0)
    expect(counts().workers).toBeGreaterThan(0)
    expect(counts().children).toBeGreaterThan(0)
  })
})

describe.concurrent("an engine", () => {
  it("that has the file open is named, and is not disturbed", async ({ at }) => {
    const session = start(quickEngine, { cwd: at.folder, env: quick })
    await session.says(`"wal_checkpoint"`)
    for (const [command, args] of both) {
      for (const confirm of [[], ["--confirm"]]) {
        const ended = await at.seawall(...args, ...confirm)
        const isWritten = confirm.length > 0
        const says = isWritten
          ? [`${command}: test.db belongs to an engine that runs: `, `pid ${session.pid} (node main.ts run `]
          : [`${command}: test.db is open in `, "main.ts run ", `(pid ${session.pid})`]
        expectRefused(ended, ...says)
      }
    }
    session.kill("SIGTERM")
    const ended = await session.ended
    expect(ended.code).toBe(0)
    expect(ended.log.filter(({ level }) => level === "ERROR" || level === "FATAL")).toEqual([])
    expect(ended.log.filter(({ message }) => message === "wal_checkpoint by another connection")).toEqual([])
    expect(fs.readdirSync(at.folder)).toEqual(["test.db"])
    expect(at.events()).toEqual([])
    expect((await at.seawall(...inject, "--confirm")).code).toBe(0)
  })

  it("that was killed leaves a WAL, which is said, and taken over with --confirm", async ({ at }) => {
    const env = { ...quick, SEAWALL_ENGINE_WAL_CHECKPOINT_INTERVAL_SECONDS: "0" }
    const session = start(quickEngine, { cwd: at.folder, env })
    await session.says("paper fill")
    session.kill("SIGKILL")
    await session.ended
    const before = at.everything()
    expect(Object.keys(before)).toContain("test.db-wal")
    expectRefused(await at.seawall(...inject), "test.db-wal holds what is not in test.db yet")
    expect(at.everything()).toEqual(before)

    expect((await at.seawall(...inject, "--confirm")).code).toBe(0)
    expect(fs.readdirSync(at.folder)).toEqual(["test.db"])
    expect(at.events()).toHaveLength(1)
    expect(Number(at.sql("SELECT count(*) FROM paper_ticks")[0]![0])).toBeGreaterThan(0)
  })
})

describe.concurrent("what is refused", () => {
  it("a file that is not there, and nothing is created", async ({ at }) => {
    for (const [command, args] of both) {
      for (const confirm of [[], ["--confirm"]]) {
        expectRefused(await at.seawall(...args, ...confirm), `${command}: cannot open test.db: the file does not exist`)
      }
    }
    expect(fs.readdirSync(at.folder)).toEqual([])
  })

  it("a file that is no database, byte-identical", async ({ at }) => {
    fs.writeFileSync(at.file, "no database".repeat(1000))
    const before = at.everything()
    for (const [, args] of both) {
      for (const confirm of [[], ["--confirm"]]) {
        expectRefused(await at.seawall(...args, ...confirm), "is not a SQLite database")
      }
    }
    expect(at.everything()).toEqual(before)
  })

  it("a file and a folder without permission", async ({ at }) => {
    at.afterEngine()
    const before = at.everything()
    const under = process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] : []
    const as = (...args: ReadonlyArray<string>) => run(args, { cwd: at.folder, under })
    fs.chmodSync(at.folder, 0o555)
    expectRefused(await as(...inject, "--confirm"), "permission denied")
    expect((await as(...inject)).code).toBe(0)
    fs.chmodSync(at.folder, 0o755)
    fs.chmodSync(at.file, 0o444)
    expectRefused(await as(...inject, "--confirm"), "permission denied")
    fs.chmodSync(at.file, 0o000)
    expectRefused(await as(...inject), "permission denied")
    fs.chmodSync(at.file, 0o644)
    expect(at.everything()).toEqual(before)
  })

  it("what breaks a rule, before any file is touched", async ({ at }) => {
    const note = ["--source-note", "bank"]
    const cases = [
      [["inject-capital", "--amount", "a lot", ...note], 'expected amount to be a number, got "a lot"'],
      [["inject-capital", "--amount=-5", ...note], "expected amount to be a finite number greater than 0, got -5"],
      [["inject-capital", "--amount", "1e999", ...note], "expected amount to be a finite number .* got Infinity"],
      [["inject-capital", "--amount", "5", "--source-note", " "], "expected source_note to be a text"],
      [
        ["inject-capital", "--amount", "5", "--asset", "XRP", ...note],
        "expected price_rlusd to be .* for XRP, got none",
      ],
      [
        ["inject-capital", "--amount", "5", "--price-rlusd", "2", ...note],
        "expected price_rlusd to be absent for RLUSD",
      ],
      [["write-initial-basis", "--amount", "0"], "expected amount to be a finite number greater than 0, got 0"],
      [["write-initial-basis", "--amount", "ten"], 'expected amount to be a number, got "ten"'],
    ] as const
    for (const [args, text] of cases) {
      expectRefused(await at.seawall(...args, "--db", "test.db", "--confirm"), new RegExp(text))
    }
    expect(fs.readdirSync(at.folder)).toEqual([])
  })

  it("a call without --db, or with one that --store postgres has no use for", async ({ at }) => {
    for (const [args, message] of [
      [["inject-capital", ...bank], "name the database, or choose --store postgres"],
      [[...inject, "--store", "postgres"], "there is no file with --store postgres; leave it out"],
      [
        ["inject-capital", ...bank, "--store", "postgres"],
        "there is no URL of it (postgres.url, SEAWALL_POSTGRES_URL)",
      ],
    ] as const) {
      const ended = await at.seawall(...args)
      expect(ended.code).toBe(78)
      expect(ended.stderr).toContain(message)
    }
  })

  it("a call without an amount or a note", async ({ at }) => {
    for (const [args, flag] of [
      [["inject-capital", "--db", "test.db", "--amount", "5"], "--source-note"],
      [["write-initial-basis", "--db", "test.db"], "--amount"],
    ] as const) {
      const ended = await at.seawall(...args)
      expect(ended.code).toBe(1)
      expect(ended.stderr).toContain(`Missing required flag: ${flag}`)
    }
  })
})
