/** What a run of the benchmark was asked for, and its folder, which goes away with the process. */
import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { put } from "./publish.ts"

export const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    only: { type: "string", default: "" },
    json: { type: "string", default: "bench.json" },
    markdown: { type: "boolean", default: false },
  },
})

export const here = path.dirname(fileURLToPath(import.meta.url))
export const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-bench-"))
process.on("exit", () => fs.rmSync(folder, { recursive: true, force: true }))
process.on("SIGINT", () => process.exit(130))

/** Shows a part of the results; with `--markdown` it also replaces the same part of docs/benchmarks.md. */
export const show = (name: string, text: string): void => {
  const part = `### ${name}\n\n${text}`
  process.stdout.write(`\n${part}\n`)
  if (values.markdown) put("benchmarks.md", name, part)
}

export const rounds = Number(values.rounds ?? (values.quick ? 1 : 3))

const hasCompiler = spawnSync("cc", ["--version"]).status === 0
if (!hasCompiler) process.stderr.write("without a C compiler (cc) there is no slow disk: its cases are left out\n")

/** The disk whose syncs take longer, as a library to preload; none without a compiler. */
export const slowDisk = (): string | undefined => {
  if (!hasCompiler) return undefined
  const library = path.join(folder, "slowDisk.so")
  if (!fs.existsSync(library)) {
    execFileSync("cc", ["-shared", "-fPIC", "-O2", "-o", library, path.join(here, "slowDisk.c"), "-ldl"])
  }
  return library
}
