/**
 * Moves the installed driver, `@effect/sql-sqlite-node`, to the import paths of stable Effect.
 *
 * The newest driver on npm was made for a beta of Effect 4, in which `effect/sql` was still `effect/unstable/sql`. Its
 * code runs unchanged on stable Effect; only these paths are old. This script rewrites them in the installed files, and
 * deletes the driver's `peerDependencies`, because npm counts the peer of a bundled package as bundled and would leave
 * an empty `effect` folder inside a global installation. npm runs it after each change of `node_modules` of this
 * project (the `dependencies` life cycle script), never where Seawall is a dependency: the published package carries
 * the rewritten driver (`bundleDependencies`).
 *
 * It goes away, with `bundleDependencies`, when the driver has a release for stable Effect: the driver is then a peer.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const known = "4.0.0-beta.102"
const name = "@effect/sql-sqlite-node"
const folder = fileURLToPath(new URL(`../node_modules/${name}/`, import.meta.url))
const manifest = path.join(folder, "package.json")

const refuse = (/** @type {string} */ message) => {
  process.stderr.write(`${name}: ${message}\n`)
  process.exit(1)
}

if (!fs.existsSync(manifest)) refuse("it is not installed; run npm ci")
const { peerDependencies, ...driver } = JSON.parse(fs.readFileSync(manifest, "utf8"))
if (driver.version !== known) {
  refuse(`scripts/moveDriverToStable.js knows version ${known}, not ${driver.version}; read its header`)
}

const sources = fs
  .readdirSync(folder, { recursive: true, encoding: "utf8" })
  .filter((file) => /\.[jt]s$/.test(file))
  .map((file) => path.join(folder, file))

let moved = 0
for (const file of sources) {
  const text = fs.readFileSync(file, "utf8")
  const rewritten = text.replace(/(from ")effect\/unstable\//g, (_, from) => {
    moved++
    return `${from}effect/`
  })
  if (rewritten !== text) fs.writeFileSync(file, rewritten)
}
if (peerDependencies !== undefined) fs.writeFileSync(manifest, `${JSON.stringify(driver, null, 2)}\n`)
process.stdout.write(`${name} ${known}: ${moved} import paths moved to stable Effect, peers removed\n`)
