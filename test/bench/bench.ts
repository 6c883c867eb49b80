/**
 * The benchmark: every subject on every case, in processes of their own, in interleaved rounds, medians of the rounds.
 *
 *     npm run bench                  everything: about an hour
 *     npm run bench -- --quick       the case of the first table alone, once: under a minute
 *     npm run bench -- --rounds 5    more rounds
 *     npm run bench -- --only reader cases whose name contains this ("writes": the durable writes)
 *
 * Prints Markdown and writes bench.json beside it (`--json FILE`). Absolute times belong to the machine and its load:
 * compare rows of one run, and look at "no checkpoint" first, which is what the disk does by itself.
 */
import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { beside } from "./beside.ts"
import type { Case, Figures, Subject } from "./case.ts"
import type { DashboardCase, DashboardFigures } from "./dashboard.ts"
import type { WritesCase, WritesFigures, WritesSubject } from "./writes.ts"
import { cells, median, medianSpread, ms, type Spread, table } from "./figures.ts"

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    only: { type: "string", default: "" },
    json: { type: "string", default: "bench.json" },
  },
})

const here = path.dirname(fileURLToPath(import.meta.url))
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-bench-"))
process.on("exit", () => fs.rmSync(folder, { recursive: true, force: true }))
process.on("SIGINT", () => process.exit(130))

/** Rows of about a kilobyte: five megabytes fit every cache, five hundred fit none of SQLite's. */
const sizes = { "5 MB": 5_000, "500 MB": 480_000 } as const
type Size = keyof typeof sizes

const templates = new Map<Size, string>()

/** A database of this size, made once and copied for each case. */
const template = (size: Size) => {
  const known = templates.get(size)
  if (known !== undefined) return known
  const file = path.join(folder, `${sizes[size]}.db`)
  const database = new DatabaseSync(file)
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
    CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, text TEXT);
    WITH RECURSIVE i (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < ${sizes[size]})
    INSERT INTO t SELECT x, 0, hex(zeroblob(450)) FROM i`)
  database.close()
  templates.set(size, file)
  return file
}

const all: ReadonlyArray<Subject> = [
  "seawall thread",
  "seawall inline",
  "sqlite default",
  "better-sqlite3 recipe",
  "reference design",
  "no checkpoint",
]

interface Planned extends Omit<Case, "file" | "subject" | "rows"> {
  readonly size: Size
  readonly subjects: ReadonlyArray<Subject>
}

const seconds = values.quick ? 4 : 10
const base = { seconds, intervalSeconds: 1, subjects: all } as const

const openLoop = (["normal", "full"] as const).flatMap((synchronous) =>
  (["500 MB", "5 MB"] as const).flatMap((size) =>
    [10_000, 2_000].map((rate): Planned => ({
      ...base,
      name: `${size}, ${rate} commits/s, ${synchronous}`,
      size,
      rate,
      synchronous,
    })),
  ),
)

const closedLoop: Planned = {
  ...base,
  subjects: [...all, "no checkpoint, Seawall's client"],
  name: "500 MB, closed loop, normal",
  size: "500 MB",
  rate: 0,
  synchronous: "normal",
}

/** A foreign reader from second 3 to second 33; then ten seconds of catching up. */
const held: Planned = {
  ...base,
  name: "foreign reader for 30 s, 500 MB, 2000 commits/s, normal",
  size: "500 MB",
  rate: 2_000,
  synchronous: "normal",
  seconds: 45,
  reader: [3, 33],
  windows: { held: [4, 33], "10 s after": [33, 43] },
}

const planned = (values.quick ? openLoop.slice(0, 1) : [...openLoop, closedLoop, held]).filter(({ name }) =>
  name.includes(values.only),
)
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3))

const runCase = (plan: Planned, subject: Subject): Figures => {
  const file = path.join(folder, "case.db")
  for (const suffix of ["", "-wal", "-shm"]) fs.rmSync(`${file}${suffix}`, { force: true })
  fs.copyFileSync(template(plan.size), file)
  execFileSync("sync")
  const { size, subjects: _, ...rest } = plan
  const it: Case = { ...rest, subject, file, rows: sizes[size] }
  const ended = spawnSync(process.execPath, [path.join(here, "case.ts"), JSON.stringify(it)], {
    encoding: "utf8",
    maxBuffer: 1e9,
    timeout: (plan.seconds + 120) * 1000,
  })
  if (ended.status !== 0) throw new Error(`${plan.name}, ${subject}: ${ended.stderr}`)
  return JSON.parse(ended.stdout) as Figures
}

/** The median of each figure by itself. */
const medians = (runs: ReadonlyArray<Figures>): Figures => {
  const of = (get: (run: Figures) => number) => median(runs.map(get))
  const spread = (get: (run: Figures) => Spread) => medianSpread(runs.map(get))
  return {
    commitsPerSecond: of((run) => run.commitsPerSecond),
    commitsPerCpuSecond: of((run) => run.commitsPerCpuSecond),
    commit: spread((run) => run.commit),
    loop: spread((run) => run.loop),
    windows: Object.fromEntries(
      Object.keys(runs[0]?.windows ?? {}).map((name) => [
        name,
        { commit: spread((run) => run.windows[name]!.commit), loop: spread((run) => run.windows[name]!.loop) },
      ]),
    ),
    walPeakMb: of((run) => run.walPeakMb),
    checkpoints: {
      n: of((run) => run.checkpoints.n),
      p50: of((run) => run.checkpoints.p50),
      max: of((run) => run.checkpoints.max),
    },
    shutdownMs: of((run) => run.shutdownMs),
    sound: runs.every(({ sound }) => sound),
    lines: runs.flatMap(({ lines }) => lines),
  }
}

const columns = [
  "who checkpoints",
  "commit p50 / p99 / p99.9 / max ms",
  "event loop p50 / p99 / p99.9 / max ms",
  "WAL peak MB",
  "checkpoint p50 / max ms",
  "commits/s",
  "commits per CPU s",
  "shutdown ms",
  "sound",
]
const rows = (results: ReadonlyArray<readonly [Subject, Figures]>) =>
  results.flatMap(([subject, it]) => [
    [
      subject,
      cells(it.commit),
      cells(it.loop),
      it.walPeakMb.toFixed(1),
      it.checkpoints.n === 0 ? "" : `${ms(it.checkpoints.p50)} / ${ms(it.checkpoints.max)}`,
      Math.round(it.commitsPerSecond),
      Math.round(it.commitsPerCpuSecond),
      ms(it.shutdownMs),
      it.sound ? "yes" : "NO",
    ],
    ...Object.entries(it.windows).map(([name, window]) => [
      `… ${name}`,
      cells(window.commit),
      cells(window.loop),
      ...Array.from({ length: 6 }, () => ""),
    ]),
  ])

if (!fs.existsSync(path.join(here, "peers/node_modules"))) {
  process.stderr.write("installing the peers of the benchmark\n")
  execFileSync("npm", ["ci"], { cwd: path.join(here, "peers"), stdio: ["ignore", "ignore", "inherit"] })
}

const collected: Array<{ readonly name: string; readonly results: ReadonlyArray<readonly [Subject, Figures]> }> = []
for (const plan of planned) {
  const runs = new Map<Subject, Array<Figures>>(plan.subjects.map((subject) => [subject, []]))
  for (let round = 1; round <= rounds; round++) {
    for (const [subject, figures] of runs) {
      process.stderr.write(`${plan.name}: ${subject}, round ${round} of ${rounds}\n`)
      figures.push(runCase(plan, subject))
    }
  }
  const results = [...runs].map(([subject, figures]) => [subject, medians(figures)] as const)
  collected.push({ name: plan.name, results })
  process.stdout.write(`\n### ${plan.name}\n\n${table(columns, rows(results))}\n`)
}

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
const hasCompiler = spawnSync("cc", ["--version"]).status === 0
if (!hasCompiler) process.stderr.write("without a C compiler (cc) there is no slow disk: its cases are left out\n")

const plannedWrites = (hasCompiler ? [false, true] : [false])
  .flatMap((slowly): ReadonlyArray<PlannedWrites> => {
    const disk = slowly ? ", 2 ms slower syncs" : ""
    const writesFor = { slowly, seconds: values.quick ? 2 : 5 }
    return [
      ...callers.map((n) => ({ ...writesFor, name: `writes, ${n} callers${disk}`, callers: n, rate: 0 })),
      ...rates.map((rate) => ({ ...writesFor, name: `writes, ${rate}/s${disk}`, callers: 0, rate })),
    ]
  })
  .filter(({ name }) => name.includes(values.only) && (!values.quick || values.only !== ""))

/** The disk whose syncs take longer, as a library to preload. */
const slowDisk = () => {
  const library = path.join(folder, "slowDisk.so")
  if (!fs.existsSync(library)) {
    execFileSync("cc", ["-shared", "-fPIC", "-O2", "-o", library, path.join(here, "slowDisk.c"), "-ldl"])
  }
  return library
}

const runWrites = ({ name, slowly, ...plan }: PlannedWrites, subject: WritesSubject): WritesFigures => {
  const file = path.join(folder, "writes.db")
  for (const suffix of ["", "-wal", "-shm"]) fs.rmSync(`${file}${suffix}`, { force: true })
  const it: WritesCase = { ...plan, subject, file }
  const ended = spawnSync(process.execPath, [path.join(here, "writes.ts"), JSON.stringify(it)], {
    encoding: "utf8",
    env: { ...process.env, ...(slowly ? { LD_PRELOAD: slowDisk() } : {}) },
    timeout: 300_000,
  })
  if (ended.status !== 0) throw new Error(`${name}, ${subject}: ${ended.stderr}`)
  return JSON.parse(ended.stdout) as WritesFigures
}

const writesResults = plannedWrites.map((plan) => {
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
  process.stdout.write(`\n### ${plan.name}\n\n${table(header, lines)}\n`)
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
const overhead = !values.quick && "writes, overhead".includes(values.only) ? measureOverhead() : []
if (overhead.length > 0) {
  const raw = overhead[0]![1]
  const lines = overhead.map(([floor, micros]) => [floor, micros.toFixed(1), (micros / raw).toFixed(2)])
  process.stdout.write(`\n### writes, overhead of one at NORMAL\n\n${table(["floor", "µs", "ratio"], lines)}\n`)
}

/** A thousand idle guards in one process: what each costs in memory, and whether anything wakes. */
const idle = (): { readonly guards: number; readonly kilobytesEach: number; readonly cpuMillisPerSecond: number } => {
  const ended = spawnSync(process.execPath, ["--expose-gc", path.join(here, "idle.ts")], { encoding: "utf8" })
  if (ended.status !== 0) throw new Error(ended.stderr)
  return JSON.parse(ended.stdout) as ReturnType<typeof idle>
}
const idleGuards = !values.quick && "idle guards".includes(values.only) ? idle() : undefined
if (idleGuards !== undefined) {
  const { cpuMillisPerSecond, guards, kilobytesEach } = idleGuards
  process.stdout.write(
    `\n### ${guards} idle guards\n\n${kilobytesEach.toFixed(0)} KB and ${(cpuMillisPerSecond / guards).toFixed(4)} ms of CPU a second each\n`,
  )
}

const wantsBeside = !values.quick && "beside a Python writer".includes(values.only)
const besideResults = wantsBeside ? await beside({ folder, rounds, seconds: 30 }) : []

/** The same writer without a dashboard, with one, and with pages that listen. */
const dashboards = { "no dashboard": undefined, "0 pages": 0, "50 pages": 50 } as const

const runDashboard = (pages: number | undefined): DashboardFigures => {
  const it: DashboardCase = { pages, rate: 2_000, seconds: 20 }
  const ended = spawnSync(process.execPath, [path.join(here, "dashboard.ts"), JSON.stringify(it)], { encoding: "utf8" })
  if (ended.status !== 0) throw new Error(ended.stderr)
  return JSON.parse(ended.stdout) as DashboardFigures
}
const measureDashboards = () => {
  const runs = Object.entries(dashboards).map(([name, pages]) => ({
    name,
    pages,
    figures: new Array<DashboardFigures>(),
  }))
  for (let round = 1; round <= rounds; round++) {
    for (const { figures, name, pages } of runs) {
      process.stderr.write(`dashboard, 2000 commits/s: ${name}, round ${round} of ${rounds}\n`)
      figures.push(runDashboard(pages))
    }
  }
  return runs.map(({ figures, name }) => ({
    name,
    commit: medianSpread(figures.map(({ commit }) => commit)),
    loop: medianSpread(figures.map(({ loop }) => loop)),
    ticks: median(figures.map(({ ticks }) => ticks)),
    rssMb: median(figures.map(({ rssMb }) => rssMb)),
  }))
}
const dashboardResults = !values.quick && "dashboard, 2000 commits/s".includes(values.only) ? measureDashboards() : []
if (dashboardResults.length > 0) {
  const lines = dashboardResults.map(({ commit, loop, name, rssMb, ticks }) => [
    name,
    cells(commit),
    cells(loop),
    ticks,
    rssMb.toFixed(0),
  ])
  const header = ["who watches", "commit p50 / p99 / p99.9 / max ms", "event loop, the same", "ticks heard", "MB"]
  process.stdout.write(`\n### dashboard, 2000 commits/s\n\n${table(header, lines)}\n`)
}

fs.writeFileSync(
  values.json,
  `${JSON.stringify({ node: process.version, cpus: os.cpus().length, rounds, collected, writes: writesResults, overhead, idleGuards, dashboards: dashboardResults, beside: besideResults }, null, 2)}\n`,
)
const isSound =
  collected.every(({ results }) => results.every(([, { sound }]) => sound)) &&
  besideResults.every(({ sound }) => sound) &&
  writesResults.every(({ results }) => results.every(({ sound }) => sound))
if (!isSound) process.exitCode = 1
