/** `seawall guard` as a real process, beside a real writer in another language. */
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { freePort } from "../support/Browser.ts"
import { type Ended, run, start } from "../support/Seawall.ts"

let folder = ""
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-guard-"))
})
/** What a test that failed has left running. */
const running: Array<() => unknown> = []
afterEach(() => {
  for (const kill of running.splice(0)) kill()
  fs.rmSync(folder, { recursive: true })
})

const at = (name: string) => path.join(folder, name)

const create = (name: string) => {
  const database = new DatabaseSync(at(name))
  database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (a)")
  database.close()
}

/** A Python program that writes until its input ends: so many commits a second, or 0 = without a pause. */
const writer = async (name: string, rate: number) => {
  const child = spawn("python3", [
    "-c",
    `import select, sqlite3, sys, time
c = sqlite3.connect(${JSON.stringify(at(name))}, isolation_level=None)
c.execute("PRAGMA wal_autocheckpoint = 0")
n = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    c.execute("INSERT INTO t VALUES (zeroblob(2000))")
    n += 1
    if n == 1: print("ready", flush=True)
    time.sleep(${rate === 0 ? 0 : 1 / rate})
print(n, flush=True)`,
  ])
  running.push(() => child.kill("SIGKILL"))
  await once(child.stdout, "data")
  return {
    pid: child.pid!,
    /** Ends it; how many rows it wrote. */
    end: async () => {
      const ended = once(child, "close")
      child.stdin.end()
      const [text] = (await once(child.stdout, "data")) as [Buffer]
      await ended
      return Number(text.toString())
    },
  }
}

const guard = (...args: ReadonlyArray<string>) => {
  const guarding = start(["guard", "--log-format", "json", ...args], { cwd: folder })
  running.push(() => guarding.kill("SIGKILL"))
  return guarding
}

const lines = ({ log }: Ended, event: string) => log.filter(({ message }) => [message].flat()[0] === event)

const rowsIn = (name: string) => {
  const database = new DatabaseSync(at(name))
  const count = database.prepare("SELECT count(*) AS n FROM t").get()?.["n"]
  database.close()
  return count
}

/** Waits until it is so; the test's own timeout ends what never is. */
const until = async (isSo: () => boolean) => {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 20))
}
const walSize = (name: string) => fs.statSync(at(`${name}-wal`)).size

describe("seawall guard", () => {
  it("bounds the WAL of a program that leaves gaps, and leaves no file behind", { timeout: 60_000 }, async () => {
    create("test.db")
    const guarding = guard("test.db", "--max-frames", "100")
    await guarding.says("wal_checkpoint started")
    const writing = await writer("test.db", 150)
    // A WAL that restarts is written from its beginning: the file stops growing, however much is written.
    const main = () => fs.statSync(at("test.db")).size
    const restarts = () => fs.readFileSync(at("test.db-wal")).readUInt32BE(12)
    const before = restarts()
    await until(() => main() > 800 * 4096 && restarts() >= before + 3)
    expect(walSize("test.db")).toBeLessThan(main())
    const rows = await writing.end()
    guarding.kill("SIGTERM")
    const ended = await guarding.ended
    expect(ended.code).toBe(0)
    expect(lines(ended, "wal_checkpoint cannot bound the WAL")).toEqual([])
    const truncates = lines(ended, "wal_checkpoint").filter(({ annotations }) => annotations["mode"] === "TRUNCATE")
    expect(truncates).toHaveLength(1)
    expect(fs.readdirSync(folder)).toEqual(["test.db"])
    expect(rowsIn("test.db")).toBe(rows)
  })

  it("says so when a program never pauses, and empties no WAL under it", { timeout: 60_000 }, async () => {
    create("test.db")
    const guarding = guard("test.db", "--max-frames", "100")
    await guarding.says("wal_checkpoint started")
    const writing = await writer("test.db", 0)
    await guarding.says("wal_checkpoint cannot bound the WAL")
    guarding.kill("SIGINT")
    const ended = await guarding.ended
    expect(ended.code).toBe(0)
    const [line] = lines(ended, "wal_checkpoint cannot bound the WAL")
    expect(line?.annotations).toMatchObject({ outcome: "WriterBusy", database: "test.db" })
    const [skipped] = lines(ended, "wal_checkpoint truncate skipped")
    expect(skipped?.annotations["reason"]).toMatch(
      new RegExp(`^still open in python3 -c import select.*\\(pid ${writing.pid}\\)$`),
    )
    expect(walSize("test.db")).toBeGreaterThan(0)
    expect(rowsIn("test.db")).toBeGreaterThan(0)
    const rows = await writing.end()
    expect(rowsIn("test.db")).toBe(rows)
  })

  it("guards a file once, whatever names it has, and keeps its lock on it", { timeout: 60_000 }, async () => {
    create("test.db")
    fs.symlinkSync("test.db", at("link.db"))
    const guarding = guard("test.db", "./test.db", "link.db", "--interval-seconds", "0.1")
    await guarding.says("wal_checkpoint started")
    await guarding.says('"mode":"PASSIVE"')
    const inode = String(fs.statSync(at("test.db")).ino)
    const locks = process.platform === "linux" ? fs.readFileSync("/proc/locks", "utf8") : `:${inode} `
    expect(locks).toContain(`:${inode} `)
    guarding.kill("SIGTERM")
    const ended = await guarding.ended
    expect(ended.code).toBe(0)
    expect(lines(ended, "wal_checkpoint started")).toHaveLength(1)
    expect(lines(ended, "database named twice").map(({ annotations }) => annotations?.["guarded_as"])).toEqual([
      "test.db",
      "test.db",
    ])
  })

  it("guards several databases, each with its name in the log", { timeout: 60_000 }, async () => {
    create("a.db")
    create("b.db")
    const guarding = guard("a.db", "b.db", "--interval-seconds", "0.1")
    await guarding.says('"database":"b.db"')
    const writing = await writer("b.db", 100)
    await until(() => fs.statSync(at("b.db")).size > 20 * 4096)
    await writing.end()
    guarding.kill("SIGINT")
    const ended = await guarding.ended
    expect(ended.code).toBe(0)
    for (const name of ["a.db", "b.db"]) {
      const own = ended.log.filter(({ annotations }) => annotations["database"] === name)
      const steps = own.flatMap(({ annotations }) => annotations["step"] ?? [])
      expect(steps.at(-1)).toBe("close database")
      expect(own.some(({ annotations }) => annotations["outcome"] === "WriterBusy")).toBe(false)
    }
    expect(fs.readdirSync(folder)).toEqual(["a.db", "b.db"])
  })

  it(
    "of several databases ends without a word of trouble, and leaves one file of each",
    { timeout: 60_000 },
    async () => {
      const names = ["a.db", "b.db", "c.db"]
      names.forEach(create)
      const guarding = guard(...names, "--interval-seconds", "0.1")
      await guarding.says('"mode":"PASSIVE"', names.length)
      guarding.kill("SIGINT")
      const ended = await guarding.ended
      expect(ended.log.filter(({ level }) => level !== "INFO" && level !== "DEBUG")).toEqual([])
      expect([ended.code, ended.stderr]).toEqual([0, ""])
      expect(fs.readdirSync(folder)).toEqual(names)
    },
  )

  it(
    "leaves a database alone whose file was replaced, and the log that has its name now",
    { timeout: 60_000 },
    async () => {
      create("test.db")
      const guarding = guard("test.db", "--interval-seconds", "0.1")
      await guarding.says('"mode":"PASSIVE"') // its thread has opened the file, too
      for (const suffix of ["", "-wal", "-shm"]) {
        if (fs.existsSync(at(`test.db${suffix}`))) fs.renameSync(at(`test.db${suffix}`), at(`old.db${suffix}`))
      }
      create("test.db")
      await guarding.says("database replaced")
      const writing = await writer("test.db", 100)
      guarding.kill("SIGINT")
      const ended = await guarding.ended
      expect(ended.code).toBe(1)
      expect(lines(ended, "database replaced").map(({ level }) => level)).toEqual(["ERROR"])
      expect(lines(ended, "database left open")).toHaveLength(1)
      expect(fs.existsSync(at("test.db-wal"))).toBe(true)
      const rows = await writing.end()
      expect(rowsIn("test.db")).toBe(rows)
    },
  )

  it.each([
    ["a file that is not there", "nope.db", "does not exist"],
    ["a file that is no database", "text.db", "is not a SQLite database"],
    ["a database without a log", "rollback.db", "is not in WAL mode"],
  ])("refuses %s, and creates nothing", async (_, name, problem) => {
    fs.writeFileSync(at("text.db"), "no database")
    const database = new DatabaseSync(at("rollback.db"))
    database.exec("CREATE TABLE t (a)")
    database.close()
    const before = fs.readdirSync(folder)
    const ended = await run(["guard", "--log-format", "json", name], { cwd: folder })
    expect(ended.code).toBe(1)
    expect(String(lines(ended, "start failed")[0]?.annotations["error"])).toContain(problem)
    expect(fs.readdirSync(folder)).toEqual(before)
  })

  it(
    "starts without one that is missing, and guards it when it appears; --strict refuses",
    { timeout: 60_000 },
    async () => {
      create("a.db")
      const strict = await run(["guard", "--strict", "a.db", "late.db"], { cwd: folder })
      expect([strict.code, strict.stdout]).toEqual([1, expect.stringContaining("late.db does not exist")])
      const none = await run(["guard", "late.db", "later.db"], { cwd: folder })
      expect(none.code).toBe(1)

      const guarding = guard("a.db", "late.db")
      await guarding.says("database not guarded")
      await guarding.says("wal_checkpoint started")
      create("late.db")
      await guarding.says("wal_checkpoint started", 2)
      guarding.kill("SIGTERM")
      const ended = await guarding.ended
      expect(ended.code).toBe(0)
      const said = lines(ended, "database not guarded")
      expect(said.map(({ annotations, level }) => [level, annotations["database"]])).toEqual([["WARN", "late.db"]])
      expect(lines(ended, "wal_checkpoint started").map(({ annotations }) => annotations["database"])).toEqual([
        "a.db",
        "late.db",
      ])
      expect(fs.readdirSync(folder)).toEqual(["a.db", "late.db"])
    },
  )

  it("looks at a folder again, shows what is new on its page, and keeps its locks", { timeout: 60_000 }, async () => {
    fs.mkdirSync(at("data"))
    create("data/a.db")
    const port = await freePort()
    const guarding = guard("data", "--interval-seconds", "0.2", "--dashboard-port", String(port))
    await guarding.says("wal_checkpoint started")
    fs.linkSync(at("data/a.db"), at("data/hard.db")) // another name of what is open here: it is not even read
    create("data/b.db")
    await guarding.says("wal_checkpoint started", 2)
    const inode = fs.statSync(at("data/a.db")).ino
    const locks = process.platform === "linux" ? fs.readFileSync("/proc/locks", "utf8") : `:${inode} `
    expect(locks).toContain(`:${inode} `)
    const names = async (): Promise<ReadonlyArray<string>> => {
      const status = (await (await fetch(`http://127.0.0.1:${port}/api/status`)).json()) as {
        readonly databases: ReadonlyArray<{ readonly name: string }>
      }
      return status.databases.map(({ name }) => name)
    }
    while ((await names()).length < 2) await new Promise((resolve) => setTimeout(resolve, 100))
    expect(await names()).toEqual(["data/a.db", "data/b.db"])
    guarding.kill("SIGTERM")
    expect((await guarding.ended).code).toBe(0)
  })

  it(
    "has its settings in a file too, below flags and environment, and refuses wrong ones",
    { timeout: 60_000 },
    async () => {
      create("a.db")
      fs.writeFileSync(at("guard.yaml"), "guard:\n  databases: [a.db]\n  interval_seconds: 0.5\n  max_frames: 77\n")
      const env = { SEAWALL_GUARD_INTERVAL_SECONDS: "0.4" }
      const args = ["guard", "--config", "guard.yaml", "--log-format", "json"]
      const guarding = start(args, { cwd: folder, env })
      running.push(() => guarding.kill("SIGKILL"))
      await guarding.says("wal_checkpoint started")
      guarding.kill("SIGTERM")
      const ended = await guarding.ended
      expect(lines(ended, "wal_checkpoint started")[0]?.annotations["interval_seconds"]).toBe(0.4)
      const wrong = await run([...args, "--interval-seconds", "1"], {
        cwd: folder,
        env: { SEAWALL_GUARD_MAX_FRAMES: "-1" },
      })
      expect([wrong.code, wrong.stdout]).toEqual([
        78,
        expect.stringContaining("guard.max_frames (SEAWALL_GUARD_MAX_FRAMES)"),
      ])
      const nothing = await run(["guard"], { cwd: folder })
      expect([nothing.code, nothing.stdout]).toEqual([78, expect.stringContaining("name a database")])
    },
  )

  it("tells systemd when it is ready, through its own program", { timeout: 60_000 }, async () => {
    create("a.db")
    fs.mkdirSync(at("bin"))
    fs.writeFileSync(at("bin/systemd-notify"), `#!/bin/sh\necho "$@" > "${at("told")}"\n`, { mode: 0o755 })
    const env = { NOTIFY_SOCKET: "/run/none", PATH: `${at("bin")}:${process.env["PATH"]}` }
    const guarding = start(["guard", "a.db"], { cwd: folder, env })
    running.push(() => guarding.kill("SIGKILL"))
    await until(() => fs.existsSync(at("told")) && fs.readFileSync(at("told"), "utf8") !== "")
    expect(fs.readFileSync(at("told"), "utf8")).toBe("--ready\n")
    guarding.kill("SIGTERM")
    expect((await guarding.ended).code).toBe(0)
  })

  it("has no line for each checkpoint that went well, unless it is asked for", { timeout: 60_000 }, async () => {
    create("a.db")
    const guarding = start(
      ["guard", "a.db", "--interval-seconds", "0.1", "--log-format", "logfmt", "--log-level", "info"],
      {
        cwd: folder,
      },
    )
    running.push(() => guarding.kill("SIGKILL"))
    await guarding.says("wal_checkpoint started")
    await new Promise((resolve) => setTimeout(resolve, 1000))
    guarding.kill("SIGTERM")
    const { code, stdout } = await guarding.ended
    expect(code).toBe(0)
    expect(stdout).not.toMatch(/message=wal_checkpoint /)
  })
})
