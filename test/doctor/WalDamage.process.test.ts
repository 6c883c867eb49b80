/** What is said about logs, on files as killed processes leave them and beside processes that write. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { copyOf, leftBehind } from "../support/LeftFiles.ts"
import { owner } from "../support/Owner.ts"
import { about, database, examine, examineUntouched, flip, found, seen } from "../support/examined.ts"

const header = 32
const frame = 24 + 4096

/** A transaction that was too large for the cache. */
const spilled = `db.exec("PRAGMA cache_size = 5; BEGIN"); for (let n = 0; n < 50; n++) commit(3000)`

describe("a WAL that was left", () => {
  it.live("is told with its commits, and nothing is touched, with or without its index", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("commit(10); commit(10); commit(10)")
      const report = yield* examineUntouched(file)
      expect(found(report)).toEqual(["warning left-behind"])
      expect(about(report, "left-behind")).toMatchObject({
        evidence: { commits: 3, files: [`${file}-wal`, `${file}-shm`] },
        remedy: `seawall checkpoint ${file}`,
      })
      expect(seen(report, "wal")).toContain("a recovery keeps 3 commits")
      const copy = yield* copyOf(file, fs.readFileSync(`${file}-wal`))
      expect(found(yield* examineUntouched(copy))).toEqual(["warning left-behind"])
    }),
  )

  it.live("without a commit is a notice", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("")
      const report = yield* examineUntouched(file)
      expect(found(report, "left-behind")).toEqual([])
      expect(about(report, "left-behind")?.message).toContain("they hold no commit")
      fs.rmSync(`${file}-shm`) // empty, and alone
      expect(found(yield* examineUntouched(file), "left-behind")).toEqual([])
    }),
  )

  it.live("by a transaction that was rolled back, or killed, is not damaged", () =>
    Effect.gen(function* () {
      const rolledBack = yield* leftBehind(`commit(10); ${spilled}; db.exec("ROLLBACK"); commit(10)`)
      expect(about(yield* examineUntouched(rolledBack.file), "wal")).toBeUndefined()
      const killed = yield* leftBehind(`commit(10); ${spilled}`)
      expect(about(yield* examineUntouched(killed.file), "wal")).toBeUndefined()
    }),
  )

  it.live("is larger than its data from 4 MiB on, and is fixed by a guard while a program writes", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("commit(5000000)")
      expect(about(yield* examineUntouched(file), "wal-size")).toMatchObject({
        severity: "warning",
        remedy: `seawall checkpoint ${file}`,
      })
      yield* owner(file, { before: "commit(10)" })
      expect(about(yield* examine(file), "wal-size")?.remedy).toBe(`seawall guard ${file}`)
      const short = yield* leftBehind("commit(3000000)")
      expect(about(yield* examineUntouched(short.file), "wal-size")).toBeUndefined()
    }),
  )
})

describe("a damaged WAL", () => {
  it.live("is critical, and says what a recovery keeps and where it is torn", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("for (let n = 0; n < 5; n++) commit(10)")
      const wal = `${file}-wal`
      flip(wal, header + 2 * frame + 1000)
      const report = yield* examineUntouched(file)
      expect(about(report, "wal")).toMatchObject({
        severity: "critical",
        message: `the WAL is damaged at frame 3 (byte ${header + 2 * frame}): of 5 committed frames a recovery keeps 2`,
        evidence: { commits: 2, torn_at_frame: 3, commits_dropped: 3, committed_frames: 5, checkpointed_frames: 0 },
        remedy: `cp ${wal} ${wal}.damaged && seawall checkpoint ${file}`,
      })
      expect(about(report, "left-behind")?.remedy).toBe(about(report, "wal")?.remedy)
      const bare = about(yield* examineUntouched(yield* copyOf(file, fs.readFileSync(wal))), "wal")
      expect(bare).toMatchObject({ severity: "critical", evidence: { commits: 2, commits_dropped: 3 } })
    }),
  )

  it.live("that is older than what was checkpointed is to be put aside", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind(
        "commit(10); commit(10); commit(10); db.exec('PRAGMA wal_checkpoint(PASSIVE)')",
      )
      flip(`${file}-wal`, header + frame + 1000)
      expect(about(yield* examineUntouched(file), "wal")).toMatchObject({
        severity: "critical",
        remedy: `mv ${file}-wal ${file}-wal.damaged`,
      })
    }),
  )

  it.live("in its header is critical, for SQLite ignores it", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("commit(10); commit(10)")
      flip(`${file}-wal`, 17)
      expect(about(yield* examineUntouched(file), "wal")).toMatchObject({
        severity: "critical",
        evidence: { end: "BadHeader", committed_frames: 2 },
      })
      const bare = yield* copyOf(file, fs.readFileSync(`${file}-wal`))
      expect(about(yield* examineUntouched(bare), "wal")?.message).toContain("SQLite ignores all of it")
    }),
  )

  it.live("that is gone is critical when its index knows commits that were not checkpointed, and only then", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("commit(10); commit(10)")
      fs.rmSync(`${file}-wal`)
      expect(about(yield* examineUntouched(file), "wal")).toMatchObject({
        severity: "critical",
        remedy: `put ${file}-wal back beside the database`,
      })
      const copied = yield* leftBehind("commit(10); db.exec('PRAGMA wal_checkpoint(PASSIVE)')")
      fs.rmSync(`${copied.file}-wal`)
      expect(about(yield* examineUntouched(copied.file), "wal")).toBeUndefined()
    }),
  )

  it.live("beside an empty database file is critical, for SQLite would delete it", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("commit(10)")
      fs.truncateSync(file)
      fs.rmSync(`${file}-shm`)
      expect(about(yield* examineUntouched(file), "wal")).toMatchObject({ severity: "critical" })
    }),
  )

  it.live("whose last commit is torn is a notice when nothing says that it was acknowledged", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("commit(10); commit(10)")
      const torn = yield* copyOf(file, fs.readFileSync(`${file}-wal`).subarray(0, header + frame + 2000))
      expect(about(yield* examineUntouched(torn), "wal")).toMatchObject({
        severity: "notice",
        evidence: { commits: 1, torn_at_frame: 2 },
      })
    }),
  )

  it.live("of which an earlier recovery dropped commits is a warning", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("for (let n = 0; n < 6; n++) commit(10)")
      flip(`${file}-wal`, header + 2 * frame + 1000)
      // The next user recovers two commits, writes over the third, and is killed.
      yield* Effect.scoped(owner(file, { before: "db.exec('PRAGMA wal_autocheckpoint = 0'); commit(10)" }))
      expect(about(yield* examineUntouched(file), "wal")).toMatchObject({
        severity: "warning",
        evidence: { commits: 3, commits_dropped: 3 },
      })
    }),
  )
})

describe("a WAL in use", () => {
  it.live("that is damaged is critical, and backed up while its index lives", () =>
    Effect.gen(function* () {
      const file = yield* database()
      yield* owner(file, { before: "for (let n = 0; n < 5; n++) commit(10)" })
      expect(about(yield* examine(file), "wal")).toBeUndefined()
      flip(`${file}-wal`, header + 2 * frame + 16)
      expect(about(yield* examine(file), "wal")).toMatchObject({
        severity: "critical",
        evidence: { committed_frames: 5, recoverable_frames: 2 },
        remedy: `seawall backup ${file}`,
      })
    }),
  )

  it.live("that is gone from the folder is taken over when its owner closes", () =>
    Effect.gen(function* () {
      const file = yield* database()
      const pid = yield* owner(file, { before: "commit(10)" })
      fs.rmSync(`${file}-wal`)
      expect(about(yield* examine(file), "wal")).toMatchObject({
        severity: "critical",
        remedy: expect.stringMatching(new RegExp(`^close it in the processes .*: kill ${pid}$`)),
      })
    }),
  )

  it.live(
    "is not called damaged while a writer commits, rolls back, checkpoints and resets",
    () =>
      Effect.gen(function* () {
        const file = yield* database()
        yield* owner(file, {
          before: "",
          after: `db.exec("PRAGMA cache_size = 5; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 50")
          const until = Date.now() + 15000
          for (let n = 0; Date.now() < until; n++) {
            for (let m = 0; m < 20; m++) commit(3000)
            db.exec("BEGIN"); for (let m = 0; m < 20; m++) commit(3000)
            db.exec("ROLLBACK; DELETE FROM t")
            if (n % 10 === 0) db.exec("PRAGMA wal_checkpoint(TRUNCATE)")
          }`,
        })
        for (let round = 0; round < 5; round++) {
          const report = yield* examine(file)
          expect(report.findings.filter(({ severity }) => severity === "critical")).toEqual([])
        }
      }),
    60_000,
  )
})
