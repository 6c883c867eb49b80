/** What idle databases cost under one `seawall guard`: processor and memory at rest, how long it takes to open and close them. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { DatabaseSync } from "node:sqlite"
import { table } from "./figures.ts"
import { folder, here, show, values } from "./options.ts"

/** Time to come to rest after the last database was opened: looks get rarer after half a minute. */
const settleSeconds = 35

/** One interval of the guard, so that the checkpoints of each database are in it once. */
const restSeconds = 60

export interface ManyDatabases {
  readonly databases: number
  readonly openSeconds: number
  /** Of one core. */
  readonly restPercent: number
  readonly megabytes: number
  readonly closeSeconds: number
  readonly exitCode: number | null
  /** Steps of the close that failed or were overdue. */
  readonly failedSteps: number
}

const make = (databases: number): ReadonlyArray<string> => {
  const into = path.join(folder, `many-${databases}`)
  fs.mkdirSync(into)
  return Array.from({ length: databases }, (_, n) => {
    const file = path.join(into, `${n}.db`)
    const database = new DatabaseSync(file)
    database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    database.close()
    return file
  })
}

const count = (text: string, event: RegExp) => text.match(new RegExp(event, "g"))?.length ?? 0

/** Seconds of processor time of a process, and the megabytes that it has in memory (Linux). */
const used = (pid: number) => {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8")
  const [user, system] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 13)
  const kilobytes = /VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
  return { cpuSeconds: (Number(user) + Number(system)) / 100, megabytes: Number(kilobytes) / 1024 }
}

const measure = async (databases: number): Promise<ManyDatabases> => {
  const files = make(databases)
  const start = performance.now()
  const main = path.join(here, "../../src/main.ts")
  const guard = spawn(process.execPath, [main, "guard", "--dashboard-port", "0", "--log-format", "logfmt", ...files])
  const ended = new Promise<number | null>((resolve) => guard.once("exit", resolve))
  let log = ""
  guard.stdout.setEncoding("utf8").on("data", (text: string) => (log += text))
  while (count(log, /wal_checkpoint started/) < databases && guard.exitCode === null) await sleep(20)
  const openSeconds = (performance.now() - start) / 1000
  await sleep(settleSeconds * 1000)
  const before = used(guard.pid ?? 0)
  await sleep(restSeconds * 1000)
  const after = used(guard.pid ?? 0)
  const closing = performance.now()
  guard.kill("SIGTERM")
  const exitCode = await ended
  return {
    databases,
    openSeconds,
    restPercent: ((after.cpuSeconds - before.cpuSeconds) / restSeconds) * 100,
    megabytes: after.megabytes,
    closeSeconds: (performance.now() - closing) / 1000,
    exitCode,
    failedSteps: count(log, /shutdown step (failed|overdue)/),
  }
}

export const manyDatabases = async () => {
  if (values.quick || !"many databases".includes(values.only)) return []
  const measured: Array<ManyDatabases> = []
  for (const databases of [10, 100, 500]) measured.push(await measure(databases))
  const rows = measured.map((it) => [
    it.databases,
    it.openSeconds.toFixed(1),
    `${it.restPercent.toFixed(1)} %`,
    it.megabytes.toFixed(0),
    it.closeSeconds.toFixed(1),
    it.exitCode ?? "none",
    it.failedSteps,
  ])
  const columns = ["databases", "open s", "of a core at rest", "MB", "close s", "exit code", "failed steps"]
  show("idle databases under one guard", table(columns, rows))
  return measured
}
