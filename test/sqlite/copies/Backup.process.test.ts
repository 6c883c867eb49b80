import * as NodeServices from "@effect/platform-node/NodeServices"
import { describe, expect, it } from "@effect/vitest"
import { type Duration, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import { ChildProcess } from "effect/unstable/process"
import { SqlClient } from "effect/unstable/sql"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as Shutdown from "../../../src/shutdown/Shutdown.ts"
import { aroundSession, Backup, BackupError } from "../../../src/sqlite/copies/Backup.ts"
import * as BackupFiles from "../../../src/sqlite/copies/BackupFiles.ts"
import { Database } from "../../../src/sqlite/Database.ts"
import * as Integrity from "../../../src/sqlite/copies/Integrity.ts"
import { openedBy } from "../../../src/sqlite/Sidecars.ts"
import { shell } from "../../support/Seawall.ts"
import { quickDisk, temporaryFolder } from "../../../src/testing/TemporaryDatabase.ts"
import { endingEarly } from "../../support/endingEarly.ts"
import { list } from "../../support/files.ts"
import { logged, LogCapture, steps } from "../../../src/testing/LogCapture.ts"

const table = SqlClient.SqlClient.use((sql) => sql`CREATE TABLE IF NOT EXISTS t (a)`)
const insert = SqlClient.SqlClient.use((sql) => sql`INSERT INTO t (a) VALUES (zeroblob(1000))`)
const backup = (kind: "bak" | "post") => Backup.use(({ run }) => run(kind))

const rowsIn = (file: string) => {
  const database = new DatabaseSync(`file:${file}?immutable=1`, { readOnly: true })
  const count = Number(database.prepare("SELECT count(*) AS n FROM t").get()?.["n"])
  database.close()
  return count
}

const withBackups = (file: string, keep = 10) =>
  Backup.layer({ file, keep }).pipe(
    Layer.provideMerge(Layer.provide(Database.layer({ file }), quickDisk)),
    Layer.provideMerge(LogCapture.layer),
  )

describe("a backup", () => {
  it.live("is one whole file with everything that was committed, and says so", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.gen(function* () {
        yield* Effect.andThen(table, insert)
        const name = yield* backup("bak")
        expect(name).toMatch(/test\.db\.bak\.\d{8}T\d{9}Z$/)
        expect(rowsIn(name)).toBe(1)
        const [line] = yield* logged("backup")
        expect(line?.fields).toMatchObject({ file: name, bytes: fs.statSync(name).size })
        expect((yield* list(folder)).filter((file) => file.includes("partial"))).toEqual([])
      }).pipe(Effect.provide(withBackups(`${folder}/test.db`)))
    }),
  )

  it.live("lets writers go on, and the event loop", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
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

  it.live("writes over nobody's file, also not under the name that it has while it is written", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      fs.writeFileSync(`${folder}/copy.partial`, "somebody's")
      yield* Effect.gen(function* () {
        yield* table
        const error = yield* Effect.flip(Backup.use(({ runTo }) => runTo(`${folder}/copy`)))
        expect(error.message).toContain(`remove ${folder}/copy.partial first`)
        expect(fs.readFileSync(`${folder}/copy.partial`, "utf8")).toBe("somebody's")
        fs.rmSync(`${folder}/copy.partial`)
        yield* Backup.use(({ runTo }) => runTo(`${folder}/copy`))
      }).pipe(Effect.provide(withBackups(`${folder}/test.db`)))
      expect(yield* list(folder)).toEqual(["copy", "test.db"])
    }),
  )

  it.live("goes when there are newer ones of its kind, and what an interrupted one left goes with it", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      fs.writeFileSync(`${folder}/test.db.bak.20200101T000000000Z.partial`, "left")
      const underWay = `${folder}/test.db.manual.20200101T000000000Z.partial`
      fs.writeFileSync(underWay, "what somebody's seawall backup writes just now")
      fs.writeFileSync(`${folder}/other.db.bak.20200101T000000000Z`, "somebody else's")
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
      const folder = yield* temporaryFolder
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
        expect(error).toBeInstanceOf(BackupError)
        expect(error.message).toContain("integrity check")
        expect(yield* list(folder)).toEqual(before)
      }).pipe(Effect.provide(withBackups(`${folder}/test.db`)))
    }),
  )
})

describe("a copy whose process ends early", () => {
  it.live("says with which exit code, and leaves nothing", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
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
      const folder = yield* temporaryFolder
      const partial = `${older(folder, 1)}.partial`
      for (const suffix of ["", "-journal"]) fs.writeFileSync(partial + suffix, "")
      const writing = yield* ChildProcess.make("tail", ["-f", partial])
      yield* Effect.repeat(openedBy(partial), { until: (users) => users.length > 0 })
      yield* BackupFiles.prune(`${folder}/test.db`, "bak", 1)
      expect(yield* list(folder)).toHaveLength(2)
      yield* writing.kill()
      yield* BackupFiles.prune(`${folder}/test.db`, "bak", 1)
      expect(yield* list(folder)).toEqual([])
    }).pipe(Effect.provide(NodeServices.layer)),
  )

  it.live("is every other old one when one of them cannot be removed, which is a WARNING", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      for (const n of [1, 3, 4]) fs.writeFileSync(older(folder, n), "")
      fs.mkdirSync(`${older(folder, 2)}/not empty`, { recursive: true })
      yield* BackupFiles.prune(`${folder}/test.db`, "bak", 1)
      expect(yield* list(folder)).toEqual(
        [older(folder, 2), older(folder, 4)].map((name) => name.slice(folder.length + 1)),
      )
      expect(yield* logged("old backup left")).toMatchObject([{ level: "Warn", fields: { file: older(folder, 2) } }])
    }).pipe(Effect.provide([NodeServices.layer, LogCapture.layer])),
  )
})

describe("a backup that is called off", () => {
  it.live("ends at once, and leaves nothing", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
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

describe("around a session", () => {
  const opened = Effect.fnUntraced(function* (
    file: string,
    { budget = "10 seconds" as Duration.Input, source = file, wanted = true } = {},
  ) {
    const scope = yield* Scope.make()
    const context = yield* aroundSession(Effect.succeed(wanted)).pipe(
      Layer.provideMerge(Backup.layer({ file: source })),
      Layer.provideMerge(Layer.provide(Database.layer({ file }), quickDisk)),
      Layer.provideMerge(Shutdown.layer(budget)),
      Layer.provideMerge(LogCapture.layer),
      Layer.buildWithScope(scope),
    )
    return {
      inside: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideContext(self, context),
      close: (exit: Exit.Exit<unknown, unknown> = Exit.void) => Scope.close(scope, exit),
    }
  })
  const kinds = (folder: string) =>
    Effect.map(list(folder), (names) => names.map((name) => name.replace(/\d{8}T\d{9}Z/, "stamp")).toSorted())

  it.live("there is one before and one after; nothing is made of a database that is empty", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const first = yield* opened(`${folder}/test.db`)
      yield* first.inside(table)
      expect((yield* kinds(folder)).filter((name) => name.includes("bak"))).toEqual([])
      yield* first.close()
      expect(yield* kinds(folder)).toEqual(["test.db", "test.db.post.stamp"])
      expect((yield* first.inside(steps)).slice(-3)).toEqual(["backup", "drain writes", "close database"])
      const second = yield* opened(`${folder}/test.db`)
      yield* second.close()
      expect(yield* kinds(folder)).toEqual(["test.db", "test.db.bak.stamp", "test.db.post.stamp", "test.db.post.stamp"])
    }),
  )

  it.live("the one after is left out when the end is not clean, or has no time for it", () =>
    Effect.gen(function* () {
      const reasonOf = Effect.fnUntraced(function* (
        options: { readonly wanted?: boolean },
        end: (at: Effect.Success<ReturnType<typeof opened>>) => Effect.Effect<unknown>,
      ) {
        const folder = yield* temporaryFolder
        const at = yield* opened(`${folder}/test.db`, options)
        yield* at.inside(table)
        yield* end(at)
        expect(yield* kinds(folder)).toEqual(["test.db"])
        const [line] = yield* at.inside(logged("backup skipped"))
        return line?.fields["reason"]
      })
      expect(yield* reasonOf({}, ({ close }) => close(Exit.fail("no")))).toContain("did not end cleanly")
      expect(yield* reasonOf({ wanted: false }, ({ close }) => close())).toContain("no time")
      expect(
        yield* reasonOf({}, ({ close, inside }) =>
          Effect.andThen(inside(Shutdown.Shutdown.use(({ recordFailure }) => recordFailure("a step"))), close()),
        ),
      ).toContain("a step of the shutdown failed")
    }),
  )

  it.effect("the one after is left out when half of the budget is gone", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const { close, inside } = yield* opened(`${folder}/test.db`)
      yield* inside(table)
      yield* inside(Shutdown.Shutdown.use(({ begin }) => begin()))
      yield* TestClock.adjust("6 seconds")
      yield* close()
      expect((yield* inside(logged("backup skipped")))[0]?.fields["reason"]).toContain("less than half")
    }),
  )

  it.live("the one after that takes too long is called off with a WARNING, and the close has its time", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      execFileSync("mkfifo", [`${folder}/fifo`]) // a file that cannot be opened, for nobody writes to it
      const { close, inside } = yield* opened(`${folder}/test.db`, { budget: "2 seconds", source: `${folder}/fifo` })
      yield* Effect.andThen(inside(table), close())
      const [line] = yield* inside(logged("backup failed"))
      expect([line?.level, line?.fields["error"]]).toEqual(["Warn", expect.stringContaining("not done after")])
      expect(yield* kinds(folder)).toEqual(["fifo", "test.db"])
      expect(yield* inside(Shutdown.Shutdown.use(({ failures }) => failures))).toEqual([])
    }),
  )

  it.live("a failure is a WARNING, and the session goes on", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const before = yield* opened(`${folder}/test.db`)
      yield* Effect.andThen(before.inside(table), before.close())
      const { close, inside } = yield* opened(`${folder}/test.db`, { source: `${folder}/no-such.db` })
      yield* inside(insert)
      yield* close()
      const lines = yield* inside(logged("backup failed"))
      expect(lines.map(({ level }) => level)).toEqual(["Warn", "Warn"])
      expect(yield* inside(Shutdown.Shutdown.use(({ failures }) => failures))).toEqual([])
    }),
  )
})

describe("a damaged database", () => {
  const sessions = Effect.gen(function* () {
    const folder = yield* temporaryFolder
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
      const folder = yield* temporaryFolder
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
