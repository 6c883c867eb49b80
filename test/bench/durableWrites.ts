/** Writes that are durable: who acknowledges how many, and what the event loop feels of it. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { cells, median, medianSpread, table } from "./figures.ts"
import { folder, here, rounds, show, slowDisk, values } from "./options.ts"
import type { WritesCase, WritesFigures, WritesSubject } from "./writes.ts"

/** Who is asked for durable writes; one by one the slow disk would take minutes with many callers. */
const writers: ReadonlyArray<WritesSubject> = [
  "Seawall durable",
  "Seawall full",
  "Seawall normal",
  "better-sqlite3, batch, FULL",
  "better-sqlite3, batch, NORMAL",
  "node:sqlite, one by one, FULL",
  "node:sqlite, one by one, NORMAL",
  "better-sqlite3, one by one, FULL",
  "idle",
]

interface PlannedWrites extends Omit<WritesCase, "file" | "subject"> {
  readonly name: string
  readonly slowly: boolean
}

const callers = [1, 16, 128, 1024]
const rates = [2_000, 10_000]
const plannedWrites = (slowDisk() === undefined ? [false] : [false, true])
  .flatMap((slowly): ReadonlyArray<PlannedWrites> => {
    const disk = slowly ? ", 2 ms slower syncs" : ""
    const writesFor = { slowly, seconds: values.quick ? 2 : 5 }
    return [
      ...callers.map((n) => ({ ...writesFor, name: `writes, ${n} callers${disk}`, callers: n, rate: 0 })),
      ...rates.map((rate) => ({ ...writesFor, name: `writes, ${rate}/s${disk}`, callers: 0, rate })),
    ]
  })
  .filter(({ name }) => name.includes(values.only) && (!values.quick || values.only !== ""))

const runWrites = ({ name, slowly, ...plan }: PlannedWrites, subject: WritesSubject): WritesFigures => {
  const file = path.join(folder, "writes.db")
  for (const suffix of ["", "-wal", "-shm"]) fs.rmSync(`${file}${suffix}`, { force: true })
  const it: WritesCase = { ...plan, subject, file }
  const ended = spawnSync(process.execPath, [path.join(here, "writes.ts"), JSON.stringify(it)], {
    encoding: "utf8",
    env: { ...process.env, ...(slowly ? { LD_PRELOAD: slowDisk(), SLOWER_MS: "2" } : {}) },
    timeout: 300_000,
  })
  if (ended.status !== 0) throw new Error(`${name}, ${subject}: ${ended.stderr}`)
  return JSON.parse(ended.stdout) as WritesFigures
}

export const durableWrites = () =>
  plannedWrites.map((plan) => {
    const runs = writers.map((subject) => [subject, new Array<WritesFigures>()] as const)
    for (let round = 1; round <= rounds; round++) {
      for (const [subject, figures] of runs) {
        process.stderr.write(`${plan.name}: ${subject}, round ${round} of ${rounds}\n`)
        figures.push(runWrites(plan, subject))
      }
    }
    const results = runs.map(([subject, figures]) => ({
      subject,
      writesPerSecond: median(figures.map(({ writesPerSecond }) => writesPerSecond)),
      write: medianSpread(figures.map(({ write }) => write)),
      loop: medianSpread(figures.map(({ loop }) => loop)),
      sound: figures.every(({ sound }) => sound),
    }))
    const lines = results.map(({ loop, sound, subject, write, writesPerSecond }) => [
      subject,
      Math.round(writesPerSecond),
      cells(write),
      cells(loop),
      sound ? "yes" : "NO",
    ])
    const header = ["who writes", "acknowledged/s", "write p50 / p99 / p99.9 / max ms", "event loop, the same", "sound"]
    show(plan.name, table(header, lines))
    return { name: plan.name, results }
  })

/** One write on each floor, in microseconds. */
const measureOverhead = () => {
  const ended = spawnSync(
    process.execPath,
    [path.join(here, "overhead.ts"), path.join(folder, "overhead.db"), "1", String(rounds)],
    { encoding: "utf8" },
  )
  if (ended.status !== 0) throw new Error(ended.stderr)
  return JSON.parse(ended.stdout) as ReadonlyArray<readonly [floor: string, micros: number]>
}

export const writesOverhead = () => {
  const overhead = !values.quick && "writes, overhead".includes(values.only) ? measureOverhead() : []
  if (overhead.length > 0) {
    const raw = overhead[0]![1]
    const lines = overhead.map(([floor, micros]) => [floor, micros.toFixed(1), (micros / raw).toFixed(2)])
    show("writes, overhead of one at NORMAL", table(["floor", "µs", "ratio"], lines))
  }
  return overhead
}
