/** A terminal that goes away under a session: the system says SIGHUP, and every write to the terminal fails from then on. */
import { afterEach, beforeEach, expect, it } from "vitest"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as os from "node:os"
import * as path from "node:path"
import { inherited, main } from "../support/Seawall.ts"

let folder = ""
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-hangup-"))
})
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }))

/** Gives the command a terminal, and takes it away when it has shown its status line. */
const terminal = `
import os, pty, sys
pid, screen = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
seen = b""
while b"  ticks " not in seen:
    seen += os.read(screen, 65536)
os.close(screen)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`

it("ends it in order, and nothing is left behind", async () => {
  const args = ["-c", terminal, process.execPath, main, "run", "--db", "test.db", "--dashboard-port", "0"]
  const env = {
    ...inherited,
    SEAWALL_ENGINE_TICK_INTERVAL_SECONDS: "0.1",
    SEAWALL_STRATEGY_REQUOTE_INTERVAL_SECONDS: "0.1",
    SEAWALL_ENGINE_BACKUPS: "0",
  }
  const python = spawn("python3", args, { cwd: folder, env, stdio: ["ignore", "pipe", "inherit"] })
  let said = ""
  python.stdout.setEncoding("utf8").on("data", (text: string) => (said += text))
  await once(python, "close")
  expect(said).toBe("0\n")
  expect(fs.readdirSync(folder)).toEqual(["test.db"])
  const database = new DatabaseSync(path.join(folder, "test.db"), { readOnly: true })
  const state = Object.fromEntries(
    database
      .prepare("SELECT key, value FROM engine_state")
      .all()
      .map(({ key, value }) => [key, value]),
  )
  database.close()
  expect(state).toMatchObject({ engine_status: "HALTED", "halt.reason": "interrupted_sighup" })
})
