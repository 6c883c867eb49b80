/** `seawall status` and `seawall doctor` as real processes, about several databases and folders. */
import { Schema } from "effect"
import { describe, expect, test } from "vitest"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as os from "node:os"
import * as path from "node:path"
import { Report } from "../../src/doctor/Finding.ts"
import { StatusJson } from "../../src/status/DatabaseStatus.ts"
import { run, start } from "../support/Seawall.ts"

/** Each starts a Node of its own, several times over. */
const timeout = 60_000

const statusOf = Schema.decodeSync(StatusJson)
const reportOf = Schema.decodeSync(Schema.fromJsonString(Report))

const lines = (text: string) => text.trimEnd().split("\n")

/** A folder for one test; `data` in it has a healthy database, one without WAL mode and a damaged one. */
class Place {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-several-"))
  readonly at = (name: string) => path.join(this.folder, name)

  constructor() {
    for (const name of ["data", "empty"]) fs.mkdirSync(this.at(name))
    this.create("data/healthy.db", "WAL")
    this.create("data/off.db", "DELETE")
    this.create("data/damaged.db", "WAL")
    const file = fs.openSync(this.at("data/damaged.db"), "r+")
    fs.writeSync(file, new Uint8Array(200).fill(7), 0, 200, 4096)
    fs.closeSync(file)
    fs.copyFileSync(this.at("data/healthy.db"), this.at(`data/healthy.db.bak.20261101T000000000Z`))
    fs.writeFileSync(this.at("data/notes.txt"), "no database")
    fs.writeFileSync(this.at("text.db"), "no database".repeat(20))
  }

  readonly create = (name: string, mode: string) => {
    const database = new DatabaseSync(this.at(name))
    database.exec(`PRAGMA journal_mode = ${mode}; CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)`)
    database.close()
  }

  readonly content = () =>
    fs
      .readdirSync(this.folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name, parentPath }) => [name, fs.readFileSync(path.join(parentPath, name)).toString("base64")])

  readonly seawall = (...args: ReadonlyArray<string>) => run(args, { cwd: this.folder })
}

const it = test.extend<{ at: Place }>({
  // oxlint-disable-next-line no-empty-pattern -- the runner reads the dependencies of a fixture off this pattern
  at: async ({}, use) => {
    const at = new Place()
    await use(at)
    fs.rmSync(at.folder, { recursive: true, force: true })
  },
})

const names = ["data/damaged.db", "data/healthy.db", "data/off.db"]

describe.concurrent("seawall status of several databases", { timeout }, () => {
  it("is a table of a row each, sorted in a folder, and leaves everything as it is", async ({ at }) => {
    const before = at.content()
    const ended = await at.seawall("status", "data")
    expect([ended.code, ended.stderr]).toEqual([0, ""])
    const [head, ...rows] = lines(ended.stdout)
    expect(head).toMatch(/^DATABASE +WAL +NOT CHECKPOINTED +OPEN IN +ENGINE$/)
    expect(rows.map((row) => row.split(" ")[0])).toEqual(names)
    expect(at.content()).toEqual(before)
  })

  it("is an object a line as JSON, in the order of their names", async ({ at }) => {
    const ended = await at.seawall("status", "data/off.db", "data", "--json")
    expect([ended.code, ended.stderr]).toEqual([0, ""])
    expect(lines(ended.stdout).map((line) => statusOf(line).file)).toEqual([
      "data/off.db",
      "data/damaged.db",
      "data/healthy.db",
    ])
  })

  it("is told at length when there is one, whatever it is named by", async ({ at }) => {
    fs.symlinkSync(at.at("data/healthy.db"), at.at("link.db"))
    fs.linkSync(at.at("data/healthy.db"), at.at("hard.db"))
    const ended = await at.seawall("status", "data/healthy.db", "./data/../data/healthy.db", "link.db", "hard.db")
    expect([ended.code, lines(ended.stdout)[0]]).toEqual([0, "file             data/healthy.db"])
    const folder = await at.seawall("status", "data/healthy.db", "--json")
    expect(Object.keys(JSON.parse(folder.stdout))).toContain("log_end")
  })

  it("answers for each, and says in one line for each what it cannot answer for", async ({ at }) => {
    for (const json of [[], ["--json"]]) {
      const ended = await at.seawall("status", "none.db", "data/off.db", "text.db", "empty", "data/healthy.db", ...json)
      expect(ended.code).toBe(1)
      expect(ended.stdout).toContain("data/off.db")
      expect(ended.stdout).toContain("data/healthy.db")
      const said = lines(ended.stderr)
      expect(said).toHaveLength(3)
      for (const name of ["none.db does not exist", "text.db is not a SQLite", "empty is a folder without"]) {
        expect(
          said.filter((line) => line.startsWith(`seawall status: ${name}`)),
          `${name}`,
        ).toHaveLength(1)
      }
    }
  })

  it("names who has one open, and is looked at over and over, as the folder changes", async ({ at }) => {
    const open = new DatabaseSync(at.at("data/healthy.db"))
    open.exec("INSERT INTO t VALUES (1, 'a')")
    const once = await at.seawall("status", "data")
    expect(once.stdout).toMatch(new RegExp(`^data/healthy\\.db +\\S+ KiB +1 +.*\\(pid ${process.pid}\\)`, "m"))
    const args = ["status", "data", "none.db", "--watch", "--interval-seconds", "0.05"]
    const watch = start(args, { cwd: at.folder })
    await watch.says("none.db does not exist", 2)
    at.create("data/another.db", "WAL")
    await watch.says("data/another.db")
    watch.kill("SIGINT")
    const ended = await watch.ended
    open.close()
    expect([ended.code, ended.stderr]).toEqual([0, ""])
  })

  it("is refused when none of them is there at first", async ({ at }) => {
    const ended = await at.seawall("status", "none.db", "empty", "--watch")
    expect([ended.code, ended.stdout]).toEqual([1, ""])
    expect(lines(ended.stderr)).toHaveLength(2)
  })
})

describe.concurrent("seawall doctor of several databases", { timeout }, () => {
  it("is a report each and a line that sums up, with the worst exit code", async ({ at }) => {
    const before = at.content()
    const ended = await at.seawall("doctor", "data", "none.db", "empty")
    expect(ended.code).toBe(65)
    const heads = lines(ended.stdout).filter((line) => /^data\/\S+: /.test(line))
    expect(heads.map((line) => line.split(":")[0])).toEqual(names)
    expect(lines(ended.stdout).at(-1)).toBe("5 databases: 1 critical, 2 not examined, 2 with warnings")
    expect(lines(ended.stderr).toSorted()).toEqual([
      expect.stringMatching(/^seawall doctor: empty is a folder without a SQLite database in it/),
      expect.stringMatching(/^seawall doctor: none\.db does not exist/),
    ])
    expect(at.content()).toEqual(before)
  })

  it("ends with a failure over a warning, and with a warning over none", async ({ at }) => {
    at.create("fine.db", "WAL")
    expect((await at.seawall("doctor", "data/off.db", "fine.db")).code).toBe(2)
    const ended = await at.seawall("doctor", "text.db", "data/off.db", "fine.db")
    expect(ended.code).toBe(1)
    expect(lines(ended.stdout).at(-1)).toBe("3 databases: 1 not examined, 1 with warnings, 1 without problems")
  })

  it("is an object a line as JSON, each file once, and no line that sums up", async ({ at }) => {
    fs.symlinkSync(at.at("data/off.db"), at.at("link.db"))
    const ended = await at.seawall("doctor", "link.db", "data", "--json")
    expect([ended.code, ended.stderr]).toEqual([65, ""])
    expect(lines(ended.stdout).map((line) => reportOf(line).file)).toEqual([
      "link.db",
      "data/damaged.db",
      "data/healthy.db",
    ])
  })

  it("has the help of one place: what is examined, and how exit codes compare", async ({ at }) => {
    const { stdout } = await at.seawall("doctor", "--help")
    expect(stdout).toContain("65 over 1 over 2 over 0")
    const { sentence } = await import("../../src/doctor/Subjects.ts")
    expect(stdout).toContain(sentence)
  })
})
