/** A unit test starts no process and no thread: what does is named `.process.test.ts` or `.live.test.ts`. */
import childProcess from "node:child_process"
import { syncBuiltinESMExports } from "node:module"
import workerThreads from "node:worker_threads"
import { expect } from "vitest"

const isAlone = !/\.(?:live|process)\.test\.ts$/.test(expect.getState().testPath ?? "")

const refuse = (what: string) =>
  function refused() {
    throw new Error(`a unit test must not start ${what}: name its file .process.test.ts or .live.test.ts`)
  }

if (isAlone) {
  for (const name of ["spawn", "spawnSync", "exec", "execSync", "execFile", "execFileSync", "fork"] as const) {
    Object.assign(childProcess, { [name]: refuse("a process") })
  }
  Object.assign(workerThreads, { Worker: refuse("a thread") })
  syncBuiltinESMExports()
}
