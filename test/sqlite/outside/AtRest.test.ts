import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Option, Result } from "effect"
import { SqlClient } from "effect/unstable/sql"
import * as AtRest from "../../../src/sqlite/outside/AtRest.ts"
import { temporaryFolder } from "../../../src/testing/TemporaryDatabase.ts"
import { list } from "../../support/files.ts"

const make = (file: string) => {
  const database = new DatabaseSync(file)
  database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)")
  database.close()
}

const count = (file: string) =>
  Effect.provide(
    SqlClient.SqlClient.use((sql) => sql.unsafe<{ n: number }>("SELECT count(*) AS n FROM t")),
    AtRest.layer(file),
  )

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
        const folder = yield* temporaryFolder
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
      const file = `${yield* temporaryFolder}/test.db`
      make(file)
      const write = SqlClient.SqlClient.use((sql) => sql.unsafe("INSERT INTO t VALUES (3)"))
      expect((yield* failureOf(Effect.provide(write, AtRest.layer(file))))._tag).toBe("SqlError")
    }),
  )

  it.effect("is not one whose log was left, by its own name or by a link to it", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = `${folder}/test.db`
      make(file)
      fs.symlinkSync(file, `${folder}/link.db`)
      for (const log of [`${file}-wal`, `${file}-journal`]) {
        fs.writeFileSync(log, "")
        expect(yield* count(file)).toHaveLength(1)
        fs.writeFileSync(log, "something")
        for (const path of [file, `${folder}/link.db`]) {
          const error = yield* failureOf(count(path))
          expect(error).toMatchObject({ _tag: "NotAtRestError", reason: "LogLeft", what: [log] })
          expect(error.message).toContain(`${log} holds what is not in ${path} yet`)
        }
        fs.rmSync(log)
      }
    }),
  )

  it.effect("is not what is not there, is no file or is no database, and nothing is created", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      fs.writeFileSync(`${folder}/text.db`, "no database, and long enough to have a header".repeat(10))
      expect(yield* failureOf(count(`${folder}/none.db`))).toMatchObject({ reason: "FileMissing" })
      expect(yield* failureOf(count(folder))).toMatchObject({ reason: "NotAFile" })
      expect(yield* failureOf(count(`${folder}/text.db`))).toMatchObject({ reason: "NotADatabase" })
      expect(yield* list(folder)).toEqual(["text.db"])
    }),
  )
})
