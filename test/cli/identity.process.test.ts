/**
 * The commands beside a program that has another file under the name of a database: it is named for what it is, and what would
 * mix two databases is refused.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { run } from "../support/Seawall.ts"

let folder = ""
const children: Array<ChildProcess> = []
beforeEach(() => {
  folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "seawall-identity-")))
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL")
  fs.rmSync(folder, { recursive: true, force: true })
})
const at = (name: string) => path.join(folder, name)

const create = (name: string, row: string) => {
  const database = new DatabaseSync(at(name))
  database.exec(`PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES ('${row}')`)
  database.close()
}

/** A Python program that has the database open, with a commit in its WAL, until it is killed. */
const writer = async (name: string) => {
  const child = spawn("python3", [
    "-c",
    `import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("INSERT INTO t VALUES ('of the writer')")
print("ready", flush=True)
sys.stdin.read()`,
    at(name),
  ])
  children.push(child)
  await once(child.stdout, "data")
  return child.pid!
}

/** Read by another process: it has no lock to lose. */
const contents = () =>
  execFileSync("sh", ["-c", "sha256sum $(ls | grep -v -e -shm)"], { cwd: folder, encoding: "utf8" })

/** Each lets another file, or another WAL, have the names of the one that the writer has open. */
const changes: Readonly<Record<string, () => void>> = {
  "the file was replaced by rename": () => fs.renameSync(at("other.db"), at("app.db")),
  "the file was removed and made again": () => {
    fs.rmSync(at("app.db"))
    fs.copyFileSync(at("other.db"), at("app.db"))
  },
  "the WAL was removed": () => fs.rmSync(at("app.db-wal")),
  "the WAL and its index were removed": () => {
    fs.rmSync(at("app.db-wal"))
    fs.rmSync(at("app.db-shm"))
  },
}

describe.runIf(process.platform === "linux").each(Object.entries(changes))(
  "beside a program under which %s",
  (_, change) => {
    it(
      "checkpoint, backup, restore and guard refuse with its pid, and change nothing",
      { timeout: 60_000 },
      async () => {
        create("app.db", "old")
        create("other.db", "new")
        create("backup.db", "backup")
        const pid = await writer("app.db")
        change()
        const before = contents()
        for (const args of [
          ["checkpoint", "app.db"],
          ["backup", "app.db", "copy.db"],
          ["restore", "backup.db", "app.db"],
          ["guard", "--log-format", "logfmt", "app.db"],
        ]) {
          const ended = await run(args, { cwd: folder })
          expect([args[0], ended.code]).toEqual([args[0], 1])
          expect(ended.stdout + ended.stderr).toContain(`(pid ${pid}`)
        }
        expect(contents()).toBe(before)
      },
    )

    it("doctor calls it critical, with its pid and what to do, and status shows it", { timeout: 60_000 }, async () => {
      create("app.db", "old")
      create("other.db", "new")
      const pid = await writer("app.db")
      change()
      const before = contents()
      const doctor = await run(["doctor", "--json", "app.db"], { cwd: folder })
      expect(doctor.code).toBe(65)
      const { findings } = JSON.parse(doctor.stdout) as {
        readonly findings: ReadonlyArray<{
          readonly severity: string
          readonly subject: string
          readonly message: string
          readonly remedy: string
        }>
      }
      const found = findings.filter(({ subject }) => subject === "identity")
      expect(found.map(({ severity }) => severity)).toEqual(["critical"])
      expect(found[0]?.message).toContain(`(pid ${pid})`)
      expect(found[0]?.remedy).toContain(`stop process ${pid}`)
      const status = await run(["status", "--json", "app.db"], { cwd: folder })
      const { opened_by } = JSON.parse(status.stdout) as { readonly opened_by: ReadonlyArray<Record<string, unknown>> }
      expect(opened_by).toMatchObject([{ pid, has: "deleted" }])
      expect(contents()).toBe(before)
    })
  },
)

describe("a database that has several names", () => {
  it("is not copied or checkpointed, and doctor says why", { timeout: 60_000 }, async () => {
    create("app.db", "row")
    fs.linkSync(at("app.db"), at("alias.db"))
    const before = contents()
    for (const args of [
      ["checkpoint", "alias.db"],
      ["backup", "alias.db", "copy.db"],
      ["guard", "alias.db"],
    ]) {
      const ended = await run(args, { cwd: folder })
      expect([args[0], ended.code]).toEqual([args[0], 1])
      expect(ended.stdout + ended.stderr).toContain("several names (hard links)")
    }
    const doctor = await run(["doctor", "alias.db"], { cwd: folder })
    expect(doctor.code).toBe(2)
    expect(doctor.stdout).toContain("2 names (hard links)")
    expect(contents()).toBe(before)
  })
})

describe("a WAL whose database is gone", () => {
  it("is kept: nothing is created over it, and every command says that it is there", { timeout: 60_000 }, async () => {
    create("app.db", "row")
    const left = new DatabaseSync(at("app.db"))
    left.exec("INSERT INTO t VALUES ('in the WAL')")
    fs.copyFileSync(at("app.db-wal"), at("kept"))
    left.close()
    fs.rmSync(at("app.db"))
    fs.renameSync(at("kept"), at("app.db-wal"))
    const before = contents()
    for (const args of [
      ["status", "app.db"],
      ["doctor", "app.db"],
      ["checkpoint", "app.db"],
      ["backup", "app.db"],
      ["guard", "app.db"],
      ["run", "--db", "app.db", "--duration-seconds", "1"],
    ]) {
      const ended = await run(args, { cwd: folder })
      expect([args[0], ended.code]).toEqual([args[0], 1])
      expect(ended.stdout + ended.stderr).toMatch(/its WAL does, and holds commits; put the database back/)
    }
    expect(contents()).toBe(before)
  })
})

const isRoot = process.getuid?.() === 0

describe.runIf(isRoot)("a WAL that belongs to another user", () => {
  it("is named with its owner, and nothing is touched", { timeout: 60_000 }, async () => {
    create("app.db", "row")
    const left = new DatabaseSync(at("app.db"))
    left.exec("INSERT INTO t VALUES ('in the WAL')")
    for (const suffix of ["-wal", "-shm"]) fs.copyFileSync(at(`app.db${suffix}`), at(`kept${suffix}`))
    left.close()
    for (const suffix of ["-wal", "-shm"]) {
      fs.renameSync(at(`kept${suffix}`), at(`app.db${suffix}`))
      fs.chmodSync(at(`app.db${suffix}`), 0o644)
    }
    fs.chmodSync(folder, 0o777)
    fs.chmodSync(at("app.db"), 0o666)
    const before = contents()
    const under = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
    const env = { HOME: folder, NODE_COMPILE_CACHE: at("cache") }
    for (const args of [
      ["checkpoint", "app.db"],
      ["guard", "app.db"],
    ]) {
      const ended = await run(args, { cwd: folder, under, env })
      expect([args[0], ended.code]).toEqual([args[0], 1])
      expect(ended.stdout + ended.stderr).toMatch(/permission denied.*app\.db-wal belongs to user 0/)
    }
    fs.rmSync(at("cache"), { recursive: true, force: true })
    expect(contents()).toBe(before)
  })
})

describe.runIf(isRoot)("a database file that is mounted alone", () => {
  it("is refused, with what to mount instead", { timeout: 60_000 }, async () => {
    create("app.db", "row")
    fs.mkdirSync(at("mnt"))
    fs.writeFileSync(at("mnt/app.db"), "")
    execFileSync("mount", ["--bind", at("app.db"), at("mnt/app.db")])
    try {
      for (const args of [
        ["checkpoint", "mnt/app.db"],
        ["backup", "mnt/app.db", "copy.db"],
        ["guard", "mnt/app.db"],
        ["run", "--db", "mnt/app.db", "--duration-seconds", "1"],
      ]) {
        const ended = await run(args, { cwd: folder })
        expect([args[0], ended.code]).toEqual([args[0], 1])
        expect(ended.stdout + ended.stderr).toContain("mount the folder that holds it instead")
      }
      const doctor = await run(["doctor", "mnt/app.db"], { cwd: folder })
      expect([doctor.code, doctor.stdout.includes("is itself a mount point")]).toEqual([2, true])
      expect(fs.readdirSync(at("mnt"))).toEqual(["app.db"])
    } finally {
      execFileSync("umount", [at("mnt/app.db")])
    }
  })
})
