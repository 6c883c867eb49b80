/** `seawall run` as a real process: exit codes, signals, log lines, what is in the database and what is left beside it. */
import { describe, expect, test } from "vitest"
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { type Ended, inherited, loading, main, run, shell, start } from "../support/Seawall.ts"

const json = ["run", "--log-format", "json"]

/** Ten ticks a second, a checkpoint five times a second. */
const quick = {
  SEAWALL_ENGINE_DATABASE: "test.db",
  SEAWALL_ENGINE_TICK_INTERVAL_SECONDS: "0.1",
  SEAWALL_STRATEGY_REQUOTE_INTERVAL_SECONDS: "0.1",
  SEAWALL_ENGINE_WAL_CHECKPOINT_INTERVAL_SECONDS: "0.2",
  SEAWALL_ENGINE_BACKUPS: "0",
}

const lines = ({ log }: Ended, event: string) => log.filter(({ message }) => message === event)

const errors = ({ log }: Ended) => log.filter(({ level }) => level === "ERROR" || level === "FATAL")

/** The steps and lines of a shutdown, in their order. */
const closing = [
  "stop ticking",
  "halt.reason",
  "close session",
  "engine_status HALTED",
  "stop wal_checkpoint loop",
  "wal_checkpoint aggregate",
  "drain writes",
  "wal_checkpoint truncate",
  "restore autocheckpoint",
  "close checkpoint thread",
  "close database",
  "release lease",
]

/** A folder for one test, and the database in it. */
class Place {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-run-"))

  readonly query = (sql: string) => {
    const database = new DatabaseSync(path.join(this.folder, "test.db"))
    const rows = database.prepare(sql).all()
    database.close()
    return rows.map((row) => Object.values(row))
  }

  readonly state = () => Object.fromEntries(this.query("SELECT key, value FROM engine_state")) as Record<string, string>

  readonly lastSession = () =>
    this.query("SELECT halt_reason, ended_at FROM sessions ORDER BY session_id DESC LIMIT 1")[0]!

  /** What every end must leave, whatever its reason: the order was kept, the state is written, one clean file. */
  readonly expectCleanEnd = (ended: Ended, reason: string) => {
    expect(errors(ended)).toEqual([])
    const order = ended.log.map(({ message, annotations }) =>
      message === "shutdown step" ? annotations["step"] : message,
    )
    expect(order.filter((step) => closing.includes(String(step)))).toEqual(closing)
    const truncate = lines(ended, "wal_checkpoint").at(-1)
    expect(truncate?.annotations).toMatchObject({ mode: "TRUNCATE", busy: 0, log_frames: 0 })
    expect(fs.readdirSync(this.folder)).toEqual(["test.db"])
    expect(this.state()).toMatchObject({ engine_status: "HALTED", "halt.reason": reason })
    const [haltReason, endedAt] = this.lastSession()
    expect(haltReason).toBe(reason)
    expect(endedAt).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
    expect(this.query("PRAGMA quick_check")).toEqual([["ok"]])
  }
}

/** Makes a start-up that a signal can meet: its integrity check does not end. */
const hangingCheck = loading("hangIntegrity")

const it = test.extend<{ at: Place }>({
  // oxlint-disable-next-line no-empty-pattern -- the runner reads the dependencies of a fixture off this pattern
  at: async ({}, use) => {
    const at = new Place()
    await use(at)
    fs.rmSync(at.folder, { recursive: true, force: true })
  },
})

describe.concurrent("a session", () => {
  it("ends after its duration with exit code 0 and one clean file", async ({ at }) => {
    const ended = await run([...json, "--duration-seconds", "1"], { cwd: at.folder, env: quick })
    expect([ended.code, ended.stderr]).toEqual([0, ""])
    at.expectCleanEnd(ended, "duration_elapsed")
    // The end may have come between the store of the last tick and its count.
    const stored = Number(at.query("SELECT count(*) FROM paper_ticks")[0]![0])
    const ticks = Number(lines(ended, "engine halted")[0]?.annotations["ticks"])
    expect([ticks, ticks + 1]).toContain(stored)
  })

  it("runs without the thread when it is told to", async ({ at }) => {
    const env = { ...quick, SEAWALL_ENGINE_WAL_CHECKPOINT_THREAD: "false" }
    const ended = await run([...json, "--duration-seconds", "1"], { cwd: at.folder, env })
    expect(ended.code).toBe(0)
    expect(errors(ended)).toEqual([])
    const steps = lines(ended, "shutdown step").map(({ annotations }) => annotations["step"])
    expect(steps).toContain("wal_checkpoint truncate")
    expect(steps).not.toContain("close checkpoint thread")
    expect(fs.readdirSync(at.folder)).toEqual(["test.db"])
  })

  it("ends with its feed, counts the bad lines, and is the same twice", async ({ at }) => {
    const quotes = [`{"bid":0.5,"ask":0.5005}`, "nonsense", `{"bid":0.49,"ask":0.4905}`, `{"bid":0.52,"ask":0.5205}`]
    fs.writeFileSync(path.join(at.folder, "feed"), quotes.join("\n"))
    const content = async () => {
      const ended = await run([...json, "--feed", "feed"], { cwd: at.folder, env: quick })
      expect(ended.code).toBe(0)
      expect(lines(ended, "feed line refused").map(({ annotations }) => annotations["line"])).toEqual([2])
      const found = [
        at.state(),
        at.query("SELECT bid, ask, xrp, rlusd FROM paper_ticks"),
        at.query("SELECT * FROM paper_fills"),
      ]
      fs.rmSync(path.join(at.folder, "test.db"))
      return found
    }
    const first = await content()
    expect(first[0]).toMatchObject({ "halt.reason": "replay_exhausted", "paper.fills": "2" })
    expect(first[0]).toMatchObject({ "halt.detail": "the feed has ended, 1 lines of it were refused" })
    expect(first[1]).toHaveLength(3)
    expect(await content()).toEqual(first)
  })

  it("replays two thousand quotes at --speed max, to the same state as at its interval", async ({ at }) => {
    const quote = (n: number) => `{"bid":${0.5 - (n % 7) * 0.001},"ask":${0.5005 - (n % 7) * 0.001}}`
    const state = async (quotes: number, ...flags: ReadonlyArray<string>) => {
      fs.writeFileSync(path.join(at.folder, "feed"), Array.from({ length: quotes }, (_, n) => quote(n)).join("\n"))
      const env = { ...quick, SEAWALL_ENGINE_DURABILITY: "normal" }
      const ended = await run([...json, "--feed", "feed", ...flags], { cwd: at.folder, env })
      expect([ended.code, errors(ended)]).toEqual([0, []])
      const found = [at.state(), at.query("SELECT bid, ask, xrp, rlusd FROM paper_ticks")] as const
      fs.rmSync(path.join(at.folder, "test.db"))
      return found
    }
    expect(await state(20, "--speed", "max")).toEqual(await state(20, "--tick-interval-seconds", "0.05"))
    expect((await state(2_000, "--speed", "max"))[1]).toHaveLength(2_000)
  })

  it("refuses a --speed that is none, or without a feed, and creates nothing", async ({ at }) => {
    for (const [flags, says] of [
      [["--speed", "fast", "--feed", "feed"], '"fast". Expected: max, or a number above 0'],
      [["--speed", "0", "--feed", "feed"], '"0". Expected: max, or a number above 0'],
      [["--speed", "max"], "there is nothing to replay: name a feed with --feed"],
    ] as const) {
      const ended = await run(["run", ...flags], { cwd: at.folder, env: quick })
      expect(ended.code, `${flags.join(" ")}`).not.toBe(0)
      expect(`${ended.stdout}${ended.stderr}`).toContain(says)
    }
    expect(fs.readdirSync(at.folder)).toEqual([])
  })

  it("says how it ended in its last line", async ({ at }) => {
    const ended = await run([...json, "--duration-seconds", "0.5"], { cwd: at.folder, env: quick })
    const last = ended.log.at(-1)
    expect([last?.level, last?.message]).toEqual(["INFO", "session ended"])
    expect(last?.annotations).toMatchObject({
      session_id: 1,
      halt_reason: "duration_elapsed",
      wal: "emptied",
      exit_code: 0,
      ticks: expect.any(Number),
      checkpoints: expect.any(Number),
      checkpoints_slow: expect.any(Number),
      shutdown_ms: expect.any(Number),
    })
  })

  it("reads its feed from standard input", async ({ at }) => {
    const session = start([...json, "--feed", "-"], { cwd: at.folder, env: quick })
    session.write(`{"bid":0.5,"ask":0.5005}\n`)
    await session.says("engine running")
    session.write(`{"bid":0.49,"ask":0.4905}\n`)
    session.endInput()
    const ended = await session.ended
    expect(ended.code).toBe(0)
    at.expectCleanEnd(ended, "replay_exhausted")
    expect(at.query("SELECT count(*) FROM paper_ticks")).toEqual([[2]])
  })

  it("halts with exit code 3 when a balance passes its cap", async ({ at }) => {
    const ended = await run(json, { cwd: at.folder, env: { ...quick, SEAWALL_RISK_MAX_XRP_EXPOSURE: "100" } })
    expect(ended.code).toBe(3)
    at.expectCleanEnd(ended, "risk_xrp_exposure")
    expect(at.state()["halt.detail"]).toBe("2000 XRP is above the cap of 100")
  })

  it("recovers its parent: balances go on, and nothing is cleared", { timeout: 60_000 }, async ({ at }) => {
    const feed = path.join(at.folder, "..", `${path.basename(at.folder)}.feed`)
    const play = async (quotes: ReadonlyArray<string>, ...flags: ReadonlyArray<string>) => {
      fs.writeFileSync(feed, quotes.join("\n"))
      const ended = await run([...json, "--feed", feed, ...flags], { cwd: at.folder, env: quick })
      expect(ended.code).toBe(0)
    }
    await play([`{"bid":0.5,"ask":0.5005}`, `{"bid":0.49,"ask":0.4905}`])
    const before = at.state()["paper.xrp"]
    expect(Number(before)).toBeGreaterThan(2000)
    await play([`{"bid":0.49,"ask":0.4905}`], "--parent-session", "1")
    expect(at.state()["paper.xrp"]).toBe(before)
    expect(at.query("SELECT parent_session_id FROM sessions ORDER BY session_id")).toEqual([[null], [1]])
    await play([`{"bid":0.49,"ask":0.4905}`])
    expect(at.state()["paper.xrp"]).toBe("2000")
    fs.rmSync(feed)
  })

  it("whose tick cannot write halts with exit code 1 and says why", async ({ at }) => {
    const session = start(json, { cwd: at.folder, env: quick })
    await session.says("engine running")
    const other = new DatabaseSync(path.join(at.folder, "test.db"), { timeout: 5000 })
    other.exec("DROP TABLE paper_ticks")
    other.close()
    const ended = await session.ended
    expect(ended.code).toBe(1)
    expect(lines(ended, "tick failed")[0]?.level).toBe("ERROR")
    expect(at.state()).toMatchObject({ engine_status: "HALTED", "halt.reason": "unhandled_exception" })
    expect(at.state()["halt.detail"]).toContain("no such table: paper_ticks")
    expect(fs.readdirSync(at.folder)).toEqual(["test.db"])
  })

  it("ends with exit code 0 and one warning when an open dashboard keeps the WAL", async ({ at }) => {
    const session = start(json, { cwd: at.folder, env: quick })
    await session.says(`"wal_checkpoint"`)
    const dashboard = new DatabaseSync(path.join(at.folder, "test.db"), { readOnly: true })
    dashboard.exec("BEGIN")
    dashboard.prepare("SELECT count(*) FROM paper_ticks").all()
    session.kill("SIGTERM")
    const ended = await session.ended
    dashboard.close()
    expect(ended.code).toBe(0)
    expect(errors(ended)).toEqual([])
    expect(lines(ended, "wal_checkpoint truncate incomplete")[0]).toMatchObject({
      level: "WARN",
      annotations: { outcome: "ReaderBlocked" },
    })
    expect(lines(ended, "database sidecars left")).toEqual([]) // they are those of the dashboard now
  })
})

describe.concurrent("a signal", () => {
  for (const [signal, reason] of [
    ["SIGINT", "interrupted_sigint"],
    ["SIGTERM", "interrupted_sigterm"],
    ["SIGHUP", "interrupted_sighup"],
  ] as const) {
    it(`${signal} ends the session in order with ${reason} and exit code 0`, async ({ at }) => {
      const session = start(json, { cwd: at.folder, env: quick })
      await session.says(`"wal_checkpoint"`)
      session.kill(signal)
      const ended = await session.ended
      expect([ended.code, ended.signal]).toEqual([0, null])
      at.expectCleanEnd(ended, reason)
    })

    it(`${signal} twice changes nothing`, async ({ at }) => {
      const session = start(json, { cwd: at.folder, env: quick })
      await session.says(`"wal_checkpoint"`)
      session.kill(signal)
      session.kill(signal)
      const ended = await session.ended
      expect([ended.code, ended.signal]).toEqual([0, null])
      at.expectCleanEnd(ended, reason)
    })

    it(`${signal} during start-up leaves nothing behind, with exit code 0`, async ({ at }) => {
      const database = new DatabaseSync(path.join(at.folder, "test.db"))
      database.exec("CREATE TABLE t (a)")
      database.close()
      const session = start([...json, "--log-level", "debug"], { cwd: at.folder, env: { ...quick, ...hangingCheck } })
      await session.says("integrity_check started")
      session.kill(signal)
      const ended = await session.ended
      expect([ended.code, ended.signal]).toEqual([0, null])
      expect(errors(ended)).toEqual([])
      expect(lines(ended, "engine running")).toEqual([])
      expect(fs.readdirSync(at.folder)).toEqual(["test.db"])
      expect(at.query("SELECT name FROM sqlite_schema")).toEqual([["t"]])
    })
  }

  it("of another kind during the shutdown changes nothing either", async ({ at }) => {
    const session = start(json, { cwd: at.folder, env: quick })
    await session.says(`"wal_checkpoint"`)
    session.kill("SIGTERM")
    session.kill("SIGINT")
    session.kill("SIGHUP")
    const ended = await session.ended
    expect([ended.code, ended.signal]).toEqual([0, null])
    expect(at.lastSession()[0]).toMatch(/^interrupted_sig(term|int|hup)$/)
    expect(fs.readdirSync(at.folder)).toEqual(["test.db"])
  })
})

describe.concurrent("backups", () => {
  const withBackups = { ...quick, SEAWALL_ENGINE_BACKUPS: "2" }
  const names = (folder: string) => fs.readdirSync(folder).map((name) => name.replace(/\d{8}T\d{9}Z/, "stamp"))
  const session = async (folder: string, signal: NodeJS.Signals) => {
    const running = start(json, { cwd: folder, env: withBackups })
    await running.says(`"wal_checkpoint"`)
    running.kill(signal)
    return running.ended
  }

  it(
    "are made before a session and after its clean end, not after SIGHUP, and can be restored",
    { timeout: 60_000 },
    async ({ at }) => {
      const first = await session(at.folder, "SIGTERM")
      expect([first.code, errors(first)]).toEqual([0, []])
      expect(names(at.folder)).toEqual(["test.db", "test.db.post.stamp"])
      const order = first.log.map(({ annotations, message }) =>
        message === "shutdown step" ? annotations["step"] : message,
      )
      expect(order.indexOf("backup")).toBeGreaterThan(order.indexOf("close checkpoint thread"))
      expect(order.indexOf("backup")).toBeLessThan(order.indexOf("close database"))

      await session(at.folder, "SIGHUP")
      expect(names(at.folder)).toEqual(["test.db", "test.db.bak.stamp", "test.db.post.stamp"])

      fs.writeFileSync(path.join(at.folder, "test.db"), Buffer.alloc(20_000, 7))
      const refused = await run(json, { cwd: at.folder, env: withBackups })
      expect(refused.code).toBe(65)
      const error = String(lines(refused, "start failed")[0]?.annotations["error"])
      shell(/own check: (.*)$/.exec(error)?.[1] ?? "", at.folder)
      const last = await session(at.folder, "SIGINT")
      expect([last.code, errors(last)]).toEqual([0, []])
    },
  )
})

describe.concurrent("a thread that is stuck", () => {
  it("at the end of the budget is one FATAL line and a forced exit, and nothing that was committed is lost", async ({
    at,
  }) => {
    const fifo = path.join(at.folder, "fifo")
    execFileSync("mkfifo", [fifo])
    const env = { ...quick, ...loading("hangCheckpoint"), STUCK_AT_FIFO: fifo }
    const session = start(json, { cwd: at.folder, env })
    await session.says("stuck")
    session.kill("SIGHUP") // 4 s to close
    const ended = await session.ended
    expect(ended.signal).toBe("SIGKILL")
    const [end] = lines(ended, "forced exit")
    expect(end).toMatchObject({ level: "FATAL", annotations: { still_running: "checkpoint thread" } })
    expect(lines(ended, "shutdown step overdue").map(({ annotations }) => annotations["step"])).toEqual([
      "stop wal_checkpoint loop",
      "close checkpoint thread",
    ])
    expect(lines(ended, "wal_checkpoint truncate skipped")).toHaveLength(1)
    expect(lines(ended, "database sidecars left")[0]?.annotations["reason"]).toBe("still open in checkpoint thread")
    expect(at.query("PRAGMA quick_check")).toEqual([["ok"]])
    expect(at.state()).toMatchObject({ engine_status: "HALTED", "halt.reason": "interrupted_sighup" })
  })
})

describe.concurrent("a terminal", () => {
  it("sees Ctrl+C through npm start end in a clean database", async ({ at }) => {
    // A terminal sends the signal to the whole group: to npm, to its shell and to the engine.
    const npm = spawn("npm", ["start", "--", ...json.slice(1), "--db", path.join(at.folder, "test.db")], {
      cwd: fileURLToPath(new URL("../..", import.meta.url)),
      env: { ...inherited, ...quick, SEAWALL_ENGINE_DATABASE: "" },
      detached: true,
    })
    const ended = Promise.withResolvers<void>()
    let stdout = ""
    let interrupted = false
    npm.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text
      if (interrupted || !stdout.includes(`"engine running"`)) return
      interrupted = true
      process.kill(-npm.pid!, "SIGINT")
    })
    // The engine holds the pipe open for as long as it lives, which may be longer than npm does.
    npm.stdout.on("close", () => ended.resolve())
    await ended.promise
    expect(at.state()).toMatchObject({ engine_status: "HALTED", "halt.reason": "interrupted_sigint" })
    expect(fs.readdirSync(at.folder)).toEqual(["test.db"])
    expect(at.query("PRAGMA quick_check")).toEqual([["ok"]])
  })

  it.runIf(fs.existsSync("/usr/bin/script"))(
    "shows one status line below a log that does not tear, and ends with Ctrl+C",
    async ({ at }) => {
      // With `exec` the shell of `script` is gone: some shells would hear Ctrl+C too, and end before their child.
      const command = `exec ${[process.execPath, main, "run"].map((word) => `'${word}'`).join(" ")}`
      const terminal = spawn("script", ["--quiet", "--return", "--command", command, "/dev/null"], {
        cwd: at.folder,
        env: { ...inherited, ...quick, NO_COLOR: "1", SHELL: "/bin/sh" },
      })
      const ended = once(terminal, "close")
      let screen = ""
      let interrupted = false
      const status = /\d\d:\d\d:\d\d {2}ticks \d+ {2}last checkpoint PASSIVE Complete [\d.]+ ms {2}WAL frames \d+/
      terminal.stdout.setEncoding("utf8").on("data", (text: string) => {
        screen += text
        if (interrupted || !status.test(screen)) return
        interrupted = true
        terminal.stdin.write("\x03")
      })
      expect(await ended).toEqual([0, null])
      expect(at.state()).toMatchObject({ engine_status: "HALTED", "halt.reason": "interrupted_sigint" })
      // What the terminal shows at the end: of each line only what was written after it was last cleared.
      const shown = screen.split(/\r?\n/).map((line) => line.split("\r\x1b[2K").at(-1)!)
      const log = shown.filter((line) => line !== "" && line !== "^C")
      expect(log.length).toBeGreaterThan(5)
      for (const line of log) expect(line).toMatch(/^(\^C)?\d\d:\d\d:\d\d\.\d{3} /)
      expect(log.filter((line) => status.test(line))).toEqual([])
    },
  )
})

describe.concurrent("what is refused", () => {
  const noStack = ({ stdout, stderr }: Ended) => expect(stdout + stderr).not.toMatch(/\n\s+at /)

  it("a database that fails its check, with exit code 65, byte-identical", async ({ at }) => {
    const bytes = Buffer.alloc(12_000, "no database")
    fs.writeFileSync(path.join(at.folder, "test.db"), bytes)
    const ended = await run(json, { cwd: at.folder, env: quick })
    expect(ended.code).toBe(65)
    expect(lines(ended, "start failed")[0]?.annotations["error"]).toContain("failed its integrity check")
    expect(fs.readdirSync(at.folder)).toEqual(["test.db"])
    expect(fs.readFileSync(path.join(at.folder, "test.db"))).toEqual(bytes)
    noStack(ended)
  })

  it("a folder that cannot be written, with exit code 1 and nothing created", async ({ at }) => {
    fs.mkdirSync(path.join(at.folder, "closed"), { mode: 0o555 })
    const under = process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] : []
    const ended = await run([...json, "--db", "closed/test.db"], { cwd: at.folder, under })
    expect(ended.code).toBe(1)
    expect(lines(ended, "start failed")[0]?.annotations["error"]).toContain("permission denied")
    expect(fs.readdirSync(path.join(at.folder, "closed"))).toEqual([])
    noStack(ended)
  })

  const canMount = process.platform === "linux" && process.getuid?.() === 0
  const mounted = async (at: Place, options: string, body: (mount: string) => Promise<void>) => {
    const mount = path.join(at.folder, "mounted")
    fs.mkdirSync(mount)
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", mount])
    try {
      await body(mount)
    } finally {
      execFileSync("umount", ["--lazy", mount])
    }
  }

  it.runIf(canMount)("a read-only file system", ({ at }) =>
    mounted(at, "ro", async () => {
      const ended = await run([...json, "--db", "mounted/test.db"], { cwd: at.folder })
      expect(ended.code).toBe(1)
      expect(lines(ended, "start failed")[0]?.annotations["error"]).toContain("read-only")
    }),
  )

  it.runIf(canMount)("a disk that is full", ({ at }) =>
    mounted(at, "size=16k", async (mount) => {
      fs.writeFileSync(path.join(mount, "filler"), Buffer.alloc(16 * 1024))
      const ended = await run([...json, "--db", "mounted/test.db"], { cwd: at.folder })
      expect(ended.code).toBe(1)
      expect(lines(ended, "start failed")[0]?.annotations["error"]).toMatch(/disk is full|disk space/)
    }),
  )

  it("five mistakes in the configuration, all at once, with exit code 78 and no database", async ({ at }) => {
    const yaml = `engine:
  tick_interval_seconds: fast
  no_such_key: 1
order_size:
  base_size_rlusd: -5
paper:
  seed: 1.5
no_such_section:
  a: 1
`
    fs.writeFileSync(path.join(at.folder, "bad.yaml"), yaml)
    const ended = await run([...json, "--config", "bad.yaml"], { cwd: at.folder })
    expect(ended.code).toBe(78)
    const message = String(lines(ended, "start failed")[0]?.annotations["error"])
    for (const problem of [
      'engine.tick_interval_seconds: Expected number, got "fast"',
      "engine.no_such_key: unknown key, got 1",
      "order_size.base_size_rlusd: Expected a value greater than 0, got -5",
      "paper.seed: Expected an integer, got 1.5",
      'no_such_section: unknown key, got {"a":1}',
    ]) {
      expect(message).toContain(problem)
    }
    expect(fs.readdirSync(at.folder)).toEqual(["bad.yaml"])
    noStack(ended)
  })

  it("settings that make no sense together, with exit code 78, stored for the operator", async ({ at }) => {
    const env = { ...quick, SEAWALL_STRATEGY_REQUOTE_INTERVAL_SECONDS: "7", SEAWALL_RISK_MAX_XRP_EXPOSURE: "0" }
    const ended = await run(json, { cwd: at.folder, env })
    expect(ended.code).toBe(78)
    expect(at.state()).toMatchObject({ engine_status: "HALTED", "halt.reason": "config_mismatch" })
    expect(at.state()["halt.detail"]).toContain("risk.max_xrp_exposure")
    expect(at.state()["halt.detail"]).toContain("strategy.requote_interval_seconds")
    expect(fs.readdirSync(at.folder)).toEqual(["test.db"])
  })

  it("a configuration, a feed or a flag that is not there: one clear message, nothing created", async ({ at }) => {
    const cases = [
      [["--config", "none.yaml"], 78, "none.yaml"],
      [["--feed", "none.ndjson"], 1, "none.ndjson"],
      [["--feed", "."], 1, "it is a folder; name a file"],
      [["--no-such-flag"], 1, "--no-such-flag"],
      [["--log-format", "xml"], 1, "xml"],
    ] as const
    for (const [flags, code, text] of cases) {
      const ended = await run(["run", ...flags], { cwd: at.folder, env: quick })
      expect(ended.code).toBe(code)
      expect(ended.stdout + ended.stderr).toContain(text)
      noStack(ended)
    }
    expect(fs.readdirSync(at.folder)).toEqual([])
  })
})
