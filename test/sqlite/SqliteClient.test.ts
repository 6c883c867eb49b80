import { SqliteClient } from "@effect/sql-sqlite-node"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Option, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { DatabaseSync } from "node:sqlite"
import * as fs from "node:fs"
import * as Database from "../../src/sqlite/Database.ts"
import { messageOf } from "../../src/sqlite/NativeError.ts"
import { Writer } from "../../src/sql/Writer.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import * as GuardedDatabase from "../../src/wal/GuardedDatabase.ts"
import { driverContract } from "./driverContract.ts"

driverContract("SqliteClient.layer", SqliteClient.layer)
driverContract("Database.layer", Database.layer)
driverContract("GuardedDatabase.layer", GuardedDatabase.layer)
driverContract("GuardedDatabase.layer, inline", (options) =>
  GuardedDatabase.layer({ ...options, checkpoints: "inline" }),
)

const table = SqlClient.SqlClient.use((sql) => sql`CREATE TABLE t (a)`)

describe("what only the driver's connection can do", () => {
  it.effect.each([
    ["itself", (file: string) => file],
    ["itself, by another name", (file: string) => (fs.symlinkSync(file, `${file}.link`), `${file}.link`)],
    ["itself, by a hard link", (file: string) => (fs.linkSync(file, `${file}.hard`), `${file}.hard`)],
    ["its WAL", (file: string) => `${file}-wal`],
    ["its index", (file: string) => `${file}-shm`],
    ["its journal", (file: string) => `${file}-journal`],
  ] as const)("is no backup over %s", ([, destination]) =>
    Effect.flatMap(TemporaryDatabase.file, (filename) =>
      Effect.gen(function* () {
        const sqlite = yield* SqliteClient.SqliteClient
        yield* table
        yield* sqlite`INSERT INTO t VALUES (1)`
        const error = yield* Effect.flip(sqlite.backup(destination(filename)))
        expect(error.message).toContain("backup was not run: the destination is the database itself")
        expect(yield* sqlite`SELECT a FROM t`).toEqual([{ a: 1 }])
      }).pipe(Effect.provide(Database.layer({ filename }))),
    ),
  )

  it.effect("says of a backup over a database that another connection writes that it is locked", () =>
    Effect.gen(function* () {
      const sqlite = yield* SqliteClient.SqliteClient
      const destination = yield* TemporaryDatabase.file
      const other = yield* Effect.acquireRelease(
        Effect.sync(() => new DatabaseSync(destination)),
        (connection) => Effect.sync(() => connection.close()),
      )
      other.exec("CREATE TABLE its (a); BEGIN IMMEDIATE; INSERT INTO its VALUES (1)")
      yield* table
      const error = yield* Effect.flip(sqlite.backup(destination))
      expect([error.reason._tag, error.message]).toEqual([
        "LockTimeoutError",
        expect.stringContaining(`${destination} is locked, or a transaction is open on it`),
      ])
      other.exec("COMMIT")
      expect(other.prepare("SELECT count(*) AS n FROM its").get()).toEqual({ n: 1 })
    }).pipe(Effect.provide(TemporaryDatabase.layer())),
  )

  it.effect("has the connection to itself: no write comes between, and all of them after", () =>
    Effect.gen(function* () {
      const sqlite = yield* SqliteClient.SqliteClient
      const writer = yield* Writer
      yield* table
      const copy = `${(yield* Database.Database).filename}.copy`
      yield* sqlite.withTransaction(
        Effect.forEach(Array.from({ length: 50 }), () => sqlite`INSERT INTO t VALUES (zeroblob(40000))`),
      )
      const order: Array<string> = []
      const note = (what: string) => Effect.sync(() => void order.push(what))
      yield* Effect.all(
        [
          Effect.andThen(sqlite.backup(copy), note("backup")),
          Effect.andThen(sqlite`INSERT INTO t VALUES (1)`, note("statement")),
          Effect.andThen(writer.execute("INSERT INTO t VALUES (2)"), note("write")),
          Effect.andThen(sqlite.withTransaction(sqlite`INSERT INTO t VALUES (3)`), note("transaction")),
        ],
        { concurrency: "unbounded" },
      )
      expect(order[0]).toBe("backup")
      const copied = new DatabaseSync(copy, { readOnly: true })
      expect(copied.prepare("SELECT count(*) AS n FROM t").get()).toEqual({ n: 50 })
      copied.close()
      expect(yield* sqlite`SELECT count(*) AS n FROM t`).toEqual([{ n: 53 }])
    }).pipe(Effect.provide(TemporaryDatabase.layer())),
  )

  it.effect.each([
    ["backup", (sqlite: SqliteClient.SqliteClient) => sqlite.backup("copy.db")],
    ["loadExtension", (sqlite: SqliteClient.SqliteClient) => sqlite.loadExtension("extension")],
  ] as const)("is refused inside a transaction, which would wait for itself: %s", ([name, use]) =>
    Effect.gen(function* () {
      const sqlite = yield* SqliteClient.SqliteClient
      const error = yield* Effect.flip(sqlite.withTransaction(use(sqlite)))
      expect(messageOf(error)).toContain(`${name} was not run: this fiber is inside a transaction`)
      expect(yield* sqlite`SELECT 1 AS one`).toEqual([{ one: 1 }])
    }).pipe(Effect.provide(TemporaryDatabase.layer())),
  )

  it.effect("is none of its statements: a stream is refused with what to do instead", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const error = yield* Effect.flip(Stream.runCollect(sql`SELECT 1`.stream))
      expect(error.message).toContain("stream was not run")
      expect(error.message).toContain("WHERE key > the last one ORDER BY key LIMIT n")
    }).pipe(Effect.provide(TemporaryDatabase.layer())),
  )
})

describe("names that are changed", () => {
  const naming = {
    transformQueryNames: (name: string) => name.toLowerCase(),
    transformResultNames: (name: string) => name.toUpperCase(),
  }

  it.effect("are those of the Writer, too", () =>
    Effect.gen(function* () {
      const [sql, writer] = [yield* SqlClient.SqlClient, yield* Writer]
      yield* table
      expect(yield* writer.execute("INSERT INTO t VALUES (1) RETURNING a")).toEqual([{ A: 1 }])
      expect(yield* writer.sql`INSERT INTO t VALUES (2) RETURNING a`).toEqual([{ A: 2 }])
      expect(yield* writer.sql`INSERT INTO ${sql("T")} ${sql.insert({ A: 3 })} RETURNING a`).toEqual([{ A: 3 }])
      expect(yield* writer.transaction(sql`SELECT a FROM t WHERE a = 3`)).toEqual([{ A: 3 }])
    }).pipe(Effect.provide(TemporaryDatabase.layer(naming))),
  )

  it.effect("in statements alone are left out by withoutTransforms, too", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`CREATE TABLE ${sql("Upper")} (a)`
      expect(sql.withoutTransforms()`SELECT * FROM ${sql.withoutTransforms()("Upper")}`.compile()[0]).toContain("Upper")
      expect(yield* sql`SELECT name FROM sqlite_schema`).toEqual([{ name: "upper" }])
    }).pipe(Effect.provide(TemporaryDatabase.layer({ transformQueryNames: naming.transformQueryNames }))),
  )

  it.effect("change nothing of what a guard asks", () =>
    Effect.flatMap(TemporaryDatabase.file, (filename) =>
      Effect.gen(function* () {
        const checkpointer = yield* Checkpointer.Checkpointer
        yield* table
        expect(Option.getOrThrow(yield* checkpointer.frames)).toMatchObject({ checkpointed: 0 })
        expect(yield* checkpointer.run("PASSIVE")).toMatchObject({ outcome: "Complete" })
      }).pipe(Effect.provide(GuardedDatabase.layer({ filename, checkpoints: "inline", maxFrames: 0, ...naming }))),
    ),
  )
})
