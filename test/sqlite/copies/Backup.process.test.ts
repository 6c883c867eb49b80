import * as NodeServices from "@effect/platform-node/NodeServices"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import { ChildProcess } from "effect/process"
import { SqlClient } from "effect/sql"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as Backup from "../../../src/sqlite/copies/Backup.ts"
import * as BackupFiles from "../../../src/sqlite/copies/BackupFiles.ts"
import * as DatabaseFile from "../../../src/files/DatabaseFile.ts"
import { using } from "../../../src/processes/Processes.ts"
import * as TemporaryDatabase from "../../../src/testing/TemporaryDatabase.ts"
import { endingEarly } from "../../support/endingEarly.ts"
import { list } from "../../support/files.ts"
import * as LogCapture from "../../../src/testing/LogCapture.ts"
import { backup, insert, rowsIn, table, withBackups } from "../../support/backups.ts"

describe("a backup", () => {
  it.live("is one whole file with everything that was committed, and says so", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      yield* Effect.gen(function* () {
        yield* Effect.andThen(table, insert)
        const name = yield* backup("bak")
        expect(name).toMatch(/test\.db\.bak\.\d{8}T\d{9}Z$/)
        expect(rowsIn(name)).toBe(1)
        const [line] = yield* LogCapture.logged("backup")
        expect(line?.fields).toMatchObject({ file: name, bytes: fs.statSync(name).size })
        expect((yield* list(folder)).filter((file) => file.includes("partial"))).toEqual([])
      }).pipe(Effect.provide(withBackups(`${folder}/test.db`)))
    }),
  )

  it.live("lets writers go on, and the event loop", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      yield* Effect.gen(function* () {
        yield* table
        yield* Effect.repeat(insert, { times: 5000 })
        const copying = yield* Effect.forkChild(backup("bak"), { startImmediately: true })
        let during = 0
        yield* Effect.whileLoop({
          while: () => copying.pollUnsafe() === undefined,
          body: () => Effect.andThen(insert, Effect.sleep("1 millis")),
          step: () => void during++,
        })
        const name = yield* Fiber.join(copying)
        expect(during).toBeGreaterThan(5)
        expect(rowsIn(name)).toBeGreaterThanOrEqual(5000)
      }).pipe(Effect.provide(withBackups(`${folder}/test.db`)))
    }),
  )

  it.live("writes over no file, also not under the name that it has while it is written", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      fs.writeFileSync(`${folder}/copy.partial`, "of another process")
      yield* Effect.gen(function* () {
        yield* table
        const error = yield* Effect.flip(Backup.Backup.use(({ runTo }) => runTo(`${folder}/copy`)))
        expect(error.message).toContain(`remove ${folder}/copy.partial first`)
        expect(fs.readFileSync(`${folder}/copy.partial`, "utf8")).toBe("of another process")
        fs.rmSync(`${folder}/copy.partial`)
        yield* Backup.Backup.use(({ runTo }) => runTo(`${folder}/copy`))
      }).pipe(Effect.provide(withBackups(`${folder}/test.db`)))
      expect(yield* list(folder)).toEqual(["copy", "test.db"])
    }),
  )

  it.live("goes when there are newer ones of its kind, and what an interrupted one left goes with it", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      fs.writeFileSync(`${folder}/test.db.bak.20200101T000000000Z.partial`, "left")
      const underWay = `${folder}/test.db.manual.20200101T000000000Z.partial`
      fs.writeFileSync(underWay, "what another seawall backup writes just now")
      fs.writeFileSync(`${folder}/other.db.bak.20200101T000000000Z`, "of another process")
      yield* Effect.gen(function* () {
        yield* table
        const names: Array<string> = []
        for (const kind of ["bak", "post", "bak", "bak"] as const) {
          names.push(yield* backup(kind))
          yield* Effect.sleep("2 millis")
        }
        const left = (yield* list(folder)).filter((name) => !/^test\.db(-wal|-shm)?$/.test(name))
        const made = names.slice(1).map((name) => name.replace("/./", "/"))
        const expected = [...made, underWay, `${folder}/other.db.bak.20200101T000000000Z`]
        expect(left.map((name) => `${folder}/${name}`).toSorted()).toEqual(expected.toSorted())
      }).pipe(Effect.provide(withBackups(`${folder}/./test.db`, 2)))
    }),
  )

  it.live("that fails is a typed error and leaves nothing", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      yield* Effect.gen(function* () {
        yield* table
        // A page of the database is damaged, unseen by who does not read it: its copy must not get the name of a backup.
        yield* Effect.repeat(insert, { times: 50 })
        yield* SqlClient.SqlClient.use((sql) => sql`PRAGMA wal_checkpoint(TRUNCATE)`)
        execFileSync(
          "dd",
          ["if=/dev/urandom", `of=${folder}/test.db`, "bs=4096", "seek=5", "count=1", "conv=notrunc"],
          {
            stdio: "ignore",
          },
        )
        const before = yield* list(folder)
        const error = yield* Effect.flip(backup("bak"))
        expect(error).toBeInstanceOf(Backup.BackupError)
        expect(error.message).toContain("integrity check")
        expect(yield* list(folder)).toEqual(before)
      }).pipe(Effect.provide(withBackups(`${folder}/test.db`)))
    }),
  )
})

describe("a copy whose process ends early", () => {
  it.live("says with which exit code, and leaves nothing", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      yield* Effect.gen(function* () {
        yield* table
        const error = yield* endingEarly(Effect.flip(backup("bak")))
        expect(error.message).toContain("the process that copies has ended with exit code 3")
      }).pipe(Effect.provide(withBackups(`${folder}/test.db`)))
      expect(yield* list(folder)).toEqual(["test.db"])
    }),
  )
})

describe("what is removed", () => {
  const older = (folder: string, n: number) => `${folder}/test.db.bak.2020010${n}T000000000Z`

  it.live("is not what another process writes just now", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const partial = `${older(folder, 1)}.partial`
      for (const suffix of ["", "-journal"]) fs.writeFileSync(partial + suffix, "")
      const writing = yield* ChildProcess.make("tail", ["-f", partial])
      yield* Effect.repeat(using(DatabaseFile.resolve(partial)), { until: Option.exists((them) => them.length > 0) })
      yield* BackupFiles.prune(`${folder}/test.db`, "bak", 1)
      expect(yield* list(folder)).toHaveLength(2)
      yield* writing.kill()
      yield* BackupFiles.prune(`${folder}/test.db`, "bak", 1)
      expect(yield* list(folder)).toEqual([])
    }).pipe(Effect.provide(NodeServices.layer)),
  )

  it.live("is not what a backup of this process writes, at any moment until it has its name", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      yield* Effect.gen(function* () {
        yield* table
        const making = yield* Effect.forkChild(backup("bak"), { startImmediately: true })
        let looks = 0
        while (making.pollUnsafe() === undefined) {
          expect(yield* BackupFiles.unfinished(`${folder}/test.db`)).toEqual([])
          looks++
        }
        expect(looks).toBeGreaterThan(0)
        expect(yield* list(folder)).toContain((yield* Fiber.join(making)).slice(folder.length + 1))
      }).pipe(Effect.provide([withBackups(`${folder}/test.db`), NodeServices.layer]))
    }),
  )

  it.live("is every other old one when one of them cannot be removed, which is a WARNING", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      for (const n of [1, 3, 4]) fs.writeFileSync(older(folder, n), "")
      fs.mkdirSync(`${older(folder, 2)}/not empty`, { recursive: true })
      yield* BackupFiles.prune(`${folder}/test.db`, "bak", 1)
      expect(yield* list(folder)).toEqual(
        [older(folder, 2), older(folder, 4)].map((name) => name.slice(folder.length + 1)),
      )
      expect(yield* LogCapture.logged("old backup not removed")).toMatchObject([
        { level: "Warn", fields: { file: older(folder, 2) } },
      ])
    }).pipe(Effect.provide([NodeServices.layer, LogCapture.layer])),
  )
})

describe("a backup that is called off", () => {
  it.live("ends at once, and leaves nothing", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      yield* Effect.gen(function* () {
        yield* table
        yield* SqlClient.SqlClient.use(
          (sql) => sql`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
                       INSERT INTO t SELECT zeroblob(1000) FROM n`,
        )
        const copying = yield* Effect.forkChild(backup("bak"), { startImmediately: true })
        const partial = Effect.map(list(folder), (names) => names.filter((name) => name.includes("partial")))
        yield* Effect.repeat(Effect.andThen(Effect.sleep("5 millis"), partial), { until: (names) => names.length > 0 })
        yield* Fiber.interrupt(copying)
        expect(yield* partial).toEqual([])
      }).pipe(Effect.provide(withBackups(`${folder}/test.db`)))
      expect(yield* list(folder)).toEqual(["test.db"])
    }),
  )
})
