/**
 * Loaded before everything else in a test's process (`--import`): says at its end, in the file that COUNT_IN names, how many
 * threads and processes it started.
 */
import { channel } from "node:diagnostics_channel"
import * as fs from "node:fs"
import { isMainThread } from "node:worker_threads"

const file = process.env["COUNT_IN"]

export interface Counts {
  readonly workers: number
  readonly children: number
  /** Of the whole process at its end, Node's own too. */
  readonly threads: number
}

if (isMainThread && file !== undefined) {
  let workers = 0
  let children = 0
  process.on("worker", () => {
    workers += 1
  })
  channel("child_process").subscribe(() => {
    children += 1
  })
  process.on("exit", () => {
    const threads = fs.existsSync("/proc/self/task") ? fs.readdirSync("/proc/self/task").length : 0
    fs.writeFileSync(file, JSON.stringify({ workers, children, threads } satisfies Counts))
  })
}
