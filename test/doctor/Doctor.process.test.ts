/** A healthy database, and the integrity of one that is not. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as fs from "node:fs"
import { Subject } from "../../src/doctor/Finding.ts"
import { subjects } from "../../src/doctor/Subjects.ts"
import * as Database from "../../src/sqlite/Database.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import { writtenBefore } from "../support/StoredRows.ts"
import { leftBehind } from "../support/LeftFiles.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { owner } from "../support/Owner.ts"
import { about, database, examine, examineUntouched, found, seen } from "../support/examined.ts"

/** The bytes of a page that `quick_check` looks at. */
const damage = (file: string) => {
  const descriptor = fs.openSync(file, "r+")
  fs.writeSync(descriptor, new Uint8Array(200).fill(7), 0, 200, 4096)
  fs.closeSync(descriptor)
}

describe("a healthy database", () => {
  it.live("has every subject in its report, with its description, in their order", () =>
    Effect.gen(function* () {
      const { examined } = yield* examineUntouched(yield* database())
      expect(examined.map(({ description, subject }) => ({ description, subject }))).toEqual(
        subjects.map(({ description, subject }) => ({ description, subject })),
      )
    }),
  )

  it.live("at rest has no problems, everything was examined, and nothing is touched", () =>
    Effect.gen(function* () {
      const report = yield* examineUntouched(yield* database())
      expect(found(report)).toEqual([])
      expect(report.examined.map(({ subject }) => subject)).toEqual(Subject.literals)
    }),
  )

  it.live("has no problems while its owner works with it, and stays the owner's", () =>
    Effect.gen(function* () {
      const file = yield* database()
      const pid = yield* owner(file, { before: "commit(10); commit(10)" })
      const report = yield* examine(file)
      expect(found(report)).toEqual([])
      expect(report.examined).toHaveLength(Subject.literals.length)
      expect(about(report, "open-elsewhere")).toMatchObject({
        severity: "notice",
        evidence: { pids: [pid] },
        remedy: `seawall status ${file}`,
      })
      expect(about(report, "open-elsewhere")?.message).toContain(`(pid ${pid})`)
      expect(seen(report, "wal")).toContain("in use: 2 frames")
      expect(fs.readdirSync(file.replace("/test.db", ""))).toEqual(["test.db", "test.db-shm", "test.db-wal"])
    }),
  )

  it.live("is seen through a symbolic link, with the files beside its target", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("commit(10)")
      const link = `${yield* TemporaryDatabase.folder}/link.db`
      fs.symlinkSync(file, link)
      const report = yield* examine(link)
      expect(about(report, "left-behind")?.evidence["files"]).toEqual([`${file}-wal`, `${file}-shm`])
    }),
  )

  it.live("may be empty", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      fs.writeFileSync(file, "")
      expect(found(yield* examineUntouched(file))).toEqual([])
    }),
  )
})

describe("a database that this process has open", () => {
  const locks = (file: string) => {
    const ino = `:${fs.statSync(file).ino} `
    return fs
      .readFileSync("/proc/locks", "utf8")
      .split("\n")
      .filter((line) => line.includes(ino))
      .map((line) => line.replace(/^\d+: /, "")) // its place in the table, which others move
  }

  it.live("is not examined, and keeps its locks; it is when it was closed", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* Database.Database.use(({ sql }) =>
        Effect.gen(function* () {
          yield* sql`CREATE TABLE t (a)`
          const before = locks(file)
          expect(before).toHaveLength(process.platform === "linux" ? 1 : 0)
          expect((yield* Effect.flip(examine(file)))._tag).toBe("OpenHereError")
          expect(locks(file)).toEqual(before)
        }),
      ).pipe(Effect.provide(Database.layer({ filename: file }), { local: true }))
      expect(found(yield* examine(file))).toEqual([])
    }).pipe(Effect.provide(LogCapture.layer)),
  )
})

describe("integrity", () => {
  it.live("that is lost is critical, and fixed by the newest backup that is sound", () =>
    Effect.gen(function* () {
      const file = yield* database()
      const sound = `${file}.bak.20261101T000000000Z`
      fs.copyFileSync(file, sound)
      damage(file)
      fs.copyFileSync(file, `${file}.bak.20261102T000000000Z`)
      const report = yield* examineUntouched(file)
      expect(report.findings[0]).toMatchObject({
        severity: "critical",
        subject: "integrity",
        remedy: `seawall restore ${sound} ${file}`,
      })
      expect(about(report, "integrity")?.evidence["quick_check"]).not.toEqual([])
    }),
  )

  it.live("without a backup is fixed by what can be read", () =>
    Effect.gen(function* () {
      const file = yield* database()
      damage(file)
      expect(about(yield* examine(file), "integrity")?.remedy).toBe(
        `sqlite3 ${file} .recover | sqlite3 ${file}.recovered && seawall restore ${file}.recovered ${file}`,
      )
    }),
  )

  it.live("of a file that was cut says where it ends, in one short line, and advises nothing that would fail", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* writtenBefore(
        file,
        "CREATE TABLE t (a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO t SELECT zeroblob(3000) FROM n",
      )
      const pages = fs.statSync(file).size / 4096
      fs.truncateSync(file, 534 * 4096)
      const report = yield* examine(file)
      const finding = about(report, "integrity")
      expect(finding?.message).toContain(`the file ends at page 534 of ${pages.toLocaleString("en-US")}`)
      expect(finding?.message.length).toBeLessThan(300)
      // A damaged database cannot be backed up, and an operator who is root need not become it.
      for (const { remedy } of report.findings) expect(remedy).not.toMatch(/^(?:seawall backup|sudo )/)
      expect(about(report, "backup")?.remedy).toBe(`${finding?.remedy}, and then: seawall backup ${file}`)
    }),
  )

  it.live("of a file without its header is critical when there are backups, else it is no database", () =>
    Effect.gen(function* () {
      const file = yield* database()
      const backup = `${file}.post.20261101T000000000Z`
      fs.copyFileSync(file, backup)
      fs.writeFileSync(file, Buffer.alloc(8192, 7))
      expect(about(yield* examineUntouched(file), "integrity")).toMatchObject({
        severity: "critical",
        remedy: `seawall restore ${backup} ${file}`,
      })
      fs.rmSync(backup)
      const result = yield* Effect.result(examine(file))
      expect(Result.isFailure(result) && result.failure.message).toContain("is not a SQLite database")
    }),
  )

  it.live("of a database that waits for its rollback journal is not examined, and the journal stays", () =>
    Effect.gen(function* () {
      const file = yield* database("", "DELETE")
      fs.writeFileSync(`${file}-journal`, Buffer.alloc(1024, 0xd9))
      const report = yield* examineUntouched(file)
      expect(about(report, "integrity")?.severity).toBe("notice")
      expect(about(report, "integrity")?.message).toContain("not examined: its rollback journal")
      expect(about(report, "left-behind")?.severity).toBe("warning")
      expect(seen(report, "integrity")).toBeUndefined()
    }),
  )

  it.live("of a database that is written without WAL meanwhile is examined as its locks allow", () =>
    Effect.gen(function* () {
      const file = yield* database("", "DELETE")
      yield* owner(file, {
        before: "",
        after: `db.exec("PRAGMA synchronous = OFF"); const until = Date.now() + 4000
          while (Date.now() < until) { db.exec("BEGIN"); commit(100000); db.exec("DELETE FROM t; COMMIT") }`,
      })
      for (let round = 0; round < 3; round++) {
        const report = yield* examine(file)
        expect(report.findings.filter(({ severity }) => severity === "critical")).toEqual([])
      }
    }),
  )
})
