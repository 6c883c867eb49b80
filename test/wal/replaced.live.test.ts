/**
 * The file of a database, or its WAL, changes under a program that has it open: at every durability, with checkpoints on a
 * thread, inline, and over a client of the driver's own.
 */
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Option, Scope } from "effect"
import { TestClock } from "effect/testing"
import { SqlClient } from "effect/sql"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import * as Database from "../../src/sqlite/Database.ts"
import { Writer } from "../../src/sql/Writer.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import * as GuardedDatabase from "../../src/wal/GuardedDatabase.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"

/** A healthy database of another program, with one commit in its WAL, which was never closed. */
const other = (file: string) => {
  const database = new DatabaseSync(`${file}.made`)
  database.exec("PRAGMA journal_mode = WAL; CREATE TABLE other (a); INSERT INTO other VALUES ('another program')")
  for (const suffix of ["", "-wal"]) fs.copyFileSync(`${file}.made${suffix}`, `${file}.other${suffix}`)
  database.close()
  fs.rmSync(`${file}.made`)
}

const changes: Readonly<Record<string, (file: string) => void>> = {
  "the file is replaced by rename": (file) => fs.renameSync(`${file}.other`, file),
  "the file is removed": (file) => fs.rmSync(file),
  "the file is removed and made again": (file) => {
    fs.rmSync(file)
    fs.copyFileSync(`${file}.other`, file)
  },
  "the file and its WAL are moved away, and another database takes their names": (file) => {
    for (const suffix of ["", "-wal", "-shm"]) fs.renameSync(`${file}${suffix}`, `${file}.old${suffix}`)
    for (const suffix of ["", "-wal"]) fs.renameSync(`${file}.other${suffix}`, `${file}${suffix}`)
  },
  "the WAL is removed": (file) => fs.rmSync(`${file}-wal`),
  "the WAL and its index are removed": (file) => {
    for (const suffix of ["-wal", "-shm"]) fs.rmSync(`${file}${suffix}`)
  },
  "the index of its WAL is removed": (file) => fs.rmSync(`${file}-shm`),
  "the WAL is that of another database": (file) => {
    fs.rmSync(`${file}-wal`)
    fs.renameSync(`${file}.other-wal`, `${file}-wal`)
  },
}

/** The driver's own client has no `Writer`. */
const guarded = (how: string, file: string): Layer.Layer<GuardedDatabase.Provided, unknown> => {
  const [checkpoints, durability] = how.split(" ") as ["thread" | "inline", "durable" | "full" | "normal"]
  if (how !== "adopted") return GuardedDatabase.layer({ filename: file, checkpoints, durability })
  return WalGuard.layer().pipe(
    Layer.provideMerge(Checkpointer.layerInline()),
    Layer.provideMerge(Database.layerClient()),
    Layer.provideMerge(SqliteClient.layer({ filename: file })),
  ) as Layer.Layer<GuardedDatabase.Provided, unknown>
}

/**
 * What is in every file of the folder, but in the index of a WAL, which its users write to all the time. Another process reads
 * them: to close a file here would drop the locks of this one.
 */
const contentsOf = (folder: string) =>
  execFileSync("sh", ["-c", "sha256sum $(ls | grep -v -e -shm)"], { cwd: folder, encoding: "utf8" })

const opened = Effect.fnUntraced(function* (how: string) {
  const folder = yield* TemporaryDatabase.folder
  const file = `${folder}/app.db`
  other(file)
  const scope = yield* Scope.make()
  const below = Layer.provideMerge(Shutdown.layer(), LogCapture.layer)
  const context = yield* Layer.buildWithScope(Layer.provideMerge(guarded(how, file), below), scope)
  const inside = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideContext(self, context)
  yield* inside(SqlClient.SqlClient.use((sql) => sql`CREATE TABLE t (a)`))
  return { folder, file, inside, close: Scope.close(scope, Exit.void) }
})

const plain = SqlClient.SqlClient.use((sql) => sql`INSERT INTO t VALUES (1)`)
const ours = ["thread durable", "thread full", "thread normal", "inline durable", "inline full", "inline normal"]

describe.each(Object.entries(changes))("a database of which %s", (_, change) => {
  it.effect.each(ours)(
    "takes no further write within a second, and nothing that has its names now is touched: %s",
    (how) =>
      Effect.gen(function* () {
        const { close, file, folder, inside } = yield* opened(how)
        yield* inside(Effect.all([plain, Writer.use((writer) => writer.execute("INSERT INTO t VALUES (2)"))]))
        change(file)
        const before = contentsOf(folder)
        yield* TestClock.adjust("1 second")
        const writes = [
          plain,
          Writer.use((writer) => writer.execute("INSERT INTO t VALUES (3)")),
          Writer.use((writer) => writer.transaction(plain)),
          SqlClient.SqlClient.use((sql) => sql.withTransaction(plain)),
          Database.Database.use(({ durable }) => durable),
        ]
        for (const write of writes)
          expect(String(yield* inside(Effect.flip(write as Effect.Effect<void, unknown>)))).not.toBe("")
        const error = yield* inside(Database.Database.use(({ replaced }) => replaced))
        expect([error.reason, error.message]).toEqual([
          "Replaced",
          expect.stringContaining("is no longer the database"),
        ])
        yield* TestClock.adjust("10 minutes")
        expect(yield* inside(WalGuard.WalGuard.use((guard) => guard.last))).toEqual(Option.none())
        yield* close
        expect(contentsOf(folder)).toEqual(before)
        const lines = yield* inside(LogCapture.logged("database replaced"))
        expect(lines.map(({ level, fields }) => [level, fields["file"]])).toEqual([["Error", file]])
        expect(yield* inside(Effect.flatMap(Shutdown.Shutdown, ({ failures }) => failures))).toContain(
          "database replaced",
        )
        expect(yield* inside(LogCapture.logged("database left open"))).toHaveLength(1)
      }).pipe(Effect.scoped),
  )

  it.effect("is not checkpointed over a client of the driver's own, which acknowledges nothing as durable", () =>
    Effect.gen(function* () {
      const { close, file, inside } = yield* opened("adopted")
      yield* inside(plain)
      change(file)
      yield* TestClock.adjust("1 second")
      expect((yield* inside(Effect.flip(Database.Database.use(({ durable }) => durable)))).reason).toBe("Replaced")
      yield* TestClock.adjust("10 minutes")
      expect(yield* inside(WalGuard.WalGuard.use((guard) => guard.last))).toEqual(Option.none())
      expect(yield* inside(LogCapture.logged("database replaced"))).toHaveLength(1)
      yield* close
    }).pipe(Effect.scoped),
  )

  it.live("is not copied by the checkpoint thread, also before anything has looked", () =>
    Effect.gen(function* () {
      const { close, file, folder, inside } = yield* opened("thread normal")
      yield* inside(plain)
      change(file)
      const before = contentsOf(folder)
      const error = yield* inside(Effect.flip(Checkpointer.Checkpointer.use(({ run }) => run("PASSIVE"))))
      expect(error).toMatchObject({ _tag: "CheckpointError", reason: "Replaced" })
      yield* close
      expect(contentsOf(folder)).toEqual(before)
    }).pipe(Effect.scoped),
  )
})

describe("a database whose name is a symbolic link", () => {
  it.effect("is still the one that was opened when the link leads elsewhere", () =>
    Effect.gen(function* () {
      const { close, file, inside } = yield* Effect.gen(function* () {
        const folder = yield* TemporaryDatabase.folder
        fs.writeFileSync(`${folder}/real.db`, "")
        fs.symlinkSync("real.db", `${folder}/app.db`)
        const scope = yield* Scope.make()
        const layer = Layer.provideMerge(guarded("inline normal", `${folder}/app.db`), LogCapture.layer)
        const context = yield* Layer.buildWithScope(layer, scope)
        const inside = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideContext(self, context)
        return { file: `${folder}/app.db`, inside, close: Scope.close(scope, Exit.void) }
      })
      yield* inside(SqlClient.SqlClient.use((sql) => sql`CREATE TABLE t (a)`))
      fs.rmSync(file)
      fs.symlinkSync("nowhere.db", file)
      yield* TestClock.adjust("10 minutes")
      yield* inside(plain)
      expect(yield* inside(LogCapture.logged("database replaced"))).toEqual([])
      yield* close
    }).pipe(Effect.scoped),
  )
})
