/** `seawall doctor` as a real process: what it prints, its exit codes, and that it leaves everything as it was. */
import { describe, expect, test } from "vitest"
import { Schema } from "effect"
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as os from "node:os"
import * as path from "node:path"
import { Report, Subject } from "../../src/doctor/Finding.ts"
import { loading, main, run, start } from "../support/Seawall.ts"

/** Each starts a Node of its own, several times over. */
const timeout = 60_000

const it = test.extend<{ folder: string }>({
  folder: async ({ task }, use) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), `seawall-doctor-${task.id}-`))
    await use(folder)
    fs.rmSync(folder, { recursive: true, force: true })
  },
})

const create = (folder: string, journalMode = "WAL") => {
  const db = new DatabaseSync(path.join(folder, "app.db"))
  db.exec(`PRAGMA journal_mode = ${journalMode}; CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)`)
  db.close()
}

/** Five commits in a WAL that no process has open. */
const leave = (folder: string) => {
  const left = path.join(folder, "left")
  fs.mkdirSync(left)
  const db = new DatabaseSync(path.join(left, "app.db"))
  db.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (a); PRAGMA wal_checkpoint(TRUNCATE)")
  for (let n = 0; n < 5; n++) db.exec(`INSERT INTO t VALUES (${n})`)
  for (const name of fs.readdirSync(left)) fs.copyFileSync(path.join(left, name), path.join(folder, name))
  db.close()
  fs.rmSync(left, { recursive: true })
}

const bytes = (folder: string) =>
  Object.fromEntries(fs.readdirSync(folder).map((name) => [name, fs.readFileSync(path.join(folder, name), "latin1")]))

const decode = (stdout: string) => Schema.decodeSync(Schema.fromJsonString(Report))(stdout)

describe.concurrent("seawall doctor", { timeout }, () => {
  it("says that there are no problems, and what was examined, with exit code 0", async ({ folder }) => {
    create(folder)
    const before = bytes(folder)
    const ended = await run(["doctor", "app.db"], { cwd: folder })
    expect([ended.code, ended.stderr]).toEqual([0, ""])
    expect(ended.stdout).toMatch(/^app\.db: no problems\n/)
    for (const subject of Subject.literals) expect(ended.stdout).toMatch(new RegExp(`^${subject} +\\S`, "m"))
    expect(bytes(folder)).toEqual(before)
  })

  it("ends with 0 for a healthy database whose writer had an old SQLite, and gives a notice with a link", async ({
    folder,
  }) => {
    create(folder)
    const file = fs.openSync(path.join(folder, "app.db"), "r+")
    const version = Buffer.alloc(4)
    version.writeUInt32BE(3_040_001)
    fs.writeSync(file, version, 0, 4, 96)
    fs.closeSync(file)
    const ended = await run(["doctor", "app.db"], { cwd: folder })
    expect([ended.code, ended.stderr]).toEqual([0, ""])
    expect(ended.stdout).toContain("SQLite 3.40.1 has the WAL-reset bug")
    expect(ended.stdout).toContain("https://www.sqlite.org/wal.html#walresetbug")
  })

  it("prints one object with --json", async ({ folder }) => {
    create(folder)
    const ended = await run(["doctor", "app.db", "--json"], { cwd: folder })
    expect([ended.code, ended.stderr]).toEqual([0, ""])
    const report = decode(ended.stdout)
    expect(report.file).toBe("app.db")
    expect(report.examined.map(({ subject }) => subject)).toEqual(Subject.literals)
    expect(report.findings).toMatchObject([{ severity: "notice", subject: "backup", remedy: "seawall backup app.db" }])
  })

  it("warns with exit code 2", async ({ folder }) => {
    create(folder, "DELETE")
    const ended = await run(["doctor", "app.db"], { cwd: folder })
    expect([ended.code, ended.stderr]).toEqual([2, ""])
    expect(ended.stdout).toMatch(/^app\.db: 1 problem\n\nWARNING wal-off: /)
    expect(ended.stdout).toContain("fix:      sqlite3 app.db 'PRAGMA journal_mode = WAL'")
  })

  it("leaves a WAL without an owner as it is, byte for byte", async ({ folder }) => {
    leave(folder)
    const before = bytes(folder)
    expect(Object.keys(before)).toEqual(["app.db", "app.db-shm", "app.db-wal"])
    const ended = await run(["doctor", "app.db"], { cwd: folder })
    expect([ended.code, ended.stderr]).toEqual([2, ""])
    expect(ended.stdout).toContain("with 5 commits")
    expect(ended.stdout).toContain("fix:      seawall checkpoint app.db")
    expect(bytes(folder)).toEqual(before)
  })

  it("finds damage with exit code 65, the worst first", async ({ folder }) => {
    leave(folder)
    const wal = path.join(folder, "app.db-wal")
    const log = fs.readFileSync(wal)
    log[32 + 2 * (24 + 4096) + 500]! ^= 1
    fs.writeFileSync(wal, log)
    const before = bytes(folder)
    const ended = await run(["doctor", "app.db", "--json"], { cwd: folder })
    expect([ended.code, ended.stderr]).toEqual([65, ""])
    expect(decode(ended.stdout).findings.map(({ severity, subject }) => `${severity} ${subject}`)).toEqual([
      "critical wal",
      "warning left-behind",
      "notice backup",
    ])
    expect(bytes(folder)).toEqual(before)
  })

  it("answers in one line what it cannot examine, with exit code 1 and nothing created", async ({ folder }) => {
    create(folder)
    fs.writeFileSync(path.join(folder, "text.db"), "this is no database, whatever its name is")
    fs.mkdirSync(path.join(folder, "folder.db"))
    fs.chmodSync(path.join(folder, "app.db"), 0o000)
    const under = process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] : []
    const cases = [
      ["none.db", "none.db does not exist"],
      ["none/none.db", "none/none.db does not exist"],
      ["text.db", "text.db is not a SQLite database"],
      ["folder.db", "folder.db is a folder without a SQLite database in it"],
      ["app.db", "app.db could not be read; check that this user may read it"],
    ] as const
    for (const [file, text] of cases) {
      const ended = await run(["doctor", file], { cwd: folder, under })
      expect([ended.code, ended.stdout]).toEqual([1, ""])
      expect(ended.stderr).toMatch(/^seawall doctor: [^\n]+\n$/)
      expect(ended.stderr).toContain(text)
    }
    expect(fs.readdirSync(folder)).toEqual(["app.db", "folder.db", "text.db"])
  })

  it("does not disturb a session, and finds nothing wrong with it", async ({ folder }) => {
    const env = {
      SEAWALL_ENGINE_DATABASE: "app.db",
      SEAWALL_ENGINE_TICK_INTERVAL_SECONDS: "0.1",
      SEAWALL_STRATEGY_REQUOTE_INTERVAL_SECONDS: "0.1",
      SEAWALL_ENGINE_WAL_CHECKPOINT_INTERVAL_SECONDS: "0.2",
    }
    const session = start(["run", "--log-format", "json"], { cwd: folder, env })
    await session.says(`"wal_checkpoint"`)
    for (let round = 0; round < 3; round++) {
      const ended = await run(["doctor", "app.db", "--json"], { cwd: folder })
      const { findings } = decode(ended.stdout)
      expect(findings.filter(({ severity }) => severity !== "notice")).toEqual([])
      expect([ended.code, ended.stderr]).toEqual([0, ""])
      expect(findings.find(({ subject }) => subject === "open-elsewhere")?.evidence["pids"]).toEqual([session.pid])
    }
    session.kill("SIGTERM")
    const { code, log } = await session.ended
    expect(code).toBe(0)
    expect(log.filter(({ level }) => level === "ERROR")).toEqual([])
    expect(fs.readdirSync(folder)).toContain("app.db")
    expect(fs.existsSync(path.join(folder, "app.db-wal"))).toBe(false)
  })

  it.runIf(process.platform === "linux" && process.getuid?.() === 0)(
    "sees who has it open when that is another user's process, by its lock",
    async ({ folder }) => {
      create(folder)
      fs.chmodSync(folder, 0o755)
      const script = `const db = new (require("node:sqlite").DatabaseSync)("app.db"); db.exec("INSERT INTO t VALUES (1, 2)")
        require("node:fs").writeSync(1, "ready"); process.stdin.resume()`
      const owner = spawn(process.execPath, ["-e", script], { cwd: folder, stdio: ["pipe", "pipe", "inherit"] })
      await once(owner.stdout, "data")
      const under = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
      const ended = await run(["doctor", "app.db", "--json"], { cwd: folder, under })
      owner.kill("SIGKILL")
      await once(owner, "exit")
      expect([ended.code, ended.stderr]).toEqual([0, ""])
      const { examined, findings } = decode(ended.stdout)
      expect(findings.find(({ subject }) => subject === "open-elsewhere")?.evidence["pids"]).toEqual([owner.pid])
      expect(examined.find(({ subject }) => subject === "left-behind")?.seen).toContain("of those who have it open")
    },
  )

  it.runIf(fs.existsSync("/usr/bin/script"))(
    "says on a terminal how far a long check is, and ends with Ctrl+C",
    async ({ folder }) => {
      create(folder)
      const command = `exec ${[process.execPath, main, "doctor", "app.db"].map((word) => `'${word}'`).join(" ")}`
      const terminal = spawn("script", ["--quiet", "--return", "--command", command, "/dev/null"], {
        cwd: folder,
        env: { ...process.env, ...loading("hangIntegrity"), SHELL: "/bin/sh" },
      })
      const ended = once(terminal, "close")
      let screen = ""
      terminal.stdout.setEncoding("utf8").on("data", (text: string) => {
        if (!screen.includes("integrity_check running") && (screen + text).includes("integrity_check running")) {
          terminal.stdin.write("\x03")
        }
        screen += text
      })
      expect(await ended).toEqual([130, null])
      expect(screen).toContain("percent=")
      const left = execFileSync("sh", ["-c", "ps -eo args | grep [i]ntegrityProcess || true"], { encoding: "utf8" })
      expect(left).not.toContain(folder)
    },
  )
})
