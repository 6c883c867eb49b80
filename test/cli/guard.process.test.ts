/** `seawall guard` as a real process, beside a real writer in another language. */
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
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
const logSize = (name: string) => fs.statSync(at(`${name}-wal`)).size

const frame = 4096 + 24

describe("seawall guard", () => {
  it("bounds the log of a program that leaves gaps, and leaves no file behind", { timeout: 60_000 }, async () => {
    create("test.db")
    const guarding = guard("test.db", "--max-frames", "100")
    await guarding.says("wal_checkpoint started")
    const writing = await writer("test.db", 150)
    // A log that starts anew is written from its start: the file stops growing, however much is written.
    const main = () => fs.statSync(at("test.db")).size
    await until(() => main() > 800 * 4096)
    expect(logSize("test.db")).toBeLessThan(400 * frame)
    const rows = await writing.end()
    guarding.kill("SIGTERM")
    const ended = await guarding.ended
    expect(ended.code).toBe(0)
    expect(lines(ended, "wal_checkpoint cannot bound the log")).toEqual([])
    const truncates = lines(ended, "wal_checkpoint").filter(({ annotations }) => annotations["mode"] === "TRUNCATE")
    expect(truncates).toHaveLength(1)
    expect(fs.readdirSync(folder)).toEqual(["test.db"])
    expect(rowsIn("test.db")).toBe(rows)
  })

  it("says so when a program never pauses, and empties no log under somebody", { timeout: 60_000 }, async () => {
    create("test.db")
    const guarding = guard("test.db", "--max-frames", "100")
    await guarding.says("wal_checkpoint started")
    const writing = await writer("test.db", 0)
    await guarding.says("wal_checkpoint cannot bound the log")
    guarding.kill("SIGINT")
    const ended = await guarding.ended
    expect(ended.code).toBe(0)
    const [line] = lines(ended, "wal_checkpoint cannot bound the log")
    expect(line?.annotations).toMatchObject({ outcome: "WriterBusy", database: "test.db" })
    const [skipped] = lines(ended, "wal_checkpoint truncate skipped")
    expect(skipped?.annotations["reason"]).toMatch(
      new RegExp(`^still open in python3 -c import select.*\\(pid ${writing.pid}\\)$`),
    )
    expect(logSize("test.db")).toBeGreaterThan(0)
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
})
