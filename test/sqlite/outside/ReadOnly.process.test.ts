import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Option, Result } from "effect"
import { SqlClient } from "effect/sql"
import type { Situation } from "../../../src/sqlite/outside/Address.ts"
import * as ReadOnly from "../../../src/sqlite/outside/ReadOnly.ts"
import * as TemporaryDatabase from "../../../src/testing/TemporaryDatabase.ts"
import { foreignConnection } from "../../support/ForeignReader.ts"
import { copyOf, leftBehind } from "../../support/LeftFiles.ts"
import { list } from "../../support/files.ts"

const make = (file: string) => {
  const database = new DatabaseSync(file)
  database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)")
  database.close()
}

const read = (file: string, situation: Situation) =>
  Effect.provide(
    SqlClient.SqlClient.use((sql) => sql.unsafe<{ n: number }>("SELECT count(*) AS n FROM t")),
    ReadOnly.layer(file, situation),
  )

const count = (file: string) => read(file, "AtRest")

/** Every file of a folder, byte for byte. */
const bytesOf = (folder: string) =>
  fs.readdirSync(folder).map((name) => [name, fs.readFileSync(`${folder}/${name}`, "base64")])

const folderOf = (file: string) => file.slice(0, file.lastIndexOf("/"))

const failureOf = Effect.fnUntraced(function* <A, E, R>(self: Effect.Effect<A, E, R>) {
  return Option.getOrThrow(Result.getFailure(yield* Effect.result(self)))
})

describe("a database at rest", () => {
  for (const name of [
    "test.db",
    "a b.db",
    "100%25.db",
    "what?mode=rwc#1.db",
    "file.db?immutable=0",
    "\u00FC\u{1F30A}.db",
  ]) {
    it.effect(`is read, and nothing beside it changes: ${name}`, () =>
      Effect.gen(function* () {
        const folder = yield* TemporaryDatabase.folder
        const file = `${folder}/${name}`
        make(file)
        const bytes = fs.readFileSync(file)
        expect((yield* count(file))[0]?.n).toBe(2)
        expect(yield* list(folder)).toEqual([name])
        expect(fs.readFileSync(file)).toEqual(bytes)
      }),
    )
  }

  it.effect("cannot be written", () =>
    Effect.gen(function* () {
      const file = `${yield* TemporaryDatabase.folder}/test.db`
      make(file)
      const write = SqlClient.SqlClient.use((sql) => sql.unsafe("INSERT INTO t VALUES (3)"))
      expect((yield* failureOf(Effect.provide(write, ReadOnly.layer(file, "AtRest"))))._tag).toBe("SqlError")
    }),
  )

  it.effect("is not one whose log was left, by its own name or by a link to it", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const file = `${folder}/test.db`
      make(file)
      fs.symlinkSync(file, `${folder}/link.db`)
      for (const log of [`${file}-wal`, `${file}-journal`]) {
        fs.writeFileSync(log, "")
        expect(yield* count(file)).toHaveLength(1)
        fs.writeFileSync(log, "something")
        for (const path of [file, `${folder}/link.db`]) {
          const error = yield* failureOf(count(path))
          expect(error).toMatchObject({ _tag: "NotAtRestError", reason: "WalLeft", what: [log] })
          expect(error.message).toContain(`${log} holds what is not in ${path} yet`)
        }
        fs.rmSync(log)
      }
    }),
  )

  it.live("is not one that another process has open, which is named by its command line", () =>
    Effect.gen(function* () {
      const file = `${yield* TemporaryDatabase.folder}/test.db`
      make(file)
      const pid = yield* foreignConnection(file, ["SELECT * FROM t"])
      const error = yield* failureOf(count(file))
      expect(error).toMatchObject({ _tag: "NotAtRestError", reason: "Open" })
      expect(error.message).toMatch(new RegExp(`^${file} is open in \\S*python3 -c .*\\(pid ${pid}\\); end it first`))
    }).pipe(Effect.scoped),
  )

  it.effect("is not what is not there, is no file or is no database, and nothing is created", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      fs.writeFileSync(`${folder}/text.db`, "no database, and long enough to have a header".repeat(10))
      expect(yield* failureOf(count(`${folder}/none.db`))).toMatchObject({ reason: "FileMissing" })
      expect(yield* failureOf(count(folder))).toMatchObject({ reason: "NotAFile" })
      expect(yield* failureOf(count(`${folder}/text.db`))).toMatchObject({ reason: "NotADatabase" })
      expect(yield* list(folder)).toEqual(["text.db"])
    }),
  )
})

describe("a WAL that was left", () => {
  it.effect("is read with its index, and both stay as they are", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("commit(10); commit(10)")
      const before = bytesOf(folderOf(file))
      expect((yield* read(file, "WalLeft"))[0]?.n).toBe(2)
      expect(bytesOf(folderOf(file))).toEqual(before)
    }),
  )

  it.effect("is not read without its index, which is not created", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("commit(10)")
      const copy = yield* copyOf(file, fs.readFileSync(`${file}-wal`))
      const before = bytesOf(folderOf(copy))
      const error = yield* failureOf(read(copy, "WalLeft"))
      expect(error).toMatchObject({ _tag: "DatabaseOpenError", reason: "Unknown" })
      expect(error.message).toContain("its WAL has no index to share")
      expect(bytesOf(folderOf(copy))).toEqual(before)
    }),
  )
})

describe("a database that another process has open", () => {
  for (const situation of ["Open", "OpenBriefly"] as const) {
    it.live(`is read beside its writer, by a link to it too, and its files stay as they are: ${situation}`, () =>
      Effect.gen(function* () {
        const folder = yield* TemporaryDatabase.folder
        const file = `${folder}/test.db`
        make(file)
        yield* foreignConnection(file, ["INSERT INTO t VALUES (3)", "BEGIN IMMEDIATE", "INSERT INTO t VALUES (4)"])
        const link = `${yield* TemporaryDatabase.folder}/link.db`
        fs.symlinkSync(file, link)
        const names = yield* list(folder)
        for (const path of [file, link]) expect((yield* read(path, situation))[0]?.n).toBe(3)
        expect(yield* list(folder)).toEqual(names)
        expect(yield* list(folderOf(link))).toEqual(["link.db"])
      }).pipe(Effect.scoped),
    )
  }

  it.effect("is not opened for a moment when no process has it open after all, and nothing is created", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      make(`${folder}/test.db`)
      expect((yield* failureOf(read(`${folder}/test.db`, "OpenBriefly"))).message).toContain("no process uses it yet")
      expect(yield* list(folder)).toEqual(["test.db"])
    }),
  )

  it.live("waits for no lock when it reads for a moment, and else for a second", () =>
    Effect.gen(function* () {
      const file = `${yield* TemporaryDatabase.folder}/test.db`
      make(file)
      yield* foreignConnection(file, ["SELECT * FROM t"])
      const timeout = SqlClient.SqlClient.use((sql) => sql.unsafe<{ timeout: number }>("PRAGMA busy_timeout"))
      const of = (situation: Situation) => Effect.provide(timeout, ReadOnly.layer(file, situation))
      expect(yield* of("OpenBriefly")).toEqual([{ timeout: 0 }])
      expect(yield* of("Open")).toEqual([{ timeout: 1000 }])
    }).pipe(Effect.scoped),
  )
})
