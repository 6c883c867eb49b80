/**
 * The guard beside SQLite's default where something else uses the disk or the processor: pairs of runs, one after the
 * other, in each round, and the ratio of each round. The promise is that the guard is never the worse of the two.
 */
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Figures, Subject } from "./case.ts"
import { type Planned, runCase } from "./checkpoints.ts"
import { median, ms, table } from "./figures.ts"
import { folder, here, show, slowDisk, values } from "./options.ts"

/** What a run is started with, and what runs beside it. */
interface Condition {
  readonly name: string
  readonly plan: Omit<Planned, "name" | "subjects">
  /** What the guard is compared with; SQLite's default unless it says so. */
  readonly against?: Subject
  /** The command that starts the run. */
  readonly under?: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
  readonly beside?: () => ReadonlyArray<ChildProcess>
}

const seconds = 10
const base = { size: "500 MB", synchronous: "normal", seconds, intervalSeconds: 1 } as const
const calm = { ...base, rate: 2_000 } as const
const fast = { ...base, rate: 10_000 } as const

const quiet = { stdio: "ignore" } as const
const diskHog = () => [spawn("python3", [path.join(here, "diskHog.py"), path.join(folder, "hog")], quiet)]
const busyLoops = () => Array.from({ length: 2 }, () => spawn(process.execPath, ["-e", "for (;;) {}"], quiet))

/** A control group (version 1) with half of a core; none where that cannot be made. */
const halfACore = (): ReadonlyArray<string> | undefined => {
  const group = "/sys/fs/cgroup/cpu/seawall-bench"
  try {
    fs.mkdirSync(group, { recursive: true })
    fs.writeFileSync(`${group}/cpu.cfs_period_us`, "100000")
    fs.writeFileSync(`${group}/cpu.cfs_quota_us`, "50000")
    process.on("exit", () => fs.rmdirSync(group))
    return ["sh", "-c", `echo $$ > ${group}/cgroup.procs; exec "$@"`, "sh"]
  } catch {
    process.stderr.write("no control group for the processor can be made here: that case is left out\n")
    return undefined
  }
}

const conditions = (): ReadonlyArray<Condition> => {
  const library = slowDisk()
  const slower = (millis: number): ReadonlyArray<Condition> =>
    library === undefined
      ? []
      : [{ name: `syncs ${millis} ms slower`, plan: calm, env: { LD_PRELOAD: library, SLOWER_MS: `${millis}` } }]
  const quota = halfACore()
  return [
    { name: "quiet, 2000/s", plan: calm },
    { name: "quiet, 10000/s", plan: fast },
    { name: "busy disk, 2000/s", plan: calm, beside: diskHog },
    { name: "busy disk, 10000/s", plan: fast, beside: diskHog },
    { name: "two busy loops, 2000/s", plan: calm, beside: busyLoops },
    { name: "two busy loops, 10000/s", plan: fast, beside: busyLoops },
    { name: "one core, 5000/s", plan: { ...base, rate: 5_000, sleeps: true }, under: ["taskset", "-c", "0"] },
    ...(quota === undefined
      ? []
      : [{ name: "half a core, 1000/s", plan: { ...base, rate: 1_000, sleeps: true }, under: quota }]),
    ...slower(2),
    ...slower(20),
    {
      name: "foreign reader for 30 s",
      plan: { ...calm, seconds: 45, reader: [3, 33], windows: { held: [4, 33], after: [33, 43] } },
    },
    { name: "closed loop", plan: { ...base, rate: 0 }, against: "no checkpoint, Seawall's client" },
    {
      name: "full, 2000/s",
      plan: { ...calm, synchronous: "full", windows: { young: [0, 1], grown: [4, seconds] } },
    },
  ]
}

const columns = [
  "round",
  "commit p99.9 ms, other / Seawall",
  "ratio",
  "event loop p99.9 ms, other / Seawall",
  "ratio",
  "max ms, other / Seawall",
  "WAL peak MB",
  "commits/s",
]

const row = (name: string | number, other: Figures, own: Figures) => [
  name,
  `${ms(other.commit.p999)} / ${ms(own.commit.p999)}`,
  (own.commit.p999 / other.commit.p999).toFixed(2),
  `${ms(other.loop.p999)} / ${ms(own.loop.p999)}`,
  (own.loop.p999 / other.loop.p999).toFixed(2),
  `${ms(other.commit.max)} / ${ms(own.commit.max)}`,
  own.walPeakMb.toFixed(0),
  `${Math.round(other.commitsPerSecond)} / ${Math.round(own.commitsPerSecond)}`,
]

const windowLines = (pairs: ReadonlyArray<readonly [other: Figures, own: Figures]>, windows: ReadonlyArray<string>) =>
  windows.map((name) => {
    const of = (figures: Figures) => {
      const { commit } = figures.windows[name]!
      return `${ms(commit.p50)} / ${ms(commit.p999)}`
    }
    return `${name}, commit p50 / p99.9 ms of each round, other: ${pairs.map(([other]) => of(other)).join(", ")}; Seawall: ${pairs.map(([, own]) => of(own)).join(", ")}`
  })

/** Rounds of pairs, which take turns in who is first. */
export const contention = () => {
  if (!"contention".includes(values.only.split(":")[0] ?? "") || values.quick || values.only === "") return []
  const rounds = Number(values.rounds ?? 10)
  const wanted = values.only.split(":")[1] ?? ""
  return conditions()
    .filter(({ name }) => name.includes(wanted))
    .map(({ against = "sqlite default", beside = () => [], env = {}, name, plan, under = [] }) => {
      const pairs: Array<readonly [other: Figures, own: Figures]> = []
      for (let round = 1; round <= rounds; round++) {
        const run = (subject: Subject) => {
          process.stderr.write(`${name}: ${subject}, round ${round} of ${rounds}\n`)
          const neighbours = beside()
          try {
            return runCase({ ...plan, name, subjects: [] }, subject, { under, env })
          } finally {
            for (const neighbour of neighbours) neighbour.kill("SIGKILL")
          }
        }
        if (round % 2 === 0) {
          const own = run("seawall thread")
          pairs.push([run(against), own])
        } else pairs.push([run(against), run("seawall thread")])
      }
      const ratio = (get: (figures: Figures) => number) =>
        pairs.map(([other, own]) => get(own) / get(other)).toSorted((a, b) => a - b)
      const summary = (what: string, ratios: ReadonlyArray<number>) =>
        `${what}: median ${median(ratios).toFixed(2)}, worst ${ratios.at(-1)?.toFixed(2)}, above 1 in ${ratios.filter((it) => it > 1).length} of ${rounds}`
      const lines = [
        `${summary(
          "commit p99.9 to the other's",
          ratio(({ commit }) => commit.p999),
        )}; ${summary(
          "event loop",
          ratio(({ loop }) => loop.p999),
        )}; WAL at most ${Math.max(...pairs.map(([, own]) => own.walPeakMb)).toFixed(0)} MB`,
        ...windowLines(pairs, Object.keys(plan.windows ?? {})),
      ]
      const rows = pairs.map(([other, own], index) => row(index + 1, other, own))
      show(`contention: ${name} (other: ${against})`, `${table(columns, rows)}\n\n${lines.join("\n\n")}`)
      return { name, pairs, sound: pairs.every(([, own]) => own.sound) }
    })
}
