/** The guard with its real thread, real files and other programs. Real time, and waits for the event. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Option, Scope } from "effect"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import * as Database from "../../src/sqlite/Database.ts"
import * as WalFile from "../../src/sqlite/outside/WalFile.ts"
import { say } from "../../src/sqlite/SqliteVersion.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import type * as WalGuard from "../../src/wal/WalGuard.ts"
import { foreignCheckpoints, foreignConnection, foreignReader } from "../support/ForeignReader.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { sizeOf } from "../support/files.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as GuardedDatabase from "../../src/wal/GuardedDatabase.ts"

const opened = Effect.fnUntraced(function* (
  options: WalGuard.WalGuardOptions & Pick<GuardedDatabase.GuardedDatabaseOptions, "checkpoints" | "durability">,
) {
  const folder = yield* TemporaryDatabase.folder
  const file = `${folder}/test.db`
  const scope = yield* Scope.make()
  const context = yield* GuardedDatabase.layer({ filename: file, durability: "normal", ...options }).pipe(
    Layer.provideMerge(Shutdown.layer()),
    Layer.provideMerge(LogCapture.layer),
    Layer.buildWithScope(scope),
  )
  const inside = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideContext(self, context)
  const { sql } = yield* inside(Database.Database)
  yield* sql`CREATE TABLE t (id INTEGER PRIMARY KEY, text BLOB)`
  const write = (bytes: number) => sql.unsafe("INSERT INTO t (text) VALUES (zeroblob(?))", [bytes])
  /** Writes on until there is such a line. */
  const untilLogged = (event: string) =>
    write(100).pipe(
      Effect.andThen(Effect.sleep("20 millis")),
      Effect.andThen(inside(LogCapture.logged(event))),
      Effect.repeat({ until: (lines) => lines.length > 0 }),
      Effect.timeout("15 seconds"),
    )
  return { folder, file, sql, write, inside, untilLogged, close: Scope.close(scope, Exit.void) }
})

describe("an inline checkpointer on an unsafe SQLite", () => {
  it.live("warns when another process has the file open, and only then", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const file = `${folder}/test.db`
      const pid = yield* foreignConnection(file, ["PRAGMA journal_mode = WAL", "CREATE TABLE t (a)"])
      yield* say("3.53.0", file)
      expect(yield* LogCapture.logged("sqlite version unsafe")).toEqual([])
      yield* say("3.51.2", `${folder}/other.db`)
      yield* say("3.51.2", file)
      const [alone, line] = yield* LogCapture.logged("sqlite version unsafe")
      expect([alone?.level, alone?.fields["others"]]).toEqual(["Info", "none"])
      expect(line?.level).toBe("Warn")
      expect(line?.fields).toMatchObject({ version: "3.51.2" })
      expect(line?.fields["others"]).toMatch(new RegExp(`^python3 -c import sqlite3.*\\(pid ${pid}\\)$`))
      expect(line?.fields["advice"]).toContain("3.51.3 or later")
    }).pipe(Effect.scoped, Effect.provide(LogCapture.layer)),
  )
})

describe("a guard with a thread", () => {
  it.live("names a foreign reader, goes on, and says when it is over", () =>
    Effect.gen(function* () {
      const { close, file, untilLogged } = yield* opened({ interval: "500 millis" })
      yield* Effect.scoped(
        Effect.gen(function* () {
          const pid = yield* foreignReader(file)
          const [line, ...more] = yield* untilLogged("wal_checkpoint blocked")
          expect(more).toEqual([])
          expect(line?.fields["outcome"]).toBe("ReaderBlocked")
          expect(line?.fields["blockers"]).toMatch(new RegExp(`^python3 -c import sqlite3.*\\(pid ${pid}, read`))
          expect(line?.fields["backlog_frames"]).toBeGreaterThan(0)
          expect(line?.fields["exposure_seconds"]).toBeGreaterThan(0)
        }),
      )
      expect(yield* untilLogged("wal_checkpoint unblocked")).toHaveLength(1)
      yield* close
    }).pipe(Effect.scoped),
  )

  it.live("names a foreign writer that keeps the WAL from being emptied at the end", () =>
    Effect.gen(function* () {
      const { close, file, inside, untilLogged } = yield* opened({ interval: "200 millis" })
      yield* untilLogged("wal_checkpoint")
      const pid = yield* foreignConnection(file, ["BEGIN IMMEDIATE"])
      yield* close
      const [line] = yield* inside(LogCapture.logged("wal_checkpoint truncate incomplete"))
      expect(line?.fields).toMatchObject({ outcome: "WriterBusy" })
      expect(line?.fields["blockers"]).toMatch(new RegExp(`^python3 -c import sqlite3.*\\(pid ${pid}, write\\)$`))
    }).pipe(Effect.scoped),
  )

  it.live("notices another program that checkpoints the same database", () =>
    Effect.gen(function* () {
      const { close, file, untilLogged } = yield* opened({ interval: "200 millis" })
      yield* untilLogged("wal_checkpoint")
      yield* foreignCheckpoints(file)
      const [line, ...more] = yield* untilLogged("wal_checkpoint by another connection")
      expect([line?.level, more]).toEqual(["Warn", []])
      yield* close
    }).pipe(Effect.scoped),
  )

  it.live("restarts the WAL again and again under a writer that does not pause, and loses nothing", () =>
    Effect.gen(function* () {
      const { close, folder, inside, sql, untilLogged, write } = yield* opened({ interval: "1 second", maxFrames: 500 })
      yield* untilLogged("wal_checkpoint") // the thread is up
      const { frames } = yield* inside(Checkpointer.Checkpointer)
      const before = (yield* sql.unsafe<{ n: number }>("SELECT count(*) AS n FROM t"))[0]?.n ?? 0
      let written = 0
      let length = 0
      let restarts = 0
      yield* Effect.gen(function* () {
        for (let n = 0; n < 50; n++) yield* write(100)
        written += 50
        const { log } = Option.getOrThrow(yield* frames)
        if (log < length) restarts++
        length = log
        yield* Effect.yieldNow
      }).pipe(Effect.repeat({ until: () => restarts >= 5 }), Effect.timeout("15 seconds"))
      expect(yield* sql.unsafe("SELECT count(*) FROM t").values).toEqual([[before + written]])
      expect(yield* sql.unsafe("PRAGMA integrity_check").values).toEqual([["ok"]])
      yield* close
      expect(fs.readdirSync(folder)).toEqual(["test.db"])
    }).pipe(Effect.scoped),
  )

  it.live("closes over a WAL of 100 MB with the event loop alive", () =>
    Effect.gen(function* () {
      const { close, file, folder, inside, write } = yield* opened({ interval: "1 hour", maxFrames: 0 })
      for (let n = 0; n < 100; n++) yield* write(1_000_000)
      expect(yield* sizeOf(`${file}-wal`)).toBeGreaterThan(100e6)
      let turns = 0
      const timer = setInterval(() => turns++, 5)
      yield* close
      clearInterval(timer)
      expect(turns).toBeGreaterThan(3)
      expect(fs.readdirSync(folder)).toEqual(["test.db"])
      const [line] = yield* inside(LogCapture.logged("wal_checkpoint"))
      expect(line?.fields).toMatchObject({ mode: "TRUNCATE", busy: 0, log_frames: 0 })
      expect(yield* inside(Effect.flatMap(Shutdown.Shutdown, ({ failures }) => failures))).toEqual([])
    }).pipe(Effect.scoped),
  )
})

describe("the file that a huge transaction leaves", () => {
  const megabyte = 1_000_000
  const shrinks = (file: string) =>
    sizeOf(`${file}-wal`).pipe(
      Effect.tap(() => Effect.sleep("20 millis")),
      Effect.repeat({ until: (bytes) => bytes < 20 * megabyte }),
      Effect.timeout("30 seconds"),
    )

  for (const checkpoints of ["thread", "inline"] as const) {
    it.live(
      `is cut when nothing is written for an interval, and after some intervals when something is: ${checkpoints}`,
      () =>
        Effect.gen(function* () {
          const { close, file, sql, write } = yield* opened({ interval: "300 millis", checkpoints })
          const huge = sql.withTransaction(Effect.repeat(write(megabyte), { times: 110 }))
          yield* huge
          expect(yield* sizeOf(`${file}-wal`)).toBeGreaterThan(100 * megabyte)
          yield* shrinks(file)
          const writing = yield* write(100).pipe(
            Effect.andThen(Effect.sleep("5 millis")),
            Effect.forever,
            Effect.forkChild,
          )
          yield* huge
          yield* shrinks(file)
          yield* Fiber.interrupt(writing)
          const [sum] = yield* sql.unsafe<{ n: number }>("SELECT count(*) AS n FROM t WHERE length(text) = 1000000")
          expect(sum?.n).toBe(222)
          yield* close
        }).pipe(Effect.scoped),
    )
  }
})

describe("the file of the WAL where each commit is synced", () => {
  it.live("has its length before commits need it, and what a crash would leave of it is whole", () =>
    Effect.gen(function* () {
      const { close, file, folder, sql, write } = yield* opened({ durability: "full", interval: "1 hour" })
      const wal = `${file}-wal`
      let written = 0
      const used = Effect.map(sql<{ log: number }>`PRAGMA wal_checkpoint(NOOP)`, ([row]) => (row?.log ?? 0) * 4120)
      yield* Effect.sync(() => void (written += 1)).pipe(
        Effect.andThen(write(100)),
        Effect.andThen(Effect.sleep("5 millis")),
        Effect.andThen(Effect.all([sizeOf(wal), used])),
        Effect.repeat({ until: ([size, frames]) => size > frames + 1_000_000 }),
        Effect.timeout("15 seconds"),
      )
      for (const suffix of ["", "-wal"]) fs.copyFileSync(file + suffix, `${folder}/copy.db${suffix}`)
      const left = Option.getOrThrow(yield* WalFile.read(`${folder}/copy.db-wal`))
      expect(left.recoverableFrames * 4120).toBe(yield* used)
      const copy = new DatabaseSync(`${folder}/copy.db`)
      expect(copy.prepare("SELECT count(*) AS n FROM t").get()).toEqual({ n: written })
      expect(copy.prepare("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" })
      copy.close()
      yield* write(3_000_000) // over and beyond the end that it was given
      expect(yield* sql`PRAGMA integrity_check`).toEqual([{ integrity_check: "ok" }])
      yield* close
      expect(yield* sizeOf(wal)).toBe(0)
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
  )
})
