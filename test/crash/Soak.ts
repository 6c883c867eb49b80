/**
 * Hours in small: one engine that lives for the whole time and is looked at from outside each second, and one that is
 * killed or ended in order, and started again, at random moments. Both write a few hundred times a second while foreign
 * readers come and go.
 *
 * Every acknowledged write is there, and what the steady engine needs stays flat: memory, descriptors, threads and log of
 * the last third of the time against the second; the first is for warming up. Linux only, it reads `/proc`.
 */
import * as fs from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { median, table } from "../bench/figures.ts"
import { randomOf } from "../support/random.ts"
import { judge, nothing, plus, type Verdict } from "./database.ts"
import { type End, type EngineOptions, hangs, startEngine } from "./EngineProcess.ts"
import { lineage, onDatabase } from "./Lineage.ts"

export const hasProc = fs.existsSync("/proc/self/status")

/** What an engine has at one moment. `rss` and `wal` in bytes. */
export interface Sample {
  readonly rss: number
  readonly descriptors: number
  readonly threads: number
  readonly wal: number
}

/** 25 ms: 8 callers make 100 to 300 writes a second, as the disk allows, and 15 MB of database a minute at most. */
const pause = 25
/**
 * V8 collects garbage when it must: with a heap that may grow RSS goes up and down by half in minutes, which hides a leak
 * and looks like one. The engine's heap is 30 MB, and one that leaks ends with it.
 */
const smallHeap = ["--max-old-space-size=64", "--max-semi-space-size=4"]
const frames = 200
/** A reader that stays longer makes a longer log: some 3 MB a second. */
const readerSeconds = 1

const walLimit = 32 * 1024 * 1024
const frameBytes = 24 + 4096
/** SQLite cuts the file to its `journal_size_limit`, and the guard lets the WAL on top of it grow to `maxFrames`. */
export const mostWal = walLimit + frames * frameBytes

/**
 * For memory outside of V8's heap, which has its own bound above. Steady growth is seen when it comes to 1.2 times the RSS
 * over the whole time: the longer, the finer.
 */
const mostRssGrowth = 1.15
/** The longest stay of a reader makes the longest log, and comes by chance. */
const mostWalGrowth = { times: 1.5, bytes: 1024 * 1024 }

/** With fewer samples a third is too short to compare anything. */
const enough = 30

const thirds = (samples: ReadonlyArray<Sample>) => {
  const cut = (part: number) => Math.round((samples.length * part) / 3)
  return [samples.slice(0, cut(1)), samples.slice(cut(1), cut(2)), samples.slice(cut(2))] as const
}
const highest = (samples: ReadonlyArray<Sample>, of: keyof Sample) => Math.max(0, ...samples.map((it) => it[of]))
const medianRss = (samples: ReadonlyArray<Sample>) => median(samples.map(({ rss }) => rss))
const mb = (bytes: number) => (bytes / 1e6).toFixed(1)

/** What is not flat. */
export const problemsOf = (samples: ReadonlyArray<Sample>): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const most = highest(samples, "wal")
  if (most > mostWal) problems.push(`the WAL was ${mb(most)} MB long, at most ${mb(mostWal)} are allowed`)
  if (samples.length < enough) return problems
  const [, second, last] = thirds(samples)
  const grew = (what: string, before: number | string, after: number | string) =>
    problems.push(`not flat: ${what} ${before} in the second third, ${after} in the last`)
  const rss = [medianRss(second), medianRss(last)] as const
  if (rss[1] > mostRssGrowth * rss[0]) grew("median RSS in MB", mb(rss[0]), mb(rss[1]))
  for (const name of ["descriptors", "threads"] as const) {
    const [before, after] = [highest(second, name), highest(last, name)]
    if (after > before) grew(name, before, after)
  }
  const wal = [highest(second, "wal"), highest(last, "wal")] as const
  if (wal[1] > mostWalGrowth.times * wal[0] + mostWalGrowth.bytes) grew("longest log in MB", mb(wal[0]), mb(wal[1]))
  return problems
}

export const figuresOf = (samples: ReadonlyArray<Sample>): string => {
  const cells = (of: (samples: ReadonlyArray<Sample>) => number | string) =>
    [...thirds(samples), samples].map((part) => (part.length === 0 ? "-" : of(part)))
  return table(
    ["steady engine", "first third", "second third", "last third", "all"],
    [
      ["RSS MB, median", ...cells((part) => mb(medianRss(part)))],
      ["RSS MB, max", ...cells((part) => mb(highest(part, "rss")))],
      ["descriptors, max", ...cells((part) => highest(part, "descriptors"))],
      ["threads, max", ...cells((part) => highest(part, "threads"))],
      ["WAL MB, max", ...cells((part) => mb(highest(part, "wal")))],
    ],
  )
}

/**
 * What is open for a moment only is not in the lowest of these: under a reader the guard has `/proc/locks` open for a tenth
 * of the time, because its interval is so short here.
 */
const looks = 5

/** Only `stat` touches the WAL: opening and closing a file of SQLite outside of it drops its locks. */
const sample = async (pid: number, file: string): Promise<Sample | undefined> => {
  let [descriptors, threads] = [Infinity, Infinity]
  let rss = 0
  try {
    for (let look = 0; look < looks; look++) {
      if (look > 0) await sleep(100)
      const status = fs.readFileSync(`/proc/${pid}/status`, "utf8")
      const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1])
      rss = field("VmRSS") * 1024
      threads = Math.min(threads, field("Threads"))
      descriptors = Math.min(descriptors, fs.readdirSync(`/proc/${pid}/fd`).length)
    }
  } catch {
    return undefined // it has ended
  }
  if (Number.isNaN(rss)) return undefined // it is about to
  return { rss, descriptors, threads, wal: fs.statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0 }
}

const options = (seed: number): EngineOptions => ({ durability: "durable", seed, pause, frames })

/** The end of an engine that was told to end. */
const verdictOf = ({ code, early, hung, signal }: End, how: "SIGKILL" | "SIGTERM", name: string): Verdict => {
  const asTold = !early && (how === "SIGKILL" ? signal === "SIGKILL" : code === 0)
  const failures = [
    ...(hung ? [`not ready or not ended after ${hangs / 1000} s: ${name}`] : []),
    ...(asTold || hung
      ? []
      : [`ended ${early ? "by itself " : ""}with ${signal ?? `code ${code}`}, told to with ${how}: ${name}`]),
  ]
  return { ...nothing, runs: 1, hung: hung ? 1 : 0, failures }
}

export interface Soaked extends Verdict {
  readonly samples: ReadonlyArray<Sample>
  /** How often an engine was started on a database that another one had left. */
  readonly restarts: number
}

const steady = (until: number, seed: number, name: string) =>
  onDatabase({ seed, seconds: readerSeconds }, async (file) => {
    const engine = startEngine(file, options(seed), smallHeap)
    await engine.until("ready")
    const samples: Array<Sample> = []
    const goesOn = (now: number) => samples.length === 0 || now < until
    for (let next = performance.now(); goesOn(next) && !engine.hasEnded(); next += 1000) {
      await sleep(Math.max(0, next - performance.now()))
      const taken = await sample(engine.pid, file)
      if (taken !== undefined) samples.push(taken)
    }
    const end = await engine.end("SIGTERM")
    const verdict = plus(verdictOf(end, "SIGTERM", name), judge(file, end.last, name))
    const problems = problemsOf(samples).map((problem) => `${problem}: ${name}`)
    return { ...verdict, failures: [...verdict.failures, ...problems], samples }
  })

/** `longest`: the most milliseconds that an engine lives. */
const restless = async (until: number, longest: number, seed: number, name: string) => {
  const random = randomOf(seed)
  let restarts = 0
  let latest = ""
  const verdict = await lineage({
    seed,
    seconds: readerSeconds,
    goesOn: (n) => n < 2 || performance.now() < until, // one restart, however slow the machine
    next: async (file, n, before) => {
      const engine = startEngine(file, options(seed + n))
      await engine.until("ready")
      // It was the engine that recovered the WAL, not this look at what it found.
      const found = file === latest ? judge(file, before, name) : nothing
      restarts += file === latest ? 1 : 0
      latest = file
      await sleep(Math.max(0, Math.min(500 + random(longest - 500), until - performance.now())))
      const how = random(2) === 0 ? "SIGKILL" : "SIGTERM"
      const end = await engine.end(how)
      return { ...plus(found, verdictOf(end, how, name)), last: Math.max(before, end.last) }
    },
    finish: (file, last) => judge(file, last, name),
  })
  return { ...verdict, restarts }
}

export const soak = async ({ minutes, seed }: { readonly minutes: number; readonly seed: number }): Promise<Soaked> => {
  const millis = minutes * 60_000
  const until = performance.now() + millis
  const name = `soak, --minutes ${minutes} --seed ${seed}`
  // A quarter of the time at most, so that there are restarts in a short one too.
  const longest = Math.min(8000, Math.max(501, millis / 4))
  const [one, { restarts, ...many }] = await Promise.all([
    steady(until, seed, name),
    restless(until, longest, seed + 1, name),
  ])
  return { ...plus(one, many), samples: one.samples, restarts }
}
