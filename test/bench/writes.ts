/**
 * One case of the durable writes, in a process of its own: callers that write one after another, each waiting for its
 * acknowledgement (closed loop), or writes that are due at a fixed rate (open loop; latency counts from when it was due).
 *
 * Reads the case as JSON from its argument and prints its figures as one JSON line. Run by `bench.ts`.
 */
import { Effect, Exit, Layer, Logger, Scope } from "effect"
import { createRequire } from "node:module"
import { performance } from "node:perf_hooks"
import { DatabaseSync } from "node:sqlite"
import type { Durability } from "../../src/sql/Durability.ts"
import { Writer } from "../../src/sql/Writer.ts"
import { type Spread, spread, watchLoop } from "./figures.ts"
import * as GuardedDatabase from "../../src/wal/GuardedDatabase.ts"

export type WritesSubject =
  | "Seawall durable"
  | "Seawall full"
  | "Seawall normal"
  | "node:sqlite, one by one, FULL"
  | "node:sqlite, one by one, NORMAL"
  | "better-sqlite3, one by one, FULL"
  | "better-sqlite3, batch, FULL"
  | "better-sqlite3, batch, NORMAL"
  | "idle"

export interface WritesCase {
  readonly subject: WritesSubject
  readonly file: string
  /** Closed loop with so many callers; 0 = open loop. */
  readonly callers: number
  /** Writes a second of the open loop. */
  readonly rate: number
  readonly seconds: number
}

export interface WritesFigures {
  readonly writesPerSecond: number
  /** From the asking, or from when it was due, to the acknowledgement. */
  readonly write: Spread
  readonly loop: Spread
  readonly sound: boolean
}

const table = "CREATE TABLE t (key TEXT PRIMARY KEY, n INTEGER NOT NULL, text TEXT) WITHOUT ROWID"
const upsert =
  "INSERT INTO t (key, n, text) VALUES (?, 1, ?) ON CONFLICT (key) DO UPDATE SET n = n + 1, text = excluded.text"
const text = "x".repeat(100)
const keys = 1000

interface Subjected {
  /** Calls back when the write is acknowledged. */
  readonly write: (key: string, done: () => void) => void
  readonly close: () => Promise<void>
}

/** What node:sqlite and better-sqlite3 have in common. */
interface Driver {
  readonly exec: (sql: string) => unknown
  readonly prepare: (sql: string) => { readonly run: (...values: ReadonlyArray<string>) => unknown }
  readonly close: () => unknown
}

const opened = (driver: Driver, level: "FULL" | "NORMAL"): Driver => {
  driver.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${level}`)
  return driver
}

const oneByOne = (driver: Driver): Subjected => {
  const statement = driver.prepare(upsert)
  return {
    write: (key, done) => {
      statement.run(key, text)
      setImmediate(done)
    },
    close: async () => void driver.close(),
  }
}

/** What people write by hand: everything that came in this turn of the event loop, in one transaction. */
const byHand = (driver: Driver): Subjected => {
  const statement = driver.prepare(upsert)
  const [begin, commit] = [driver.prepare("BEGIN IMMEDIATE"), driver.prepare("COMMIT")]
  let waiting: Array<readonly [key: string, done: () => void]> = []
  const flush = () => {
    const batch = waiting
    waiting = []
    begin.run()
    for (const [key] of batch) statement.run(key, text)
    commit.run()
    for (const [, done] of batch) done()
  }
  return {
    write: (key, done) => {
      if (waiting.push([key, done]) === 1) setImmediate(flush)
    },
    close: async () => void driver.close(),
  }
}

const seawall = async (file: string, durability: Durability): Promise<Subjected> => {
  const scope = Scope.makeUnsafe()
  const context = await GuardedDatabase.layer({ filename: file, durability, interval: "1 second" }).pipe(
    Layer.provideMerge(Logger.layer([])),
    Layer.buildWithScope(scope),
    Effect.runPromise,
  )
  const fork = Effect.runForkWith(context)
  const writer = await Effect.runPromise(Effect.provideContext(Writer, context))
  return {
    write: (key, done) => {
      fork(Effect.map(writer.execute(upsert, [key, text]), done))
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void)),
  }
}

const betterSqlite3 = (file: string): Driver => {
  const require = createRequire(new URL("./peers/package.json", import.meta.url))
  const BetterSqlite3 = require("better-sqlite3") as new (file: string) => Driver
  return new BetterSqlite3(file)
}

const open = async ({ file, subject }: WritesCase): Promise<Subjected> => {
  switch (subject) {
    case "Seawall durable":
      return seawall(file, "durable")
    case "Seawall full":
      return seawall(file, "full")
    case "Seawall normal":
      return seawall(file, "normal")
    case "node:sqlite, one by one, FULL":
      return oneByOne(opened(new DatabaseSync(file), "FULL"))
    case "node:sqlite, one by one, NORMAL":
      return oneByOne(opened(new DatabaseSync(file), "NORMAL"))
    case "better-sqlite3, one by one, FULL":
      return oneByOne(opened(betterSqlite3(file), "FULL"))
    case "better-sqlite3, batch, FULL":
      return byHand(opened(betterSqlite3(file), "FULL"))
    case "better-sqlite3, batch, NORMAL":
      return byHand(opened(betterSqlite3(file), "NORMAL"))
    case "idle":
      return { write: () => undefined, close: async () => undefined }
  }
}

const sleep = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

const measure = async (it: WritesCase): Promise<WritesFigures> => {
  const creating = new DatabaseSync(it.file)
  creating.exec(table)
  creating.close()
  const subject = await open(it)
  await sleep(1000) // a program that has started: the thread of the one that has a thread is up
  const latencies: Array<number> = []
  let asked = 0
  const write = (since: number, then: () => void) => {
    subject.write(`key ${asked++ % keys}`, () => {
      latencies.push(performance.now() - since)
      then()
    })
  }

  const loop = watchLoop()
  const start = performance.now()
  const end = start + it.seconds * 1000
  const idle = it.subject === "idle"
  if (idle) await sleep(it.seconds * 1000)
  else if (it.callers > 0) {
    await Promise.all(
      Array.from(
        { length: it.callers },
        () =>
          new Promise<void>((resolve) => {
            const again = () => (performance.now() < end ? write(performance.now(), again) : resolve())
            again()
          }),
      ),
    )
  } else {
    // A timer may be late, by what the event loop was blocked: then everything that was due is asked for at once.
    const due = (n: number) => start + (n * 1000) / it.rate
    while (due(asked) < end && performance.now() < end + 10_000) {
      while (due(asked) <= performance.now() && due(asked) < end) write(due(asked), () => undefined)
      await sleep(1)
    }
    while (latencies.length < asked) await sleep(1)
  }
  const elapsed = (performance.now() - start) / 1000
  loop.stop()
  await subject.close()

  const after = new DatabaseSync(it.file)
  const [check] = after.prepare("PRAGMA quick_check").all()
  const [sum] = after.prepare("SELECT coalesce(sum(n), 0) AS n FROM t").all()
  after.close()
  return {
    writesPerSecond: latencies.length / elapsed,
    write: spread(latencies),
    loop: spread(loop.lags.map(({ millis }) => millis)),
    sound: check?.["quick_check"] === "ok" && sum?.["n"] === latencies.length,
  }
}

const figures = await measure(JSON.parse(process.argv[2] ?? "") as WritesCase)
process.stdout.write(`${JSON.stringify(figures)}\n`)
