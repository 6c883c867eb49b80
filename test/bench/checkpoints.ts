/** Who checkpoints, and how: every subject on every case of open and closed loops, and under a foreign reader. */
import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { Case, Figures, Subject } from "./case.ts"
import { cells, median, medianSpread, ms, type Spread, table } from "./figures.ts"
import { folder, here, rounds, show, values } from "./options.ts"

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

export interface Planned extends Omit<Case, "file" | "subject" | "rows"> {
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

/** How the process of a case is started. */
interface Started {
  readonly under: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
}

export const runCase = (plan: Planned, subject: Subject, { env, under }: Started = { under: [], env: {} }): Figures => {
  const file = path.join(folder, "case.db")
  for (const suffix of ["", "-wal", "-shm"]) fs.rmSync(`${file}${suffix}`, { force: true })
  fs.copyFileSync(template(plan.size), file)
  execFileSync("sync")
  const { size, subjects: _, ...rest } = plan
  const it: Case = { ...rest, subject, file, rows: sizes[size] }
  const [program = "", ...words] = [...under, process.execPath, path.join(here, "case.ts"), JSON.stringify(it)]
  const ended = spawnSync(program, words, {
    encoding: "utf8",
    env: { ...process.env, ...env },
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

export const checkpoints = () => {
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
    show(plan.name, table(columns, rows(results)))
  }
  return collected
}
