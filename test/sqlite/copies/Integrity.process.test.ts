/** What is said of a damaged database that has backups. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as fs from "node:fs"
import * as BackupFiles from "../../../src/sqlite/copies/BackupFiles.ts"
import * as Integrity from "../../../src/sqlite/copies/Integrity.ts"
import { shell } from "../../support/Seawall.ts"
import * as TemporaryDatabase from "../../../src/testing/TemporaryDatabase.ts"
import { backup, insert, rowsIn, table, withBackups } from "../../support/backups.ts"

describe("a damaged database", () => {
  const sessions = Effect.gen(function* () {
    const folder = yield* TemporaryDatabase.folder
    const file = `${folder}/it's.db`
    const names = yield* Effect.gen(function* () {
      yield* Effect.andThen(table, insert)
      const good = yield* backup("bak")
      yield* Effect.sleep("2 millis")
      return { good, bad: yield* backup("post") }
    }).pipe(Effect.provide(withBackups(file)))
    fs.writeFileSync(names.bad, Buffer.alloc(5000, 7))
    fs.writeFileSync(file, Buffer.alloc(5000, 7))
    return { folder, file, ...names }
  })
  const start = (file: string) => Effect.flip(Layer.build(Integrity.layer({ file, check: "quick" })))

  it.live("names the newest backup that passes its own check, with a command that restores it", () =>
    Effect.gen(function* () {
      const { bad, file, folder, good } = yield* sessions
      const error = yield* start(file)
      expect(error.message).not.toContain(bad.slice(-19)) // its stamp
      const command = /own check: (.*)$/.exec(error.message)?.[1] ?? ""
      expect(command).toContain(good.slice(-19))
      shell(command, folder)
      expect(rowsIn(file)).toBe(1)
      const aside = fs.readdirSync(folder).filter((name) => name.includes(".replaced."))
      expect(aside.map((name) => fs.readFileSync(`${folder}/${name}`))).toEqual([Buffer.alloc(5000, 7)])
      yield* Layer.build(Integrity.layer({ file, check: "quick" }))
    }).pipe(Effect.scoped),
  )

  it.live("without such a backup says so", () =>
    Effect.gen(function* () {
      const { file, good } = yield* sessions
      fs.writeFileSync(good, "no database")
      expect((yield* start(file)).message).toContain("there is no backup beside it that passes its own check")
    }).pipe(Effect.scoped),
  )

  it.effect("has backups whose names sort as their times do", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const file = `${folder}/test.db`
      const times = [0, 1, 999, 1000, 1_764_000_000_000, 1_764_000_000_001]
      for (const time of times) fs.writeFileSync(BackupFiles.nameOf(file, time % 2 === 0 ? "bak" : "post", time), "")
      const found = yield* BackupFiles.list(file)
      expect(found).toEqual(
        times.toReversed().map((time) => BackupFiles.nameOf(file, time % 2 === 0 ? "bak" : "post", time)),
      )
    }).pipe(Effect.provide(NodeServices.layer)),
  )
})
