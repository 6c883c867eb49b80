/** Names that would steer a terminal or forge a line, through every command and every format of the log. */
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { quick, run } from "../support/Seawall.ts"

vi.setConfig({ testTimeout: 120_000 })

/** Colours, a line of its own, a CSI of one character, and text that reads backwards. */
const evil = "esc\u001B[31m\nFORGED level=ERROR\u009B2J\u202Etxt"

let folder = ""
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-printable-"))
})
afterEach(() => fs.rmSync(folder, { recursive: true }))

const create = (name: string) => {
  const database = new DatabaseSync(path.join(folder, name))
  database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
  database.close()
}

/** What a terminal would obey; a line break is one of those that a line ends with. */
// eslint-disable-next-line no-control-regex
const obeyed = /[\u0000-\u0009\u000B-\u001F\u007F-\u009F\u2028\u2029\u202A-\u202E\u2066-\u2069]/u

const expectClean = (what: string, text: string) => {
  expect([what, obeyed.exec(text)?.[0]]).toEqual([what, undefined])
  expect([what, text.split("\n").filter((line) => line.startsWith("FORGED"))]).toEqual([what, []])
}

it("are shown without their control characters by every command", async () => {
  create(`${evil}.db`)
  fs.writeFileSync(path.join(folder, `${evil}.text`), "no database")
  fs.writeFileSync(path.join(folder, `${evil}.yaml`), `engine:\n  database: "a\\e[31m\\nFORGED"\n  "k\\e[31m": 1\n`)
  const file = `${evil}.db`
  for (const args of [
    ["status", file],
    ["status", file, `${evil}.text`],
    ["doctor", file],
    ["checkpoint", file],
    ["restore", file, file],
    ["restore", file, `${evil}.new`, "--dry-run"],
    ["restore", file, `${evil}.new`],
    ["status", `${evil}.none`],
    ["doctor", `${evil}.text`],
    ["backup", `${evil}.none`],
    ["backup", file, `none-${evil}/copy`],
    ["guard", `${evil}.none`],
    ["run", "--config", `${evil}.yaml`],
    ["run", "--config", `${evil}.none`],
    ["inject-capital", "--db", `${evil}.none`, "--amount", "1", "--source-note", "bank"],
    ["status", "--interval-seconds", evil, file],
  ]) {
    const { stderr, stdout } = await run(args, { cwd: folder })
    expectClean(JSON.stringify(args), stdout + stderr)
  }
  // A script gets the name as it is, and may use it.
  const { stdout } = await run(["backup", file], { cwd: folder })
  expect(fs.existsSync(path.join(folder, stdout.replace(/\n$/, "")))).toBe(true)
})

it.each(["pretty", "logfmt", "json"])("are shown without them in the log: %s", async (format) => {
  const file = `${evil}.db`
  create(file)
  const named = `
import ctypes, sqlite3, sys
ctypes.CDLL(None).prctl(15, b"\\x1b[31m\\nFORGED", 0, 0, 0)
c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute("BEGIN"); c.execute("SELECT * FROM t").fetchall()
print("ready", flush=True); sys.stdin.read()`
  const reader = spawn("python3", ["-c", named, file], { cwd: folder, argv0: evil })
  await once(reader.stdout, "data")
  const args = ["run", "--db", file, "--duration-seconds", "3", "--log-format", format]
  const { code, stderr, stdout } = await run(args, { cwd: folder, env: quick })
  reader.kill("SIGKILL")
  expect(code).toBe(0)
  expect(stdout).toContain("wal_checkpoint blocked")
  expectClean(format, stdout + stderr)
})
