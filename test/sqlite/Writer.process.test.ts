/** Which system calls make a write durable, and on which thread: a real process under `strace`. */
import { describe, expect, it } from "vitest"
import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const hasStrace = spawnSync("strace", ["--version"]).status === 0

/** `thread word call` for each word of the program and each sync of the WAL that began after it. */
const trace = () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-strace-"))
  try {
    const program = fileURLToPath(new URL("../children/writesBeside.ts", import.meta.url))
    const output = path.join(folder, "trace")
    const options = ["-f", "-y", "-qq", "-e", "trace=write,fsync,fdatasync", "-o", output]
    execFileSync("strace", [...options, process.execPath, program, path.join(folder, "test.db")])
    return fs.readFileSync(output, "utf8").split("\n")
  } finally {
    fs.rmSync(folder, { recursive: true })
  }
}

describe.skipIf(!hasStrace)("a commit", () => {
  it("of the writer is synced on another thread, and a plain one beside it by itself", () => {
    const lines = trace()
    const main = /^(\d+) /.exec(lines.find((line) => line.includes(`"writer\\n"`)) ?? "")?.[1]
    const syncs: Array<readonly [word: string, call: string, where: "main" | "pool"]> = []
    let word = ""
    for (const line of lines) {
      word = /write\(1<.*>, "(\w+)\\n"/.exec(line)?.[1] ?? word
      const [, thread, call] = /^(\d+) +(fsync|fdatasync)\(\d+<.*-wal>/.exec(line) ?? []
      if (word !== "" && word !== "end" && call !== undefined)
        syncs.push([word, call, thread === main ? "main" : "pool"])
    }
    const round = [
      ["writer", "fdatasync", "pool"],
      ["plain", "fsync", "main"],
      ["transaction", "fsync", "main"],
    ]
    expect(syncs).toEqual([...round, ...round, ...round])
  })
})
