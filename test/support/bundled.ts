/**
 * Runs once before all tests: puts each program that they start, and all that it imports, into a few files, as a process
 * that loads 700 modules one by one takes four times as long to start. A process asks for the source, by its name, and is
 * given the bundle; what runs is the same, and `import.meta.url` is the source's own.
 *
 * What is published is tried as it is published: `test/package` starts it from the packed files.
 */
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { rolldown } from "rolldown"
import type { TestProject } from "vitest/node"

const root = fileURLToPath(new URL("../../", import.meta.url))
const cache = path.join(root, "node_modules/.cache/seawall")

const programs = [
  "src/cli/seawall",
  "src/wal/checkpointWorker",
  "src/sqlite/copies/backupProcess",
  "src/sqlite/copies/integrityProcess",
  "test/children/leaseRounds",
  "test/children/writesBeside",
  "test/crash/callers",
  "test/crash/engine",
  "test/crash/leader",
  "test/crash/named",
  "test/crash/proof",
]

const source = (program: string) => path.join(root, `${program}.ts`)

const asItself = {
  name: "import.meta.url is the source's own",
  transform: {
    filter: { id: /\/(?:src|test)\/[^?]*\.ts$/, code: "import.meta.url" },
    handler: (code: string, id: string) => code.replaceAll("import.meta.url", JSON.stringify(pathToFileURL(id).href)),
  },
}

/** Loaded into every process and thread (`--import`), whatever Node it is. */
const preload = (folder: string) => {
  const url = (file: string) => pathToFileURL(file).href
  const bundles = programs.map((program) => [url(source(program)), url(path.join(folder, `${program}.js`))])
  return `import * as module from "node:module"
const bundles = new Map(${JSON.stringify(bundles)})
module.registerHooks?.({
  resolve: (specifier, context, next) => {
    const resolved = next(specifier, context)
    const url = bundles.get(resolved.url)
    return url === undefined ? resolved : { ...resolved, url, format: "module" }
  },
})
`
}

/** Where it is follows from what it is: a run beside this one, of another state of the sources, keeps its own. */
const build = async () => {
  const bundled = await rolldown({
    input: Object.fromEntries(programs.map((program) => [program, source(program)])),
    platform: "node",
    external: "pg-native",
    plugins: [asItself],
  })
  const { output } = await bundled.generate({ entryFileNames: "[name].js", keepNames: true })
  await bundled.close()
  const files = output.flatMap((file) => (file.type === "chunk" ? [{ name: file.fileName, text: file.code }] : []))
  const content = createHash("sha256")
    .update(JSON.stringify([files, preload("")]))
    .digest("hex")
    .slice(0, 16)
  const folder = path.join(cache, content)
  for (const { name, text } of [...files, { name: "preload.mjs", text: preload(folder) }]) {
    const file = path.join(folder, name)
    fs.mkdirSync(path.dirname(file), { recursive: true })
    fs.writeFileSync(`${file}.${process.pid}`, text)
    fs.renameSync(`${file}.${process.pid}`, file)
  }
  return pathToFileURL(path.join(folder, "preload.mjs")).href
}

/** Every process and thread that the tests start inherits it. */
export default async (project: TestProject) => {
  const inherited = process.env["NODE_OPTIONS"] ?? ""
  const start = async () => {
    process.env["NODE_OPTIONS"] = `${inherited} --import=${await build()}`
  }
  process.env["NODE_COMPILE_CACHE"] = path.join(cache, "compiled")
  await start()
  project.onTestsRerun(start)
}
