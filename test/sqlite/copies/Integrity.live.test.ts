import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { describe, expect, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Result } from "effect"
import { DatabaseSync } from "node:sqlite"
import * as Database from "../../../src/sqlite/Database.ts"
import * as Integrity from "../../../src/sqlite/copies/Integrity.ts"
import * as TemporaryDatabase from "../../../src/testing/TemporaryDatabase.ts"
import { endingEarly } from "../../support/endingEarly.ts"
import { list } from "../../support/files.ts"

const fs = Effect.provide(FileSystem.FileSystem, NodeFileSystem.layer)

const check = (file: string) => Integrity.check(file).pipe(Effect.provide(NodeServices.layer), Effect.result)

/** A database with some pages, closed: the main file alone. */
const sound = Effect.gen(function* () {
  const folder = yield* TemporaryDatabase.folder
  const file = `${folder}/test.db`
  yield* Database.Database.use(({ sql }) =>
    Effect.gen(function* () {
      yield* sql`CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)`
      yield* sql`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
                 INSERT INTO t SELECT i, 'some text to fill the pages with' FROM n`
    }),
  ).pipe(Effect.provide(Database.layer({ filename: file })))
  return { folder, file }
})

/** The bytes of the database and its WAL as a killed process leaves them. */
const leftBehind = Effect.gen(function* () {
  const { folder, file } = yield* sound
  const { copyFile, remove } = yield* fs
  const writer = new DatabaseSync(file)
  writer.exec("PRAGMA wal_autocheckpoint = 0; INSERT INTO t VALUES (5000, 'only in the WAL')")
  yield* copyFile(file, `${folder}/left.db`)
  yield* copyFile(`${file}-wal`, `${folder}/left.db-wal`)
  writer.close()
  yield* remove(file)
  return { folder, file: `${folder}/left.db` }
})

describe("the integrity check", () => {
  it.effect("accepts a sound file and creates nothing beside it", () =>
    Effect.gen(function* () {
      const { folder, file } = yield* sound
      expect(Result.isSuccess(yield* check(file))).toBe(true)
      expect(yield* list(folder)).toEqual(["test.db"])
    }),
  )

  it.effect("accepts a file that is not there yet, and an empty one", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const { writeFileString } = yield* fs
      yield* writeFileString(`${folder}/empty.db`, "")
      expect(Result.isSuccess(yield* check(`${folder}/none.db`))).toBe(true)
      expect(Result.isSuccess(yield* check(`${folder}/empty.db`))).toBe(true)
      expect(yield* list(folder)).toEqual(["empty.db"])
    }),
  )

  it.effect("leaves the main file and a left-over WAL byte-identical", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind
      const { readFile } = yield* fs
      const before = [yield* readFile(file), yield* readFile(`${file}-wal`)]
      expect(before[1]?.length).toBeGreaterThan(4096)
      expect(Result.isSuccess(yield* check(file))).toBe(true)
      expect([yield* readFile(file), yield* readFile(`${file}-wal`)]).toEqual(before)
      const rows = yield* Database.Database.use(({ sql }) => sql`SELECT b FROM t WHERE a = 5000`).pipe(
        Effect.provide(Database.layer({ filename: file })),
      )
      expect(rows).toHaveLength(1)
    }),
  )

  it.effect("refuses a damaged file with what it found, and leaves it byte-identical", () =>
    Effect.gen(function* () {
      const { folder, file } = yield* sound
      const { readFile, writeFile } = yield* fs
      const bytes = yield* readFile(file)
      bytes.fill(0xee, 4096 * 3, 4096 * 4)
      yield* writeFile(file, bytes)
      const result = yield* check(file)
      const error = Result.isFailure(result) ? result.failure : undefined
      expect(error?.reason).toBe("Damaged")
      expect(error?.findings.length).toBeGreaterThan(0)
      expect(error?.message).toContain("failed its integrity check")
      expect(yield* readFile(file)).toEqual(bytes)
      expect(yield* list(folder)).toEqual(["test.db"])
    }),
  )

  it.effect("refuses what is no database", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const { writeFileString } = yield* fs
      yield* writeFileString(`${folder}/test.db`, "this is a text".repeat(1000))
      const result = yield* check(`${folder}/test.db`)
      expect(Result.isFailure(result) && result.failure.findings).toEqual(["file is not a database"])
    }),
  )

  it.effect("says so when the process that checks ends early", () =>
    Effect.gen(function* () {
      const { file } = yield* sound
      const result = yield* endingEarly(check(file))
      expect(Result.isFailure(result) && result.failure.message).toContain("has ended with exit code 3")
    }),
  )

  it.effect("stands below the writing connection: a database that fails it is never opened", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const file = `${folder}/test.db`
      const { writeFileString } = yield* fs
      yield* writeFileString(file, "this is a text".repeat(1000))
      const opened = yield* Layer.build(
        Database.layer({ filename: file }).pipe(Layer.provideMerge(Integrity.layer({ file, check: "quick" }))),
      ).pipe(Effect.scoped, Effect.result)
      expect(Result.isFailure(opened) && opened.failure._tag).toBe("IntegrityError")
    }),
  )
})
