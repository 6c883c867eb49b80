/**
 * One case of the benchmark, in a process of its own: one subject commits at a fixed rate (open loop: latency counts from
 * when the commit was due, so that a stall is seen by all that it held up) or as fast as it can (closed loop).
 *
 * Reads the case as JSON from its argument and prints its figures as one JSON line. Run by `bench.ts`.
 */
import { Effect, Exit, Layer, Logger, References, Scope } from "effect"
import { SqlClient } from "effect/sql"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { createRequire } from "node:module"
import { performance } from "node:perf_hooks"
import { DatabaseSync } from "node:sqlite"
import * as Database from "../../src/sqlite/Database.ts"
import { DatabaseControl } from "../../src/sqlite/DatabaseControl.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import { type Spread, spread, watchLoop } from "./figures.ts"

export type Subject =
  | "seawall thread"
  | "seawall inline"
  | "sqlite default"
  | "better-sqlite3 recipe"
  | "reference design"
  | "no checkpoint"
  | "no checkpoint, Seawall's client"

export interface Case {
  readonly name: string
  readonly subject: Subject
  readonly file: string
  readonly synchronous: "normal" | "full"
  readonly rows: number
  /** Commits a second; 0 = closed loop. */
  readonly rate: number
  readonly seconds: number
  readonly intervalSeconds: number
  /** Whether the open loop sleeps until a commit is due; default it asks again at each turn, and uses all of its core. */
  readonly sleeps?: boolean
  /** A foreign reader that holds its snapshot from one second of the run to another. */
  readonly reader?: readonly [from: number, to: number]
  /** Figures of parts of the run, in seconds from its start. */
  readonly windows?: Readonly<Record<string, readonly [from: number, to: number]>>
}

export interface Figures {
  readonly commitsPerSecond: number
  readonly commitsPerCpuSecond: number
  readonly commit: Spread
  readonly loop: Spread
  readonly windows: Readonly<Record<string, { readonly commit: Spread; readonly loop: Spread }>>
  readonly walPeakMb: number
  readonly checkpoints: { readonly n: number; readonly p50: number; readonly max: number }
  readonly shutdownMs: number
  readonly sound: boolean
  readonly lines: ReadonlyArray<string>
}

interface Subjected {
  readonly commit: (row: number) => Effect.Effect<unknown, unknown>
  readonly close: Effect.Effect<unknown, unknown>
  readonly checkpointMillis: ReadonlyArray<number>
  readonly lines: ReadonlyArray<string>
}

const statement = "UPDATE t SET n = n + 1, text = ? WHERE id = ?"
const text = "x".repeat(900)

/** What node:sqlite and better-sqlite3 have in common. */
interface Driver {
  readonly exec: (sql: string) => unknown
  readonly prepare: (sql: string) => { readonly run: (...values: Array<string | number>) => unknown }
  readonly close: () => unknown
}

const plain = (it: Case, driver: Driver, autocheckpoint: number, checkpoint?: () => boolean): Subjected => {
  driver.exec(
    `PRAGMA journal_mode = WAL; PRAGMA synchronous = ${it.synchronous}; PRAGMA wal_autocheckpoint = ${autocheckpoint}`,
  )
  const prepared = driver.prepare(statement)
  const checkpointMillis: Array<number> = []
  const timer = setInterval(() => {
    const start = performance.now()
    if (checkpoint?.() === true) checkpointMillis.push(performance.now() - start)
  }, it.intervalSeconds * 1000)
  return {
    commit: (row) => Effect.sync(() => prepared.run(text, row)),
    close: Effect.sync(() => {
      clearInterval(timer)
      driver.close()
    }),
    checkpointMillis,
    lines: [],
  }
}

/** What the client costs without any checkpoint: the difference to the raw driver is not the guard's. */
const unguarded = Effect.fnUntraced(function* (it: Case) {
  const scope = yield* Scope.make()
  const context = yield* Database.layer({ filename: it.file, durability: it.synchronous }).pipe(
    Layer.provideMerge(Logger.layer([])), // standard output is for the figures
    Layer.buildWithScope(scope),
  )
  const { autocheckpoint } = yield* Effect.provideContext(DatabaseControl, context)
  const { sql } = yield* Effect.provideContext(Database.Database, context)
  yield* autocheckpoint(0)
  return {
    commit: (row: number) => sql.unsafe(statement, [text, row]),
    close: Scope.close(scope, Exit.void),
    checkpointMillis: [],
    lines: [],
  } satisfies Subjected
})

const seawall = Effect.fnUntraced(function* (it: Case, thread: boolean) {
  const checkpointMillis: Array<number> = []
  const lines: Array<string> = []
  const capture = Logger.layer([
    Logger.make<unknown, void>(({ cause, fiber, logLevel, message }) => {
      const event = String(message)
      const annotations = fiber.getRef(References.CurrentLogAnnotations)
      if (event === "wal_checkpoint") checkpointMillis.push(Number(annotations["elapsed_ms"]))
      if (logLevel !== "Info")
        lines.push(`${event} ${JSON.stringify(annotations)} ${cause.reasons.length > 0 ? String(cause) : ""}`)
    }),
  ])
  const database = Database.layer({ filename: it.file, durability: it.synchronous })
  const below = thread
    ? Checkpointer.layerThread().pipe(Layer.provideMerge(database))
    : Checkpointer.layerInline().pipe(Layer.provideMerge(database))
  const scope = yield* Scope.make()
  const context = yield* WalGuard.layer({ interval: `${it.intervalSeconds} seconds` }).pipe(
    Layer.provideMerge(
      below as Layer.Layer<
        Database.Database | DatabaseControl | Checkpointer.Checkpointer | SqlClient.SqlClient,
        unknown
      >,
    ),
    Layer.provideMerge(capture),
    Layer.buildWithScope(scope),
  )
  const { sql } = yield* Effect.provideContext(Database.Database, context)
  return {
    commit: (row: number) => sql.unsafe(statement, [text, row]),
    close: Scope.close(scope, Exit.void),
    checkpointMillis,
    lines,
  } satisfies Subjected
})

const open = (it: Case): Effect.Effect<Subjected, unknown> => {
  switch (it.subject) {
    case "seawall thread":
      return seawall(it, true)
    case "seawall inline":
      return seawall(it, false)
    case "no checkpoint, Seawall's client":
      return unguarded(it)
    case "sqlite default":
      return Effect.sync(() => plain(it, new DatabaseSync(it.file), 1000))
    case "no checkpoint":
      return Effect.sync(() => plain(it, new DatabaseSync(it.file), 0))
    case "reference design":
      return Effect.sync(() => {
        const driver = new DatabaseSync(it.file)
        const passive = driver.prepare("PRAGMA wal_checkpoint(PASSIVE)")
        return plain(it, driver, 0, () => (passive.all(), true))
      })
    case "better-sqlite3 recipe":
      // Its documentation on checkpoint starvation: look at the size of the WAL every five seconds, and RESTART.
      return Effect.sync(() => {
        const require = createRequire(new URL("./peers/package.json", import.meta.url))
        const BetterSqlite3 = require("better-sqlite3") as new (
          file: string,
        ) => Driver & { pragma: (text: string) => unknown }
        const driver = new BetterSqlite3(it.file)
        return plain({ ...it, intervalSeconds: Math.min(it.intervalSeconds, 5) }, driver, 1000, () => {
          if (fs.statSync(`${it.file}-wal`).size < 4_000_000) return false
          driver.pragma("wal_checkpoint(RESTART)")
          return true
        })
      })
  }
}

interface Sample {
  readonly at: number
  readonly millis: number
}

const within = (samples: ReadonlyArray<Sample>, [from, to]: readonly [number, number]) =>
  spread(samples.filter(({ at }) => at >= from * 1000 && at < to * 1000).map(({ millis }) => millis))

const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** A Python process that holds a read transaction. */
const foreignReader = (it: Case, [from, to]: readonly [number, number]) =>
  spawn("python3", [
    "-c",
    `import sqlite3, time
time.sleep(${from})
c = sqlite3.connect(${JSON.stringify(it.file)}, isolation_level=None)
c.execute("BEGIN"); c.execute("SELECT count(*) FROM sqlite_schema").fetchall()
time.sleep(${to - from})
c.close()`,
  ])

/** Commits before the first one that is measured. */
const warming = 5_000

const measure = Effect.fnUntraced(function* (it: Case) {
  const subject = yield* open(it)
  // A program that has started: the thread of the one that has a thread is up, also with a part of a processor.
  yield* Effect.sleep(it.sleeps === true ? "4 seconds" : "1 second")
  for (let n = 0; n < warming; n++) yield* Effect.andThen(subject.commit(1), turn) // and whose code is compiled
  yield* Effect.sleep("1 second") // and whose share of the processor is whole again
  const commits: Array<Sample> = []
  let walPeak = 0
  const reader = it.reader === undefined ? undefined : foreignReader(it, it.reader)
  const start = performance.now()

  const loop = watchLoop()
  const sizes = setInterval(() => {
    walPeak = Math.max(walPeak, fs.statSync(`${it.file}-wal`, { throwIfNoEntry: false })?.size ?? 0)
  }, 20)

  const cpu = process.cpuUsage()
  let random = 1
  for (let n = 0; ; n++) {
    const due = it.rate === 0 ? performance.now() : start + (n * 1000) / it.rate
    if (performance.now() - start >= it.seconds * 1000) break
    while (performance.now() < due) yield* it.sleeps === true ? Effect.sleep("1 millis") : turn
    random = (random * 1103515245 + 12345) % 2147483648
    yield* subject.commit(1 + (random % it.rows))
    commits.push({ at: due - start, millis: performance.now() - due })
    if (it.rate === 0 && n % 20 === 0) yield* turn
  }
  const elapsed = (performance.now() - start) / 1000
  const { system, user } = process.cpuUsage(cpu)
  loop.stop()
  clearInterval(sizes)
  reader?.kill("SIGKILL")

  const closing = performance.now()
  yield* subject.close
  const shutdownMs = performance.now() - closing

  const after = new DatabaseSync(it.file)
  const [check] = after.prepare("PRAGMA quick_check").all()
  const [sum] = after.prepare("SELECT sum(n) AS n, count(*) AS rows FROM t").all()
  after.close()
  const all: readonly [number, number] = [0, Infinity]
  return {
    commitsPerSecond: commits.length / elapsed,
    commitsPerCpuSecond: commits.length / ((system + user) / 1e6),
    commit: within(commits, all),
    loop: within(loop.lags, all),
    windows: Object.fromEntries(
      Object.entries(it.windows ?? {}).map(([name, window]) => [
        name,
        { commit: within(commits, window), loop: within(loop.lags, window) },
      ]),
    ),
    walPeakMb: walPeak / 1e6,
    checkpoints: {
      n: subject.checkpointMillis.length,
      p50: spread(subject.checkpointMillis).p50,
      max: spread(subject.checkpointMillis).max,
    },
    shutdownMs,
    sound: check?.["quick_check"] === "ok" && sum?.["n"] === warming + commits.length && sum?.["rows"] === it.rows,
    lines: subject.lines,
  } satisfies Figures
})

const figures = await Effect.runPromise(measure(JSON.parse(process.argv[2] ?? "") as Case))
process.stdout.write(`${JSON.stringify(figures)}\n`)
