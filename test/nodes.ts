/**
 * The unit suite and a session on the newest Node of each line that Seawall supports, each from npm, in a folder of its own:
 * `npm run nodes`, or `npm run nodes -- 22` for one of them.
 */
import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const lines = process.argv.length > 2 ? process.argv.slice(2) : ["22", "24", "26"]

let failed = 0
for (const line of lines) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-node-"))
  try {
    fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({ private: true, allowScripts: { node: true } }))
    execFileSync("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error", `node@${line}`], { cwd: folder })
    const node = path.join(folder, "node_modules/.bin/node")
    const start = Date.now()
    const run = (...args: ReadonlyArray<string>) =>
      spawnSync(node, args, { cwd: root, encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } })
    const version = run("--version").stdout.trim()
    const unit = run(
      "--disable-warning=ExperimentalWarning",
      "node_modules/vitest/vitest.mjs",
      "run",
      "--exclude",
      "**/*.{live,process}.test.ts",
    )
    const database = path.join(folder, "session.db")
    const session = run("src/main.ts", "run", "--duration-seconds", "1", "--dashboard-port", "0", "--db", database)
    const isQuiet = session.status === 0 && session.stderr === "" && !/level=(?:WARN|ERROR|FATAL)/.test(session.stdout)
    const tests = /^\s*Tests\s.*$/m.exec(unit.stdout)?.[0].trim() ?? unit.stderr
    const seconds = Math.round((Date.now() - start) / 1000)
    console.log(
      `Node ${version}: ${tests}; a session ${isQuiet ? "ran" : `FAILED:\n${session.stdout}${session.stderr}`} (${seconds} s)`,
    )
    if (unit.status !== 0) console.log(unit.stdout, unit.stderr)
    if (unit.status !== 0 || !isQuiet) failed += 1
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}
process.exitCode = failed === 0 ? 0 : 1
