/** Processes, versions, disks, sessions and backups: each finding provoked, and absent where nothing is wrong. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { ChildProcess } from "effect/process"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as Examination from "../../src/doctor/Examination.ts"
import { autocheckpoint, isGuard } from "../../src/doctor/subjects/Autocheckpoint.ts"
import { judge as judgeSpace } from "../../src/doctor/subjects/DiskSpace.ts"
import { judge as judgeNetwork } from "../../src/doctor/subjects/NetworkFileSystem.ts"
import { openElsewhere } from "../../src/doctor/subjects/OpenElsewhere.ts"
import { pinnedWal } from "../../src/doctor/subjects/PinnedWal.ts"
import { judge as judgeVersion } from "../../src/doctor/subjects/SqliteVersion.ts"
import type { Facts } from "../../src/facts/Facts.ts"
import { wal } from "../../src/doctor/subjects/Wal.ts"
import * as DatabaseFile from "../../src/files/DatabaseFile.ts"
import { type Process, using } from "../../src/processes/Processes.ts"
import { walResetBug } from "../../src/sqlite/SqliteVersion.ts"
import { stampOf } from "../../src/sqlite/copies/BackupFiles.ts"
import { copyOf, leftBehind } from "../support/LeftFiles.ts"
import { foreignConnection, foreignReader } from "../support/ForeignReader.ts"
import { owner } from "../support/Owner.ts"
import { about, database, examine, examineUntouched, found, gather, seen } from "../support/examined.ts"

const writer: Process = {
  pid: 1,
  command: "/opt/app/writer",
  words: ["/opt/app/writer"],
  locks: [],
  mayWrite: true,
  runningSince: Option.none(),
  has: "this",
}

const readOnly = (file: string) =>
  foreignConnection(file, ["PRAGMA query_only = 1", "SELECT count(*) FROM sqlite_schema"])

describe("a reader", () => {
  it.live("that pins the WAL is named by its pid, with the frames that it keeps", () =>
    Effect.gen(function* () {
      const file = yield* database()
      yield* owner(file, { before: "commit(10); commit(10)" })
      expect(about(yield* examine(file), "pinned-wal")).toBeUndefined()
      const reader = yield* foreignReader(file)
      yield* Effect.scoped(owner(file, { before: "commit(10); commit(10); commit(10)" }))
      expect(about(yield* examine(file), "pinned-wal")).toMatchObject({
        severity: "warning",
        evidence: { pid: reader, snapshot_frame: 2, log_frames: 5, kept_frames: 3 },
        remedy: expect.stringMatching(new RegExp(`^in .*: end the transaction .* or stop it: kill ${reader}$`)),
      })
    }),
  )

  it.live("of the database file alone keeps every checkpoint from it", () =>
    Effect.gen(function* () {
      const file = yield* database()
      yield* owner(file, { before: "commit(10); db.exec('PRAGMA wal_checkpoint(PASSIVE)')" })
      const reader = yield* foreignReader(file)
      yield* Effect.scoped(owner(file, { before: "commit(10); commit(10)" }))
      expect(about(yield* examine(file), "pinned-wal")).toMatchObject({
        severity: "warning",
        evidence: { pid: reader, read_slot: 0, kept_frames: 2 },
      })
    }),
  )

  it.live("of the newest snapshot is a notice", () =>
    Effect.gen(function* () {
      const file = yield* database()
      yield* owner(file, { before: "commit(10)" })
      const reader = yield* foreignReader(file)
      const report = yield* examine(file)
      expect(found(report, "pinned-wal")).toEqual([])
      expect(about(report, "pinned-wal")?.evidence).toMatchObject({ pid: reader, kept_frames: 0 })
    }),
  )
})

describe("autocheckpoint", () => {
  it.live("of a program beside a guard cannot be seen, and is a notice with its pid", () =>
    Effect.gen(function* () {
      const file = yield* database()
      const guard = yield* owner(file, { before: "commit(10)", name: ["seawall", "guard", file] })
      expect(about(yield* examine(file), "autocheckpoint")).toBeUndefined()
      const other = yield* readOnly(file)
      expect(about(yield* examine(file), "autocheckpoint")).toMatchObject({
        severity: "notice",
        evidence: { guard_pids: [guard], pids: [other] },
      })
    }),
  )

  it.live("without a guard is as it should be, and so is a program that cannot write", () =>
    Effect.gen(function* () {
      const file = yield* database()
      yield* owner(file, { before: "commit(10)" })
      expect(about(yield* examine(file), "autocheckpoint")).toBeUndefined()
      yield* owner(file, { before: "", name: ["/usr/lib/seawall/main.js", "run"] })
      const facts = yield* gather(file)
      const reading = Option.map(facts.processes, (them) => them.map((one) => ({ ...one, mayWrite: isGuard(one) })))
      const run = (processes: Facts["processes"]) =>
        Examination.run({ ...facts, processes }, autocheckpoint).pipe(Effect.provide(NodeServices.layer))
      expect((yield* run(facts.processes)).findings).toHaveLength(1)
      expect((yield* run(reading)).findings).toEqual([])
    }),
  )

  it.live("that holds the checkpointer's lock is a warning", () =>
    Effect.gen(function* () {
      const file = yield* database()
      yield* owner(file, { before: "commit(10)", name: ["seawall", "guard", file] })
      yield* foreignReader(file)
      // It holds the lock for as long as it waits for the reader.
      const other = yield* owner(file, { before: "commit(10)", after: "db.exec('PRAGMA wal_checkpoint(RESTART)')" })
      yield* Effect.sleep("500 millis")
      expect(about(yield* examine(file), "autocheckpoint")).toMatchObject({
        severity: "warning",
        evidence: { pids: [other] },
        remedy: "in the other program: PRAGMA wal_autocheckpoint = 0",
      })
    }),
  )

  it("is looked for beside the command, installed or from its sources", () => {
    const isOne = (line: string) => isGuard({ pid: 1, words: line.split(" ") })
    expect(isOne("node src/main.ts run --db a.db")).toBe(true)
    expect(isOne("/usr/bin/node /usr/bin/seawall guard a.db")).toBe(true)
    expect(isOne("node /opt/seawall/dist/main.js guard a.db")).toBe(true)
    expect(isOne("node src/main.ts doctor a.db")).toBe(false)
    expect(isOne("python3 run guard")).toBe(false)
    // An engine has a guard, whatever its program is called.
    expect(isGuard({ pid: 1, words: ["node", "logger.js"] }, Option.some(1))).toBe(true)
    expect(isGuard({ pid: 2, words: ["node", "logger.js"] }, Option.some(1))).toBe(false)
  })
})

describe("the system", () => {
  it.live("says by which SQLite the database was last written, and whether its WAL reset is safe", () =>
    Effect.gen(function* () {
      const file = yield* database()
      const bytes = fs.readFileSync(file)
      bytes.writeUInt32BE(3_051_002, 96)
      fs.writeFileSync(file, bytes)
      const facts = yield* gather(file)
      const processes = (...pids: ReadonlyArray<number>) =>
        Option.some(pids.map((pid): Process => ({ ...writer, pid })))
      const by = (
        version: string,
        journalMode: "wal" | "rollback" = "wal",
        open: Facts["processes"] = processes(1, 2),
      ) =>
        judgeVersion({
          ...facts,
          processes: open,
          header: Option.map(facts.header, (header) => ({
            ...header,
            journalMode,
            writtenBy: Option.some(version),
          })),
        }).findings.map(({ severity }) => severity)
      const finding = about(yield* examineUntouched(file), "sqlite-version")
      expect(finding).toMatchObject({ severity: "notice", evidence: { sqlite_version: "3.51.2", link: walResetBug } })
      expect(finding?.remedy).toContain("3.51.3 or later")
      expect(by("3.51.2")).toEqual(["warning"])
      expect(by("3.40.1")).toEqual(["warning"])
      expect(by("3.40.1", "wal", processes(1))).toEqual(["notice"])
      expect(by("3.40.1", "wal", Option.none())).toEqual(["notice"])
      expect(by("3.52.0")).toEqual(["notice"])
      expect(by("3.50.7")).toEqual([])
      expect(by("3.51.3")).toEqual([])
      expect(by("3.40.1", "rollback")).toEqual([])
    }),
  )

  it.live("warns of WAL mode on a network file system, and proposes none there", () =>
    Effect.gen(function* () {
      const facts = yield* gather(yield* database())
      expect(judgeNetwork(facts).findings).toEqual([])
      const [finding] = judgeNetwork({ ...facts, network: Option.some("nfs") }).findings
      expect(finding).toMatchObject({ severity: "warning", evidence: { file_system: "nfs" } })
    }),
  )

  it.live("warns of a database without WAL mode, once it holds something", () =>
    Effect.gen(function* () {
      const file = yield* database("", "DELETE")
      const report = yield* examineUntouched(file)
      expect(found(report)).toEqual(["warning wal-off"])
      expect(about(report, "wal-off")?.remedy).toBe(`sqlite3 ${file} 'PRAGMA journal_mode = WAL'`)
    }),
  )

  it.live("warns of a disk that has no room for a copy, or less than 5 % and 1 GiB left", () =>
    Effect.gen(function* () {
      const facts = { ...(yield* gather(yield* database())), bytes: 900, walBytes: Option.some(100) }
      const warns = (free: number, total: number) => judgeSpace(facts, { free, total }).findings.length === 1
      expect([warns(1000, 10_000), warns(999, 10_000)]).toEqual([false, true])
      expect([warns(5000, 100_000), warns(4999, 100_000)]).toEqual([false, true])
      expect([warns(2 ** 30, 2 ** 44), warns(2 ** 30 - 1, 2 ** 44)]).toEqual([false, true])
    }),
  )
})

describe("sessions", () => {
  const table = `CREATE TABLE sessions (session_id INTEGER PRIMARY KEY, parent_session_id INTEGER, started_at TEXT,
    ended_at TEXT, halt_reason TEXT);`
  const open = (id: number) => `INSERT INTO sessions VALUES (${id}, NULL, '2026-11-0${id}T00:00:00.000Z', NULL, NULL);`
  const closed = (id: number) => `INSERT INTO sessions VALUES (${id}, NULL, 's', 'e', 'kill_switch');`

  it.live("that were never closed are named, and the remedy closes them", () =>
    Effect.gen(function* () {
      const file = yield* database(table + open(1) + closed(2) + open(3))
      const finding = about(yield* examineUntouched(file), "open-session")
      expect(finding).toMatchObject({ severity: "warning", evidence: { session_ids: [1, 3] } })
      const statement = /^sqlite3 \S+ "(.*)"$/s.exec(finding?.remedy ?? "")?.[1] ?? ""
      const db = new DatabaseSync(file)
      db.exec(statement)
      expect(db.prepare("SELECT session_id FROM sessions WHERE halt_reason = 'unexpected_halt'").all()).toHaveLength(2)
      db.close()
      expect(found(yield* examineUntouched(file))).toEqual([])
    }),
  )

  it.live("are read from a WAL that was left, with and without its index", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind(`db.exec(\`${table}${open(1)}\`)`)
      expect(about(yield* examineUntouched(file), "open-session")?.evidence["session_ids"]).toEqual([1])
      const bare = yield* copyOf(file, fs.readFileSync(`${file}-wal`))
      expect(about(yield* examineUntouched(bare), "open-session")?.evidence["session_ids"]).toEqual([1])
    }),
  )

  it.live("that may be running are left alone", () =>
    Effect.gen(function* () {
      const file = yield* database(table + open(1) + open(2))
      yield* owner(file, { before: "commit(10)" })
      const report = yield* examine(file)
      expect(about(report, "open-session")?.evidence["session_ids"]).toEqual([1])
      expect(seen(report, "open-session")).toBe("2 sessions without an end, the newest may be running")
    }),
  )

  it.live("of another program are its own business", () =>
    Effect.gen(function* () {
      const file = yield* database("CREATE TABLE sessions (id, ended_at); INSERT INTO sessions VALUES (1, NULL);")
      expect(about(yield* examineUntouched(file), "open-session")).toBeUndefined()
    }),
  )
})

describe("backups", () => {
  const days = (n: number) => n * 86_400_000
  const age = (n: number) => stampOf(Date.now() - days(n))

  it.live("that are missing are a notice", () =>
    Effect.gen(function* () {
      const file = yield* database()
      expect(about(yield* examine(file), "backup")).toMatchObject({
        severity: "notice",
        remedy: `seawall backup ${file}`,
      })
    }),
  )

  it.live("that are young and sound are right", () =>
    Effect.gen(function* () {
      const file = yield* database()
      fs.copyFileSync(file, `${file}.bak.${age(6)}`)
      const report = yield* examineUntouched(file)
      expect(about(report, "backup")).toBeUndefined()
      expect(seen(report, "backup")).toBe("1 backup, the newest: bak 6 days old, passes its check")
    }),
  )

  it.live("that are old are a warning, unless the database was not written since", () =>
    Effect.gen(function* () {
      const file = yield* database()
      fs.copyFileSync(file, `${file}.bak.${age(8)}`)
      expect(about(yield* examine(file), "backup")).toMatchObject({ severity: "warning", evidence: { age_days: 8 } })
      const before = new Date(Date.now() - days(9))
      fs.utimesSync(file, before, before)
      expect(about(yield* examine(file), "backup")).toBeUndefined()
    }),
  )

  it.live("of which the newest is damaged are a warning, whatever the older ones are", () =>
    Effect.gen(function* () {
      const file = yield* database()
      fs.copyFileSync(file, `${file}.bak.${age(2)}`)
      fs.writeFileSync(`${file}.post.${age(1)}`, Buffer.alloc(8192, 7))
      const finding = about(yield* examineUntouched(file), "backup")
      expect(finding).toMatchObject({ severity: "warning", evidence: { backups: 2 } })
      expect(finding?.message).toContain("is damaged")
      fs.copyFileSync(file, `${file}.post.${age(0)}`)
      const later = yield* examine(file)
      expect(seen(later, "backup")).toMatch(/^3 backups, the newest: post \d+ s old, bak 2 days old, each passes/)
    }),
  )
})

describe("a backup that was never finished", () => {
  it.live("is a notice with the command that removes it, unless some process has it open", () =>
    Effect.gen(function* () {
      const file = yield* database()
      fs.copyFileSync(file, `${file}.bak.20261101T000000000Z`)
      const partial = `${file}.manual.20261102T000000000Z.partial`
      for (const suffix of ["", "-journal"]) fs.writeFileSync(partial + suffix, "half of it")
      const writing = yield* ChildProcess.make("tail", ["-f", partial])
      yield* Effect.repeat(using(DatabaseFile.resolve(partial)), { until: Option.exists((them) => them.length > 0) })
      const words = "never finished"
      const unfinished = Effect.map(examineUntouched(file), ({ findings }) =>
        findings.filter(({ message }) => message.includes(words)),
      )
      expect(yield* unfinished).toEqual([])
      yield* writing.kill()
      const left = [partial, `${partial}-journal`]
      expect(yield* unfinished).toMatchObject([
        { severity: "notice", subject: "backup", evidence: { files: left }, remedy: `rm ${left.join(" ")}` },
      ])
    }).pipe(Effect.provide(NodeServices.layer)),
  )
})

describe("an examination that cannot be made", () => {
  it.live("is a notice, never silent: who has a file open is seen on Linux only", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("commit(10)")
      const facts = { ...(yield* gather(file)), processes: Option.none() }
      for (const examination of [openElsewhere, pinnedWal, autocheckpoint]) {
        const { examined, findings } = yield* Examination.run(facts, examination)
        expect(examined).toEqual([])
        expect(findings).toMatchObject([{ severity: "notice", subject: examination.subject }])
        expect(findings[0]?.message).toMatch(/^not examined: .*Linux/)
      }
    }).pipe(Effect.provide(NodeServices.layer)),
  )

  it.live("does not keep the others from being made, even when it dies", () =>
    Effect.gen(function* () {
      const facts = yield* gather(yield* database())
      const dying = Examination.make({ ...wal, examine: () => Effect.die(new Error("no such thing")) })
      const { findings } = yield* Examination.run(facts, dying)
      expect(findings).toMatchObject([{ severity: "notice", message: "not examined: no such thing" }])
    }).pipe(Effect.provide(NodeServices.layer)),
  )

  it.live("names the file that could not be read", () =>
    Effect.gen(function* () {
      const file = yield* database()
      fs.mkdirSync(`${file}-wal`)
      const report = yield* examine(file)
      expect(about(report, "wal")).toMatchObject({ severity: "notice" })
      expect(about(report, "wal")?.message).toContain(`not examined: ${file}-wal is no regular file`)
    }),
  )
})
