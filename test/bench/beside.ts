/** `seawall guard` beside a Python program that writes: what it does to the log, and what the writer feels of it. */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { cells, median, medianSpread, type Spread, table } from "./figures.ts"
import { folder, rounds, show, values } from "./options.ts"

interface Figures {
  readonly commits: number
  readonly commit: Spread
  readonly walPeakMb: number
  readonly sound: boolean
  /** Whether the guard said that it cannot bound the WAL. */
  readonly saysSo: boolean
}

const writer = fileURLToPath(new URL("./beside.py", import.meta.url))
const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url))

const runOnce = async (file: string, rate: number, seconds: number, guarded: boolean): Promise<Figures> => {
  for (const suffix of ["", "-wal", "-shm"]) fs.rmSync(`${file}${suffix}`, { force: true })
  const database = new DatabaseSync(file)
  database.exec("PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, text TEXT)")
  database.close()
  const said: Array<string> = []
  const flags = ["guard", file, "--interval-seconds", "10", "--log-format", "json"]
  const guard = guarded ? spawn(process.execPath, [main, ...flags]) : undefined
  guard?.stdout.on("data", (chunk: Buffer) => said.push(chunk.toString()))
  if (guard !== undefined) await once(guard.stdout, "data") // it has opened the database
  const child = spawn("python3", [writer, file, String(rate), String(seconds)], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  let text = ""
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()))
  await once(child, "close")
  if (guard !== undefined) {
    guard.kill("SIGTERM")
    await once(guard, "close")
  }
  return { ...(JSON.parse(text) as Omit<Figures, "saysSo">), saysSo: said.join("").includes("cannot bound the WAL") }
}

const seconds = 30

export const beside = async () => {
  if (values.quick || !"beside a Python writer".includes(values.only)) return []
  if (spawnSync("python3", ["-c", "import sqlite3"]).status !== 0) {
    process.stderr.write("without Python and its sqlite3 there is no writer beside the guard: left out\n")
    return []
  }
  const file = path.join(folder, "beside.db")
  const results = []
  for (const [name, rate] of [
    ["500 commits/s", 500],
    ["without a pause", 0],
  ] as const) {
    const runs = [false, true].map((guarded) => ({ guarded, figures: new Array<Figures>() }))
    for (let round = 1; round <= rounds; round++) {
      for (const { figures, guarded } of runs) {
        process.stderr.write(`beside a Python writer, ${name}, ${guarded ? "guarded" : "alone"}, round ${round}\n`)
        figures.push(await runOnce(file, rate, seconds, guarded))
      }
    }
    for (const { figures, guarded } of runs) {
      results.push({
        name: `${name}, ${guarded ? "seawall guard beside it" : "alone"}`,
        commit: medianSpread(figures.map(({ commit }) => commit)),
        walPeakMb: median(figures.map(({ walPeakMb }) => walPeakMb)),
        commitsPerSecond: median(figures.map(({ commits }) => commits)) / seconds,
        says: figures.every(({ saysSo }) => saysSo) ? "cannot bound the WAL" : "",
        sound: figures.every(({ sound }) => sound),
      })
    }
  }
  const rows = results.map((it) => [
    it.name,
    Math.round(it.commitsPerSecond),
    cells(it.commit),
    it.walPeakMb.toFixed(1),
    it.says,
    it.sound ? "yes" : "NO",
  ])
  const columns = ["writer", "commits/s", "commit p50 / p99 / p99.9 / max ms", "WAL peak MB", "the guard says", "sound"]
  show("seawall guard beside a Python writer", table(columns, rows))
  return results
}
