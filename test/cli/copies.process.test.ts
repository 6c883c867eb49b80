/** Copies that `seawall backup` and `restore` make: whose they are, where they may go, and what the system's refusals are called. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { watch } from "node:fs/promises"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as SmallDisk from "../crash/SmallDisk.ts"
import { quick, run } from "../support/Seawall.ts"

vi.setConfig({ testTimeout: 60_000 })

let folder = ""
const mounted: Array<string> = []
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-copies-"))
})
afterEach(() => {
  for (const each of mounted.splice(0)) SmallDisk.unmount(each)
  fs.rmSync(folder, { recursive: true })
})

const at = (...names: ReadonlyArray<string>) => path.join(folder, ...names)
const seawall = (...args: ReadonlyArray<string>) => run(args, { cwd: folder })
const names = (under = folder) => fs.readdirSync(under).toSorted()
const isRoot = process.getuid?.() === 0
const another = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]

/** One clean file in WAL mode. */
const create = (name: string, mode: number, rows = 1) => {
  const database = new DatabaseSync(at(name))
  database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (a)")
  for (let row = 0; row < rows; row++) database.exec("INSERT INTO t VALUES (zeroblob(4000))")
  database.close()
  fs.chmodSync(at(name), mode)
}

const whose = (name: string) => {
  const { gid, mode, uid } = fs.statSync(at(name))
  return { mode: (mode & 0o777).toString(8), uid, gid }
}

const made = (stdout: string) => path.basename(stdout.trim())

describe("the owner and the mode", () => {
  it("of a backup are private from its first byte, and then those of its database", async () => {
    create("app.db", 0o640, 100)
    const seen = new Set<string>()
    const over = new AbortController()
    const watching = (async () => {
      for await (const { filename } of watch(folder, { signal: over.signal })) {
        if (filename?.endsWith(".partial") !== true) continue
        const mode = fs.statSync(at(filename), { throwIfNoEntry: false })?.mode
        if (mode !== undefined) seen.add((mode & 0o777).toString(8))
      }
    })().catch(() => undefined)
    const { code, stdout } = await seawall("backup", "app.db")
    over.abort()
    await watching
    expect(code).toBe(0)
    expect([...seen].every((mode) => mode === "600" || mode === "640")).toBe(true)
    expect([...seen]).toContain("600")
    expect(whose(made(stdout)).mode).toBe("640")
  })

  it("of what a restore puts back are those of what it replaces, else of the folder", async () => {
    create("app.db", 0o600)
    create("open.bak", 0o644)
    expect((await seawall("restore", "open.bak", "app.db")).code).toBe(0)
    expect(whose("app.db").mode).toBe("600")
    fs.chmodSync(folder, 0o750)
    expect((await seawall("restore", "open.bak", "new.db")).code).toBe(0)
    expect(whose("new.db").mode).toBe("640")
  })

  it.runIf(isRoot)("are given by root to whom the database is, and by no other user, which is said", async () => {
    create("app.db", 0o660)
    fs.chownSync(at("app.db"), 12_345, 23_456)
    const backup = made((await seawall("backup", "app.db")).stdout)
    expect(whose(backup)).toEqual({ mode: "660", uid: 12_345, gid: 23_456 })
    fs.chownSync(at(backup), 0, 0)
    expect((await seawall("restore", backup, "app.db")).stderr).toBe("")
    expect(whose("app.db")).toEqual({ mode: "660", uid: 12_345, gid: 23_456 })
    // Another user, who may read and write there, and give nothing away: the group that is not the database's gets nothing.
    fs.chmodSync(folder, 0o777)
    fs.chmodSync(at(backup), 0o644)
    fs.chownSync(at("app.db"), 54_321, 23_456)
    const { code, stderr } = await run(["restore", backup, "app.db"], { cwd: folder, under: another })
    expect(code).toBe(0)
    expect(stderr).toMatch(/level=WARN.*"restored with another owner".*missing="user 54321 and group 23456"/)
    expect(whose("app.db")).toEqual({ mode: "600", uid: 12_345, gid: 12_345 })
  })

  it("of the backups of a session are those of its database", async () => {
    create("app.db", 0o600)
    const env = { ...quick, SEAWALL_ENGINE_BACKUPS: "2" }
    expect((await run(["run", "--db", "app.db", "--duration-seconds", "0.3"], { cwd: folder, env })).code).toBe(0)
    const backups = names().filter((name) => /\.(?:bak|post)\./.test(name))
    expect(backups).toHaveLength(2)
    expect(backups.map((name) => whose(name).mode)).toEqual(["600", "600"])
  })
})

describe("what is no place for a copy", () => {
  it("stays as it is: a folder, a pipe, a part of a database, a link that leads nowhere", async () => {
    create("app.db", 0o600)
    create("other.db", 0o600)
    fs.mkdirSync(at("data"))
    spawnSync("mkfifo", [at("pipe")])
    fs.symlinkSync(at("nowhere"), at("link"))
    const backup = made((await seawall("backup", "app.db")).stdout)
    const before = names()
    for (const [args, message] of [
      [["restore", backup, "data"], "data is a folder"],
      [["restore", backup, "pipe"], "pipe is no regular file"],
      [["restore", backup, "other.db-wal"], "has the name of a WAL, an index or a journal of"],
      [["backup", "app.db", "app.db-wal"], "SQLite would take it for a part of"],
      [["backup", "app.db", "other.db-journal"], "SQLite would take it for a part of"],
      [["backup", "app.db", "link"], "there is a file of that name already"],
      [["backup", "app.db", "pipe"], "there is a file of that name already"],
    ] as const) {
      const { code, stderr, stdout } = await seawall(...args)
      expect([args, code, stdout]).toEqual([args, 1, ""])
      expect(stderr).toContain(message)
      expect(stderr.trim().split("\n")).toHaveLength(1)
      expect(names()).toEqual(before)
    }
    expect(fs.readlinkSync(at("link"))).toBe(at("nowhere"))
  })
})

describe("a restore that is rehearsed", () => {
  it("says what it would do, refuses what it would refuse, and changes nothing", async () => {
    create("app.db", 0o600)
    const backup = made((await seawall("backup", "app.db")).stdout)
    const before = names()
    const shown = await seawall("restore", backup, "app.db", "--dry-run")
    expect([shown.code, shown.stderr]).toEqual([0, ""])
    expect(shown.stdout).toMatch(
      /^would restore +app\.db\nfrom +.*passes its check\)\nwould keep +.*app\.db, under another/,
    )
    const json = await seawall("restore", backup, "app.db", "--dry-run", "--json")
    expect(JSON.parse(json.stdout)).toMatchObject({ file: "app.db", backup, dry_run: true, keeps: ["app.db"] })
    fs.writeFileSync(at("broken"), fs.readFileSync(at(backup)).fill(255, 4096))
    expect((await seawall("restore", "broken", "app.db", "--dry-run")).code).toBe(65)
    fs.rmSync(at("broken"))
    expect(names()).toEqual(before)
  })
})

describe("a backup", () => {
  it("is never the one that goes, whatever the stamps of others say", async () => {
    create("app.db", 0o600)
    fs.copyFileSync(at("app.db"), at("app.db.bak.20990101T000000000Z"))
    fs.copyFileSync(at("app.db"), at("app.db.bak.99991231T235959999Z"))
    const env = { ...quick, SEAWALL_ENGINE_BACKUPS: "1" }
    const args = ["run", "--db", "app.db", "--duration-seconds", "0.3", "--log-format", "json"]
    const { code, log } = await run(args, { cwd: folder, env })
    expect(code).toBe(0)
    const reported = log.filter(({ message }) => message === "backup").map(({ annotations }) => annotations["file"])
    expect(reported.map((name) => fs.existsSync(at(String(name))))).toEqual([true, true])
    const ahead = log.filter(({ message }) => message === "backup stamp of the future")
    expect(ahead).toHaveLength(1)
  })

  it("says its size and its time", async () => {
    create("app.db", 0o600)
    const { stdout } = await seawall("backup", "app.db", "--json")
    expect(JSON.parse(stdout)).toEqual({
      file: "app.db",
      backup: expect.stringMatching(/^app\.db\.manual\./),
      bytes: fs.statSync(at("app.db")).size,
      elapsed_ms: expect.any(Number),
    })
  })
})

describe.runIf(isRoot && SmallDisk.isPossible)("what the system refuses", () => {
  /** No call of the file system, no code. */
  const internals = /FileSystem\.|PlatformError|\bE[A-Z]{3,}\b/

  it("is said in plain words, with what to do", async () => {
    fs.mkdirSync(at("small"))
    mounted.push(at("small"))
    SmallDisk.mount(at("small"), 600)
    create("app.db", 0o600, 100)
    fs.copyFileSync(at("app.db"), at("small/app.db"))
    const long = "n".repeat(250)
    const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
      [["backup", "small/app.db"], "disk is full"],
      [["restore", "app.db", "small/new.db"], "there is not enough room"],
      [["backup", "app.db", long], "the name or its path is too long"],
      [["backup", "app.db", "nowhere/copy.db"], "no such file or folder"],
      [["restore", "app.db", `${long}.db`], "too long"],
    ]
    for (const [args, message] of cases) {
      const { code, stderr, stdout } = await seawall(...args)
      expect([args, code, stdout]).toEqual([args, 1, ""])
      expect(stderr).toContain(message)
      expect(stderr).not.toMatch(internals)
    }
    expect(names(at("small"))).toEqual(["app.db"])
    expect(names()).toEqual(["app.db", "small"])
  })

  it("of a read-only mount: a backup beside the database names what to do", async () => {
    fs.mkdirSync(at("fixed"))
    mounted.push(at("fixed"))
    SmallDisk.mount(at("fixed"), 600)
    create("fixed/app.db", 0o600)
    expect(spawnSync("mount", ["-o", "remount,ro", at("fixed")]).status).toBe(0)
    const refused = await seawall("backup", "fixed/app.db")
    expect([refused.code, refused.stdout]).toEqual([1, ""])
    expect(refused.stderr).toContain("the file system is read-only; name a destination elsewhere: seawall backup")
    expect(refused.stderr).not.toMatch(internals)
    expect((await seawall("backup", "fixed/app.db", "copy.db")).code).toBe(0)
  })
})
