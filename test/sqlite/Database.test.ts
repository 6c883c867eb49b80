import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, FileSystem, Layer, Option, Result, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import * as Database from "../../src/sqlite/Database.ts"
import { DatabaseControl } from "../../src/sqlite/DatabaseControl.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { Writer } from "../../src/sql/Writer.ts"
import { reasonOf } from "../../src/sqlite/NativeError.ts"
import { list } from "../support/files.ts"
import { ownFields } from "../support/labels.ts"
import { scriptedDatabase } from "../support/ScriptedDisk.ts"
import { databaseContract } from "./databaseContract.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"

const pragma = (name: string) =>
  Database.Database.use(({ sql }) => Effect.map(sql.unsafe(`PRAGMA ${name}`).values, (rows) => rows[0]?.[0]))

/** Opens and closes, and returns why it could not be opened. */
const refusal = (options: Database.DatabaseOptions) =>
  Layer.build(Database.layer(options)).pipe(
    Effect.scoped,
    Effect.result,
    Effect.map((result) => (Result.isFailure(result) ? result.failure : undefined)),
  )

const write = (file: string, bytes: Uint8Array) =>
  FileSystem.FileSystem.use((fs) => fs.writeFile(file, bytes)).pipe(Effect.provide(NodeFileSystem.layer))

const read = (file: string) =>
  FileSystem.FileSystem.use((fs) => fs.readFile(file)).pipe(Effect.provide(NodeFileSystem.layer))

const sqlite = (file: string) =>
  Effect.acquireRelease(
    Effect.sync(() => new DatabaseSync(file)),
    (database) => Effect.sync(() => database.close()),
  )

databaseContract("of its own", scriptedDatabase({ durability: "normal" }))

describe("an open database", () => {
  it.effect("is in WAL mode, syncs each commit, bounds its WAL file, and leaves autocheckpoint alone", () =>
    Effect.gen(function* () {
      expect(yield* pragma("journal_mode")).toBe("wal")
      expect(yield* pragma("synchronous")).toBe(2)
      expect(yield* pragma("wal_autocheckpoint")).toBe(1000)
      expect(yield* pragma("busy_timeout")).toBe(1000)
    }).pipe(Effect.provide(TemporaryDatabase.layer())),
  )

  it.effect("takes its options", () =>
    Effect.gen(function* () {
      expect(yield* pragma("synchronous")).toBe(1)
      expect(yield* pragma("busy_timeout")).toBe(250)
      expect(yield* pragma("cache_size")).toBe(-4000)
    }).pipe(
      Effect.provide(
        TemporaryDatabase.layer({ durability: "normal", busyTimeout: "250 millis", cacheSize: "4000 KiB" }),
      ),
    ),
  )

  it.effect("named by a symbolic link is the file that it leads to, with its WAL beside that", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const fs = yield* FileSystem.FileSystem
      yield* fs.makeDirectory(`${folder}/data`)
      yield* Effect.scoped(sqlite(`${folder}/data/test.db`))
      yield* fs.symlink(`${folder}/data/test.db`, `${folder}/link.db`)
      yield* Effect.gen(function* () {
        const { durable, sql } = yield* Database.Database
        yield* sql`CREATE TABLE t (a)`
        yield* durable
        expect((yield* list(`${folder}/data`)).toSorted()).toEqual(["test.db", "test.db-shm", "test.db-wal"])
      }).pipe(Effect.provide(Database.layer({ filename: `${folder}/link.db` })))
      expect(yield* list(`${folder}/data`)).toEqual(["test.db"])
      expect((yield* list(folder)).toSorted()).toEqual(["data", "link.db"])
    }).pipe(Effect.provide(NodeFileSystem.layer)),
  )

  it.effect("creates its missing folders", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      expect(yield* refusal({ filename: `${folder}/a/b/test.db` })).toBeUndefined()
      expect(yield* list(`${folder}/a/b`)).toEqual(["test.db"])
    }),
  )

  it.effect("refuses to write when it was opened read-only", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* refusal({ filename: file })
      const failed = yield* Effect.flip(Database.Database.use(({ sql }) => sql`CREATE TABLE t (a)`)).pipe(
        Effect.provide(Database.layer({ filename: file, readonly: true })),
      )
      expect(reasonOf(failed)).toBe("ReadOnly")
    }),
  )

  it.effect("is the file that a link leads to, also one that is made only now", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      fs.symlinkSync("target.db", `${folder}/link.db`)
      yield* Effect.gen(function* () {
        const { sql } = yield* Database.Database
        yield* sql`CREATE TABLE t (a)`
        yield* Writer.use((writer) => writer.execute("INSERT INTO t VALUES (1)"))
        expect(yield* list(folder)).toEqual(["link.db", "target.db", "target.db-shm", "target.db-wal"])
      }).pipe(Effect.provide(Database.layer({ filename: `${folder}/link.db` })))
      expect(yield* list(folder)).toEqual(["link.db", "target.db"])
    }),
  )

  it.effect("does not go on with a WAL that was replaced, whatever was asked for", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* Effect.gen(function* () {
        const { sql } = yield* Database.Database
        const { resume } = yield* DatabaseControl
        yield* sql`CREATE TABLE t (a)`
        fs.rmSync(`${file}-wal`)
        const error = yield* Effect.flip(Writer.use((writer) => writer.execute("INSERT INTO t VALUES (1)")))
        expect(error).toMatchObject({ _tag: "DurabilityError", reason: "Replaced" })
        expect(Option.isNone(yield* resume)).toBe(true)
      }).pipe(Effect.provide(Database.layer({ filename: file, afterFailedSync: "resume" })))
    }),
  )

  it.effect("leaves its folder with the main file alone when it closes, without a word", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const log = yield* Layer.build(LogCapture.layer)
      yield* Database.Database.use(({ sql }) => sql`CREATE TABLE t (a)`).pipe(
        Effect.provide(Database.layer({ filename: file })),
        Effect.provideContext(log),
      )
      expect(yield* list(file.slice(0, -"/test.db".length))).toEqual(["test.db"])
      expect(yield* Effect.provideContext(LogCapture.logged("database sidecars left"), log)).toEqual([])
    }),
  )

  it.effect("warns when another process keeps the sidecars", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const log = yield* Layer.build(LogCapture.layer)
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(Database.layer({ filename: file }), scope).pipe(
        Effect.provideContext(log),
      )
      yield* Database.Database.use(({ sql }) => sql`CREATE TABLE t (a)`).pipe(Effect.provideContext(context))
      const other = yield* sqlite(file)
      other.prepare("SELECT * FROM t").all()
      yield* Scope.close(scope, Exit.void)
      const [warning, ...more] = yield* Effect.provideContext(LogCapture.logged("database sidecars left"), log)
      expect(more).toEqual([])
      expect(warning?.level).toBe("Warn")
      expect(ownFields(warning!)).toEqual({ files: `${file}-wal ${file}-shm`, reason: "unknown" })
    }),
  )
})

describe("what cannot be opened", () => {
  it.effect("a missing folder, when nothing is to be created", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const error = yield* refusal({ filename: `${folder}/a/test.db`, create: false })
      expect(error?.reason).toBe("FolderMissing")
      expect(error?.message).toContain("create the folder or correct the path")
      expect(yield* list(folder)).toEqual([])
    }),
  )

  it.effect("a missing file, when nothing is to be created", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      expect((yield* refusal({ filename: `${folder}/test.db`, create: false }))?.reason).toBe("FileMissing")
      expect((yield* refusal({ filename: `${folder}/test.db`, readonly: true }))?.reason).toBe("FileMissing")
      expect(yield* list(folder)).toEqual([])
    }),
  )

  it.effect("a folder, and a path below a file", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      yield* write(`${folder}/file`, new Uint8Array(1))
      expect((yield* refusal({ filename: folder }))?.reason).toBe("NotAFile")
      expect((yield* refusal({ filename: `${folder}/file/test.db` }))?.reason).toBe("NotAFile")
    }),
  )

  it.effect("a file that is no database, which stays as it is", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const bytes = new Uint8Array(8192).fill(65)
      yield* write(`${folder}/test.db`, bytes)
      const error = yield* refusal({ filename: `${folder}/test.db` })
      expect(error?.reason).toBe("NotADatabase")
      expect(error?.message).toContain("is not a SQLite database")
      expect(yield* read(`${folder}/test.db`)).toEqual(Buffer.from(bytes))
      expect(yield* list(folder)).toEqual(["test.db"])
    }),
  )

  it.effect("a damaged database", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* Database.Database.use(({ sql }) => sql`CREATE TABLE t (a)`).pipe(
        Effect.provide(Database.layer({ filename: file })),
      )
      const bytes = yield* read(file)
      bytes[100] = 0xff // the type of the first page
      bytes[101] = 0xff
      yield* write(file, bytes)
      const error = yield* refusal({ filename: file })
      expect(error?.reason).toBe("Corrupt")
      expect(error?.message).toContain("restore a backup")
    }),
  )

  it.effect("one that another connection has locked, at the end of the busy timeout", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const other = yield* sqlite(file)
      other.exec("PRAGMA locking_mode = EXCLUSIVE; CREATE TABLE t (a)")
      const error = yield* refusal({ filename: file, busyTimeout: "10 millis" })
      expect(error?.reason).toBe("Locked")
      expect(error?.message).toContain("stop that process")
    }),
  )

  it.effect("what has no WAL: memory, and URIs", () =>
    Effect.gen(function* () {
      expect((yield* refusal({ filename: ":memory:" }))?.reason).toBe("WalRefused")
      expect((yield* refusal({ filename: "" }))?.reason).toBe("WalRefused")
      expect((yield* refusal({ filename: "file:x.db?mode=memory" }))?.reason).toBe("WalRefused")
    }),
  )

  it.effect.each([
    ["cacheSize", { cacheSize: -5 }, "got -5"],
    ["cacheSize", { cacheSize: 0 }, "a size from 1 byte"],
    ["cacheSize", { cacheSize: "3000000 GiB" }, 'such as "8 MiB"'],
    ["busyTimeout", { busyTimeout: -1 }, "got -1"],
    ["busyTimeout", { busyTimeout: Number.NaN }, "got NaN"],
    ["busyTimeout", { busyTimeout: "Infinity" }, "got Infinity"],
    ["prepareCacheSize", { prepareCacheSize: 0 }, "a whole number above 0, got 0"],
    ["prepareCacheSize", { prepareCacheSize: 1.5 }, "got 1.5"],
    ["prepareCacheTTL", { prepareCacheTTL: "soon" as "1 second" }, "a duration, got soon"],
  ] as ReadonlyArray<[string, Partial<Database.DatabaseOptions>, string]>)(
    "%s of a value that it cannot have: %o",
    ([name, options, said]) =>
      Effect.gen(function* () {
        const folder = yield* TemporaryDatabase.folder
        const error = yield* refusal({ filename: `${folder}/none/test.db`, ...options })
        expect(error?.reason).toBe("PragmaRefused")
        expect(error?.message).toContain(`expected ${name} to be`)
        expect(error?.message).toContain(said)
        expect(yield* list(folder)).toEqual([])
      }),
  )

  it.effect("the driver's way to turn WAL mode off", () =>
    Effect.gen(function* () {
      const error = yield* refusal({ filename: yield* TemporaryDatabase.file, disableWAL: true })
      expect([error?.reason, error?.message]).toEqual(["WalRefused", expect.stringContaining("has none to keep short")])
    }),
  )
})

describe("exposure", () => {
  const seconds = Database.Database.use(({ exposure }) => exposure.seconds)

  it.effect("is always zero where each commit syncs", () =>
    Effect.gen(function* () {
      const { sql } = yield* Database.Database
      yield* sql`CREATE TABLE t (a)`
      yield* TestClock.adjust("10 seconds")
      expect(yield* seconds).toBe(0)
    }).pipe(Effect.provide(TemporaryDatabase.layer())),
  )

  it.effect("is the age of the oldest commit that no sync has covered", () =>
    Effect.gen(function* () {
      const { sql } = yield* Database.Database
      const { exposure } = yield* DatabaseControl
      expect(yield* seconds).toBe(0)
      yield* sql`CREATE TABLE t (a)`
      yield* TestClock.adjust("10 seconds")
      yield* sql`INSERT INTO t (a) VALUES (1)`
      yield* TestClock.adjust("5 seconds")
      expect(yield* seconds).toBe(15)

      const covered = yield* exposure.syncing
      yield* TestClock.adjust("1 second")
      yield* sql`INSERT INTO t (a) VALUES (2)`.pipe(sql.withTransaction) // after the sync began: not covered by it
      yield* TestClock.adjust("2 seconds")
      expect(yield* seconds).toBe(18)
      yield* covered
      expect(yield* seconds).toBe(2)
    }).pipe(Effect.provide(TemporaryDatabase.layer({ durability: "normal" }))),
  )

  it.effect("does not grow by reading", () =>
    Effect.gen(function* () {
      const { sql } = yield* Database.Database
      const { exposure } = yield* DatabaseControl
      yield* sql`SELECT 1`
      for (const pragma of [
        "page_count",
        "user_version",
        "cache_size = 100",
        "table_info(t)",
        "wal_checkpoint(PASSIVE)",
      ]) {
        yield* sql.unsafe(`PRAGMA ${pragma}`)
      }
      yield* sql`SELECT 1`.pipe(Effect.andThen(Effect.fail("roll back")), sql.withTransaction, Effect.ignore)
      expect(exposure.commits()).toBe(0)
      const commits = [
        "user_version = 3",
        "optimize",
        "main.incremental_vacuum",
        "application_id(7)",
        "schema_version=9",
      ]
      for (const [before, pragma] of commits.entries()) {
        yield* sql.unsafe(`PRAGMA ${pragma}`)
        expect([pragma, exposure.commits()]).toEqual([pragma, before + 1])
      }
    }).pipe(Effect.provide(TemporaryDatabase.layer({ durability: "normal" }))),
  )
})

describe("closing", () => {
  it.effect("is a step of the shutdown", () =>
    Effect.gen(function* () {
      const shutdown = yield* Shutdown.Shutdown
      yield* Effect.scoped(Layer.build(TemporaryDatabase.layer()))
      expect((yield* LogCapture.logged("shutdown step")).map(({ fields }) => fields["step"])).toEqual([
        "drain writes",
        "close database",
      ])
      expect(yield* shutdown.failures).toEqual([])
    }).pipe(Effect.provide(Layer.merge(Shutdown.layer(), LogCapture.layer))),
  )
})
