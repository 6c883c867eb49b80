/** `seawall status` as a real process: what it prints and says, how it ends, and that it disturbs no process. */
import { Option, Schema } from "effect"
import { describe, expect, test } from "vitest"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as os from "node:os"
import * as path from "node:path"
import { StatusJson } from "../../src/status/DatabaseStatus.ts"
import { main, run, start } from "../support/Seawall.ts"

const decode = Schema.decodeSync(StatusJson)

const has = (command: string) => spawnSync(command, ["--version"]).status === 0

/** A folder for one test, with a database in it that no process has open. */
class Place {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-status-"))
  readonly file = path.join(this.folder, "test.db")

  constructor() {
    const database = new DatabaseSync(this.file)
    database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (a)")
    database.close()
  }

  readonly content = () =>
    fs.readdirSync(this.folder).map((name) => [name, fs.readFileSync(path.join(this.folder, name)).toString("base64")])

  readonly status = (...args: ReadonlyArray<string>) => run(["status", ...args], { cwd: this.folder })
}

const it = test.extend<{ at: Place }>({
  // oxlint-disable-next-line no-empty-pattern -- the runner reads the dependencies of a fixture off this pattern
  at: async ({}, use) => {
    const at = new Place()
    await use(at)
    fs.rmSync(at.folder, { recursive: true, force: true })
  },
})

/**
 * A program that commits about 200 times a second, and waits for no lock. Its counts come when it was told to end: how
 * often it committed, and how often it was blocked.
 */
const writer = async (file: string) => {
  const program = `
import sqlite3, sys, threading, time
c = sqlite3.connect(${JSON.stringify(file)}, isolation_level=None, timeout=0)
c.execute("PRAGMA synchronous=OFF")
c.execute("PRAGMA wal_autocheckpoint=20")
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
commits = busy = 0
while not stop.is_set():
  try:
    c.execute("INSERT INTO t VALUES (1)")
    commits += 1
  except sqlite3.OperationalError:
    busy += 1
  if commits == 1: print("writing", flush=True)
  time.sleep(0.005)
print(commits, busy, flush=True)
`
  const child = spawn("python3", ["-c", program], { stdio: ["pipe", "pipe", "inherit"] })
  let said = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text))
  await once(child.stdout, "data")
  return {
    pid: child.pid!,
    end: async () => {
      child.stdin.end()
      await once(child, "close")
      const [commits, busy] = said.trim().split("\n").at(-1)!.split(" ").map(Number)
      return { commits: commits!, busy: busy! }
    },
  }
}

describe.concurrent("seawall status", () => {
  it("prints a table, or one object that its schema takes, and leaves everything as it is", async ({ at }) => {
    const before = at.content()
    const table = await at.status("test.db")
    expect([table.code, table.stderr]).toEqual([0, ""])
    expect(table.stdout).toMatch(/^file +test\.db\ndatabase +8 KiB; WAL mode; 2 pages of 4096 bytes\nWAL +0 frames;/)
    expect(table.stdout).toMatch(/^engine +none/m)
    const json = await at.status("test.db", "--json")
    expect([json.code, json.stderr]).toEqual([0, ""])
    const status = decode(json.stdout)
    expect(status).toMatchObject({ file: "test.db", database_bytes: 8192, engine_state: "absent" })
    expect(at.content()).toEqual(before)
  })

  it("shows the end of a session", async ({ at }) => {
    const env = { SEAWALL_ENGINE_BACKUPS: "0", SEAWALL_ENGINE_DATABASE: "engine.db" }
    expect((await run(["run", "--duration-seconds", "0.5"], { cwd: at.folder, env })).code).toBe(0)
    const { code, stdout } = await at.status("engine.db")
    expect(code).toBe(0)
    expect(stdout).toMatch(/^engine +HALTED\nhalt reason +duration_elapsed\nlast session +1; started .* ended /m)
  })

  it.for([
    ["none.db", "does not exist; check the path"],
    ["none/none.db", "does not exist; check the path"],
    ["text.db", "is not a SQLite database"],
    ["folder", "is a folder without a SQLite database in it"],
    ["secret.db", "check that this user may read it"],
  ] as const)("says in one line why it cannot read %s, and creates nothing", async ([file, words], { at }) => {
    fs.writeFileSync(path.join(at.folder, "text.db"), "no database".repeat(20))
    fs.mkdirSync(path.join(at.folder, "folder"))
    fs.writeFileSync(path.join(at.folder, "secret.db"), fs.readFileSync(at.file), { mode: 0o000 })
    const before = fs.readdirSync(at.folder, { recursive: true })
    const under = process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] : []
    const ended = await run(["status", file], { cwd: at.folder, under })
    expect([ended.code, ended.stdout]).toEqual([1, ""])
    expect(ended.stderr).toMatch(/^seawall status: [^\n]*\n$/)
    expect(ended.stderr).toContain(words)
    expect(fs.readdirSync(at.folder, { recursive: true })).toEqual(before)
  })

  it("documents its exit codes and shows examples", async ({ at }) => {
    const { code, stdout } = await at.status("--help")
    expect(code).toBe(0)
    expect(stdout).toMatch(/Exit codes:\n +0 +shown[^]*EXAMPLES[^]*seawall status /)
    const refused = await at.status("test.db", "--watch", "--interval-seconds", "0")
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain("at least 0.001")
  })
})

describe.concurrent("seawall status --watch", () => {
  it("prints an object a line, says when the file is gone and when it is back, and ends with Ctrl+C", async ({
    at,
  }) => {
    const watch = start(["status", "test.db", "--watch", "--json", "--interval-seconds", "0.05"], { cwd: at.folder })
    await watch.says("looked_at")
    fs.renameSync(at.file, `${at.file}.away`)
    await watch.says("does not exist")
    const now = new DatabaseSync(at.file)
    now.exec("PRAGMA page_size = 1024; VACUUM; CREATE TABLE t (a)")
    now.close()
    await watch.says('"page_bytes":1024')
    watch.kill("SIGINT")
    const ended = await watch.ended
    expect([ended.code, ended.signal, ended.stderr]).toEqual([0, null, ""])
    const lines = ended.stdout.trimEnd().split("\n")
    for (const line of lines) {
      if (!line.includes('"error"')) decode(line)
    }
    expect(lines.length).toBeGreaterThanOrEqual(3)
  })

  it("prints a block a look into a pipe, and ends when its reader is gone", async ({ at }) => {
    const line = `"$0" "$1" status test.db --watch --interval-seconds 0.05 | head -n 12`
    const child = spawn("sh", ["-c", line, process.execPath, main], {
      cwd: at.folder,
      stdio: ["ignore", "pipe", "pipe"],
    })
    let said = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text))
    const [code] = await once(child, "close")
    expect(code).toBe(0)
    expect(said.match(/^file /gm)).toHaveLength(2)
    expect(said).not.toContain("\u001B")
    expect(said).not.toMatch(/error/i)
  })

  it("refuses a path that is wrong from the start", async ({ at }) => {
    const ended = await at.status("none.db", "--watch")
    expect([ended.code, ended.stdout]).toEqual([1, ""])
  })

  it.runIf(has("python3"))("draws over its table on a terminal until Ctrl+C", async ({ at }) => {
    const under = ["python3", "-c", "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"]
    const watch = start(["status", "test.db", "--watch", "--interval-seconds", "0.05"], { cwd: at.folder, under })
    await watch.says("\u001B[2J\u001B[H")
    await watch.says("\u001B[J\u001B[H")
    watch.write("\u0003")
    expect((await watch.ended).code).toBe(0)
  })

  it.runIf(process.platform === "linux")("says since when a reader is in its slot", async ({ at }) => {
    const other = new DatabaseSync(at.file) // keeps the WAL there, in this process
    other.exec("INSERT INTO t VALUES (1); BEGIN; SELECT count(*) FROM t")
    const reader = other.prepare("SELECT count(*) FROM t")
    reader.get()
    const watch = start(["status", "test.db", "--watch", "--json", "--interval-seconds", "0.05"], { cwd: at.folder })
    await watch.says("\n{")
    other.exec("COMMIT")
    await watch.says('"locks":[]')
    watch.kill("SIGTERM")
    const { code, stdout } = await watch.ended
    expect(code).toBe(0)
    other.close()
    const looks = stdout
      .trimEnd()
      .split("\n")
      .map((line) => decode(line))
    const since = looks.map(({ opened_by }) =>
      Option.getOrThrow(opened_by).flatMap(({ pid, reading_since }) => (pid === process.pid ? [reading_since] : [])),
    )
    expect(since[0]).toEqual([Option.some(looks[0]!.looked_at)])
    expect(since[1]).toEqual(since[0])
    expect(since.at(-1)).toEqual([Option.none()])
  })
})

describe.runIf(process.platform === "linux" && has("python3"))("seawall status disturbs no process:", () => {
  const looks = 20

  /** So many looks and some more, of one process. */
  const watched = async (at: Place, under: ReadonlyArray<string> = []) => {
    const args = ["status", "test.db", "--watch", "--json", "--interval-seconds", "0.001"]
    const watch = start(args, { cwd: at.folder, under })
    await watch.says("looked_at", looks)
    watch.kill("SIGINT")
    const { code, stderr, stdout } = await watch.ended
    expect([code, stderr]).toEqual([0, ""])
    return stdout
      .trimEnd()
      .split("\n")
      .map((line) => decode(line))
  }

  it("a writer that waits for no lock is not blocked", async ({ at }) => {
    const beside = await writer(at.file)
    const all = await watched(at)
    const { busy, commits } = await beside.end()
    expect(busy).toBe(0)
    expect(commits).toBeGreaterThan(looks)
    for (const status of all) {
      expect(status.engine_state).toBe("absent") // it was read, each time
      expect(Option.getOrThrow(status.opened_by).map(({ pid }) => pid)).toEqual([beside.pid])
      expect(Option.isSome(status.log_frames)).toBe(true)
    }
    // The last to close it was the writer.
    expect(fs.readdirSync(at.folder)).toEqual(["test.db"])
  })

  it.skipIf(!has("strace"))(
    "of the WAL it locks one read slot at a time, and nothing for itself alone",
    { timeout: 60_000 }, // each system call of it stops for the tracer
    async ({ at }) => {
      const beside = await writer(at.file)
      const trace = path.join(os.tmpdir(), `seawall-status-${process.pid}.trace`)
      await watched(at, ["strace", "-D", "-f", "--seccomp-bpf", "-y", "-qq", "-e", "trace=openat,fcntl", "-o", trace])
      expect((await beside.end()).busy).toBe(0)
      const calls = fs.readFileSync(trace, "utf8").split("\n")
      fs.rmSync(trace)
      const locks = calls.flatMap((call) => {
        const [, name, type, first, length] =
          /fcntl\(\d+<.*\/test\.db(.*)>, F_(?:OFD_)?SETLKW?, \{l_type=(F_\w+), .*l_start=(\d+), l_len=(\d+)/.exec(
            call,
          ) ?? []
        return name === undefined ? [] : [{ name, type, first: Number(first), length: Number(length) }]
      })
      expect(locks.filter(({ type }) => type === "F_WRLCK")).toEqual([])
      const ofLog = locks.filter(({ name, type }) => name === "-shm" && type === "F_RDLCK")
      expect(ofLog.filter(({ first }) => first >= 123 && first <= 127).length).toBeGreaterThanOrEqual(looks)
      expect(ofLog.filter(({ first, length }) => first < 123 || length !== 1)).toEqual([])
      const opened = calls.filter((call) => call.includes("openat(") && call.includes("test.db-shm"))
      expect(opened.length).toBeGreaterThanOrEqual(looks)
      expect(opened.filter((call) => !call.includes("O_RDONLY"))).toEqual([])
    },
  )
})
