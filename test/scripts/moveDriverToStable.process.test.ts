/** The script that moves the driver to the import paths of stable Effect, on a driver of the test's own. */
import { afterEach, describe, expect, it } from "vitest"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-driver-"))
const driver = path.join(folder, "node_modules/@effect/sql-sqlite-node")
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }))

const given = (files: Readonly<Record<string, string>>) => {
  fs.mkdirSync(path.join(folder, "scripts"), { recursive: true })
  fs.mkdirSync(path.join(driver, "dist"), { recursive: true })
  fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({ type: "module" }))
  fs.copyFileSync(
    fileURLToPath(new URL("../../scripts/moveDriverToStable.js", import.meta.url)),
    path.join(folder, "scripts/moveDriverToStable.js"),
  )
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(driver, name), text)
  return () => spawnSync(process.execPath, ["scripts/moveDriverToStable.js"], { cwd: folder, encoding: "utf8" })
}
const read = (name: string) => fs.readFileSync(path.join(driver, name), "utf8")

const old = 'import * as Client from "effect/unstable/sql/SqlClient"\nimport { Effect } from "effect"\n'
const manifest = (version: string) => JSON.stringify({ version, peerDependencies: { effect: "^4.0.0-beta.102" } })

describe("the driver", () => {
  it("that is known is rewritten, says so in one line, and a second time changes nothing", () => {
    const run = given({ "package.json": manifest("4.0.0-beta.102"), "dist/a.js": old, "dist/a.d.ts": old })
    expect(run()).toMatchObject({
      status: 0,
      stdout: "@effect/sql-sqlite-node 4.0.0-beta.102: 2 import paths moved to stable Effect, peers removed\n",
    })
    for (const name of ["dist/a.js", "dist/a.d.ts"]) expect(read(name)).toBe(old.replace("unstable/", ""))
    expect(read("package.json")).not.toContain("peerDependencies")
    const before = fs.readdirSync(path.join(driver, "dist")).map((name) => read(`dist/${name}`))
    expect(run().status).toBe(0)
    expect(fs.readdirSync(path.join(driver, "dist")).map((name) => read(`dist/${name}`))).toEqual(before)
  })

  it("of another version is refused and left as it is", () => {
    const run = given({ "package.json": manifest("4.0.0"), "dist/a.js": old })
    const ended = run()
    expect(ended).toMatchObject({ status: 1, stdout: "" })
    expect(ended.stderr).toContain("knows version 4.0.0-beta.102, not 4.0.0")
    expect([read("package.json"), read("dist/a.js")]).toEqual([manifest("4.0.0"), old])
  })

  it("that is not there is said to be missing", () => {
    const run = given({})
    fs.rmSync(driver, { recursive: true })
    expect(run()).toMatchObject({ status: 1, stderr: "@effect/sql-sqlite-node: it is not installed; run npm ci\n" })
  })
})
