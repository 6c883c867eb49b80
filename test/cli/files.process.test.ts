/** `seawall checkpoint`, `backup` and `restore` as real processes, on real files that others have open. */
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { run } from "../support/Seawall.ts"

let folder = ""
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-files-"))
})
afterEach(() => fs.rmSync(folder, { recursive: true }))

const at = (name: string) => path.join(folder, name)
const seawall = (...args: ReadonlyArray<string>) => run(args, { cwd: folder })
const names = () => fs.readdirSync(folder).toSorted()

/** One clean file in WAL mode, with so many rows. */
const create = (name: string, rows: number) => {
  const database = new DatabaseSync(at(name))
  database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (a)")
  for (let row = 0; row < rows; row++) database.exec("INSERT INTO t VALUES (1)")
  database.close()
}

const rowsIn = (name: string) => {
  const database = new DatabaseSync(`file:${at(name)}?immutable=1`, { readOnly: true })
  const count = database.prepare("SELECT count(*) AS n FROM t").get()?.["n"]
  database.close()
  return count
}

/** Another process that has the database open, in a write transaction or with a snapshot, or that commits and waits. */
const beside = async (does: string) => {
  const child = spawn("python3", [
    "-c",
    `import sqlite3, sys
c = sqlite3.connect(${JSON.stringify(at("test.db"))}, isolation_level=None, timeout=0)
c.execute("PRAGMA wal_autocheckpoint = 0")
${does}
print("ready", flush=True)
sys.stdin.read()`,
  ])
  await once(child.stdout, "data")
  return {
    pid: child.pid!,
    end: async () => {
      child.stdin.end()
      await once(child, "close")
    },
  }
}

const commit = 'c.execute("INSERT INTO t VALUES (1)")'

describe("seawall checkpoint", () => {
  it("warns of a writer with the WAL-reset bug that is there, and of none that is not", async () => {
    create("test.db", 1)
    const file = fs.openSync(at("test.db"), "r+")
    const version = Buffer.alloc(4)
    version.writeUInt32BE(3_040_001)
    fs.writeSync(file, version, 0, 4, 96)
    fs.closeSync(file)
    const other = await beside(commit)
    const shared = await seawall("checkpoint", "test.db")
    expect(shared.code).toBe(0)
    expect(shared.stderr).toMatch(/level=WARN.*sqlite version unsafe/)
    expect(shared.stderr).toContain("SQLite 3.40.1 has the WAL-reset bug")
    await other.end()
    const alone = await seawall("checkpoint", "test.db")
    expect([alone.code, alone.stderr]).toEqual([0, ""])
  })

  it("copies what another process has committed, and leaves its WAL where it is", async () => {
    create("test.db", 1)
    const other = await beside(commit)
    const { code, stdout } = await seawall("checkpoint", "test.db", "--json")
    expect(JSON.parse(stdout)).toMatchObject({ mode: "PASSIVE", outcome: "Complete", log_frames: 1, blockers: [] })
    expect(code).toBe(0)
    expect(names()).toContain("test.db-wal")
    await other.end()
  })

  it("empties the WAL when that is asked for", async () => {
    create("test.db", 1)
    const other = await beside(commit)
    const { code, stdout } = await seawall("checkpoint", "test.db", "--mode", "truncate")
    expect(stdout).toMatch(/mode +TRUNCATE\noutcome +Complete/)
    expect(code).toBe(0)
    expect(fs.statSync(at("test.db-wal")).size).toBe(0)
    await other.end()
  })

  it("names the reader in the way, and does not try TRUNCATE under it", async () => {
    create("test.db", 1)
    const reader = await beside('c.execute("BEGIN"); c.execute("SELECT * FROM t").fetchall()')
    const writer = await beside(commit)
    const { code, stdout } = await seawall("checkpoint", "test.db", "--mode", "truncate", "--json")
    const blocked = JSON.parse(stdout) as Record<string, unknown>
    expect(blocked).toMatchObject({ mode: "PASSIVE", outcome: "ReaderBlocked" })
    expect(blocked["blockers"]).toEqual([
      {
        pid: reader.pid,
        command: expect.stringMatching(/^\S*python3 -c import sqlite3, sys c = /),
        lock: expect.stringMatching(/^read/),
      },
    ])
    expect(code).toBe(2)
    await writer.end()
    await reader.end()
  })

  it("names the writer in the way of TRUNCATE", async () => {
    create("test.db", 1)
    const writer = await beside('c.execute("BEGIN IMMEDIATE")')
    const { code, stdout } = await seawall("checkpoint", "test.db", "--mode", "truncate")
    expect(stdout).toMatch(/mode +TRUNCATE, which gave up: the WAL was not emptied/)
    expect(stdout).toContain("WriterBusy")
    expect(stdout).toMatch(new RegExp(` python3 -c import sqlite3.*\\(pid ${writer.pid}, write\\)`))
    expect(code).toBe(2)
    await writer.end()
  })

  it("changes nothing of a file that has no WAL", async () => {
    const database = new DatabaseSync(at("test.db"))
    database.exec("CREATE TABLE t (a)")
    database.close()
    const before = fs.readFileSync(at("test.db"))
    const { code, stderr, stdout } = await seawall("checkpoint", "test.db")
    expect([code, stdout]).toEqual([1, ""])
    expect(stderr).toMatch(/^seawall checkpoint: cannot open test\.db: it is not in WAL mode, .*\n$/)
    expect(fs.readFileSync(at("test.db"))).toEqual(before)
    expect(names()).toEqual(["test.db"])
  })
})

describe("seawall backup", () => {
  it("copies what is in the WAL of a program that writes, and prints the name", async () => {
    create("test.db", 1)
    const other = await beside(commit)
    const { code, stdout } = await seawall("backup", "test.db")
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^test\.db\.manual\.\d{8}T\d{9}Z\n$/)])
    expect(rowsIn(stdout.trim())).toBe(2)
    await other.end()
  })

  it("of a file at rest leaves nothing but the copy", async () => {
    create("test.db", 3)
    fs.mkdirSync(at("to"))
    const { stdout } = await seawall("backup", "test.db", "to", "--json")
    const { backup, bytes } = JSON.parse(stdout) as { backup: string; bytes: number }
    expect(bytes).toBe(fs.statSync(at("test.db")).size)
    expect(rowsIn(backup)).toBe(3)
    expect(names()).toEqual(["test.db", "to"])
    expect(fs.readdirSync(at("to"))).toEqual([path.basename(backup)])
  })

  it("copies what is in the WAL although the database is named by a symbolic link", async () => {
    create("test.db", 1)
    fs.symlinkSync(at("test.db"), at("link.db"))
    const other = await beside(commit)
    const { stdout } = await seawall("backup", "link.db", "copy.db")
    await other.end()
    expect([stdout, rowsIn("copy.db")]).toEqual(["copy.db\n", 2])
  })

  it("of a database without a WAL keeps no writer out", async () => {
    const database = new DatabaseSync(at("test.db"))
    database.exec("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    database.close()
    const other = await beside(commit)
    const { stdout } = await seawall("backup", "test.db", "copy.db")
    await other.end()
    expect([stdout, rowsIn("copy.db")]).toEqual(["copy.db\n", 2])
    expect(names()).toEqual(["copy.db", "test.db"])
  })

  it("replaces no file that has the name", async () => {
    create("test.db", 1)
    fs.writeFileSync(at("mine"), "mine")
    const { code, stderr } = await seawall("backup", "test.db", "mine")
    expect([code, stderr]).toEqual([1, "seawall backup: no backup mine: there is a file of that name already\n"])
    expect(fs.readFileSync(at("mine"), "utf8")).toBe("mine")
    expect(names()).toEqual(["mine", "test.db"])
  })
})

describe("seawall restore", () => {
  it("keeps what was there, with its WAL, and overwrites nothing", async () => {
    create("test.db", 1)
    create("backup.db", 5)
    const [before, backup] = [fs.readFileSync(at("test.db")), fs.readFileSync(at("backup.db"))]
    fs.writeFileSync(at("test.db-wal"), "a WAL of the old file")
    const { code, stdout } = await seawall("restore", "backup.db", "test.db", "--json")
    expect(code).toBe(0)
    const { kept } = JSON.parse(stdout) as { kept: ReadonlyArray<string> }
    expect(kept.map((name) => fs.readFileSync(at(name)))).toEqual([before, Buffer.from("a WAL of the old file")])
    expect(fs.readFileSync(at("test.db"))).toEqual(backup)
    expect(names()).toEqual(["backup.db", "test.db", ...kept].toSorted())
  })

  it("moves a journal away that would be played back into the backup, and refuses a backup that has one", async () => {
    create("test.db", 1)
    create("backup.db", 5)
    fs.writeFileSync(at("test.db-journal"), "a journal of the old file")
    const { code, stdout } = await seawall("restore", "backup.db", "test.db", "--json")
    expect(code).toBe(0)
    const { kept } = JSON.parse(stdout) as { kept: ReadonlyArray<string> }
    expect(kept.map((name) => path.extname(name))).toEqual([
      expect.stringMatching(/Z$/),
      expect.stringMatching(/-journal$/),
    ])
    expect(fs.existsSync(at("test.db-journal"))).toBe(false)
    fs.writeFileSync(at("backup.db-journal"), "a journal")
    expect(await seawall("restore", "backup.db", "test.db")).toMatchObject({ code: 1 })
    expect(rowsIn("test.db")).toBe(5)
  })

  it("of a symbolic link replaces what it leads to, with the WAL beside that", async () => {
    fs.mkdirSync(at("data"))
    create("data/test.db", 1)
    create("backup.db", 5)
    fs.writeFileSync(at("data/test.db-wal"), "a WAL of the old file")
    fs.symlinkSync(at("data/test.db"), at("link.db"))
    expect(await seawall("restore", "backup.db", "link.db")).toMatchObject({ code: 0 })
    expect(fs.lstatSync(at("link.db")).isSymbolicLink()).toBe(true)
    expect(rowsIn("data/test.db")).toBe(5)
    expect(fs.existsSync(at("data/test.db-wal"))).toBe(false)
  })

  it("of a missing database just puts the backup there", async () => {
    create("backup.db", 5)
    expect(await seawall("restore", "backup.db", "test.db")).toMatchObject({ code: 0 })
    expect(rowsIn("test.db")).toBe(5)
    expect(names()).toEqual(["backup.db", "test.db"])
  })

  it("refuses a damaged backup, and changes nothing", async () => {
    create("test.db", 1)
    const before = fs.readFileSync(at("test.db"))
    fs.writeFileSync(at("backup.db"), Buffer.alloc(8192, 7))
    const { code, stderr } = await seawall("restore", "backup.db", "test.db")
    expect([code, stderr]).toEqual([
      65,
      expect.stringMatching(/^seawall restore: backup\.db failed its integrity check: .*\n$/),
    ])
    expect(fs.readFileSync(at("test.db"))).toEqual(before)
    expect(names()).toEqual(["backup.db", "test.db"])
  })

  it("refuses while another process has the database open, and names it", async () => {
    create("test.db", 1)
    create("backup.db", 5)
    const other = await beside("c.execute('SELECT * FROM t').fetchall()")
    const { code, stderr } = await seawall("restore", "backup.db", "test.db")
    const words = `^seawall restore: test\\.db is open in \\S*python3 .* \\(pid ${other.pid}\\); stop that first\\. Nothing was changed\n$`
    expect([code, stderr]).toEqual([1, expect.stringMatching(words)])
    await other.end()
    expect(rowsIn("test.db")).toBe(1)
    expect(names()).toEqual(["backup.db", "test.db"])
  })

  it.each([
    ["a backup that is not there", ["nope.db", "test.db"], "is not there"],
    ["the database itself", ["test.db", "test.db"], "is the backup itself"],
    [
      "a file with a WAL beside it",
      ["live.db", "test.db"],
      "has a WAL or a journal beside it, so it is no backup but a database; make a backup of it, and restore that: seawall backup live.db",
    ],
    ["a folder that is not there", ["backup.db", "no/test.db"], "the folder of"],
  ])("refuses %s", async (_, args, message) => {
    for (const name of ["test.db", "backup.db", "live.db"]) create(name, 1)
    fs.writeFileSync(at("live.db-wal"), "a WAL")
    const before = names()
    const { code, stderr, stdout } = await seawall("restore", ...args)
    expect([code, stdout]).toEqual([1, ""])
    expect(stderr).toContain(message)
    expect(stderr.trim().split("\n")).toHaveLength(1)
    expect(names()).toEqual(before)
  })
})

describe("a path that is no database", () => {
  it.each([
    ["checkpoint", ["checkpoint", "x"]],
    ["backup", ["backup", "x"]],
  ])("gets one line from %s, and nothing is created", async (_, args) => {
    for (const [content, problem] of [
      [undefined, "does not exist"],
      ["no database", "not a SQLite database"],
    ] as const) {
      if (content !== undefined) fs.writeFileSync(at("x"), content)
      const before = names()
      const { code, stderr, stdout } = await seawall(...args)
      expect([code, stdout]).toEqual([1, ""])
      expect(stderr).toContain(problem)
      expect(stderr.trim().split("\n")).toHaveLength(1)
      expect(names()).toEqual(before)
    }
  })
})

describe.runIf(process.platform === "linux")("a database that another process has locked", () => {
  it("is refused with the name of that process, and stays as it is", { timeout: 60_000 }, async () => {
    create("test.db", 1)
    const other = await beside('c.execute("PRAGMA locking_mode = EXCLUSIVE")\nc.execute("BEGIN IMMEDIATE")')
    const before = names()
    const who = new RegExp(`locked.*: it is open in \\S*python3 .*\\(pid ${other.pid}\\)`)
    for (const args of [
      ["checkpoint", "test.db"],
      ["backup", "test.db", "copy.db"],
    ] as const) {
      const { code, stderr } = await seawall(...args)
      expect([code, stderr]).toEqual([1, expect.stringMatching(who)])
    }
    const session = await seawall("run", "--db", "test.db", "--duration-seconds", "0.1")
    expect([session.code, session.stdout]).toEqual([1, expect.stringMatching(who)])
    expect(names()).toEqual(before)
    await other.end()
  })
})
