/**
 * What a case of the proof owns: processes, and temporary folders with databases. Each goes with its use, and all of them
 * when this process ends or is interrupted, so that Ctrl+C leaves nothing behind.
 */
import { type ChildProcess, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

const processes = new Set<ChildProcess>()
const folders = new Set<string>()

/** Takes away what a case has mounted in its folder, the newest first. */
const unmount = (folder: string) => {
  if (!fs.existsSync("/proc/self/mountinfo")) return
  const points = fs
    .readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((point) => point.startsWith(`${folder}/`))
  for (const point of points.toReversed()) spawnSync("umount", ["-l", point])
}

const remove = (folder: string) => {
  unmount(folder)
  // A process that was just killed may still create a file there.
  fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
}

const letGo = () => {
  for (const child of processes) child.kill("SIGKILL")
  for (const folder of folders) remove(folder)
}

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const
const end = (signal: (typeof signals)[number]) => process.exit(128 + os.constants.signals[signal])

/** Signals are caught only while something is owned: a case that never turns the event loop could not answer them. */
const change = (step: () => void) => {
  const before = processes.size + folders.size
  step()
  const now = processes.size + folders.size
  if (before === 0 && now > 0) {
    process.on("exit", letGo)
    for (const signal of signals) process.on(signal, end)
  }
  if (before > 0 && now === 0) {
    process.off("exit", letGo)
    for (const signal of signals) process.off(signal, end)
  }
}

export const own = <A extends ChildProcess>(child: A): A => {
  change(() => processes.add(child))
  child.once("close", () => change(() => processes.delete(child)))
  return child
}

export const inFolder = async <A>(use: (folder: string) => Promise<A>): Promise<A> => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-proof-"))
  change(() => folders.add(folder))
  try {
    return await use(folder)
  } finally {
    remove(folder)
    change(() => folders.delete(folder))
  }
}
