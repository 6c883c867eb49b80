/** One look at real files: what it says, and that nothing is different after it. Who has them open are real processes. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as StatusTable from "../../src/cli/StatusTable.ts"
import * as DatabaseStatus from "../../src/status/DatabaseStatus.ts"
import { following, type OpenedBy, Status } from "../../src/status/DatabaseStatus.ts"
import * as Database from "../../src/sqlite/Database.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import { foreignConnection, foreignReader } from "../support/ForeignReader.ts"
import { leftBehind } from "../support/LeftFiles.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"

/** Every file beside the database, byte for byte, with the times at which they were changed. */
const folderOf = (file: string) => {
  const folder = file.slice(0, file.lastIndexOf("/"))
  return fs.readdirSync(folder).map((name) => {
    const { ino, mtimeMs, ctimeMs } = fs.statSync(`${folder}/${name}`)
    return [name, ino, mtimeMs, ctimeMs, fs.readFileSync(`${folder}/${name}`).toString("base64")]
  })
}

/** The look, when it has changed nothing. */
const looked = Effect.fnUntraced(function* (file: string) {
  const before = folderOf(file)
  const status = yield* DatabaseStatus.read(file)
  expect(folderOf(file)).toEqual(before)
  return status
})

/** What was found of it; what is null in the JSON is not there. */
const found = (status: Status) =>
  Object.fromEntries(
    Object.entries(status).flatMap(([name, value]) =>
      !Option.isOption(value) ? [[name, value]] : Option.isSome(value) ? [[name, value.value]] : [],
    ),
  )

const engine = <A, E>(file: string, work: Effect.Effect<A, E, StateManager.StateManager>) =>
  Effect.provide(
    work,
    StateManager.layer().pipe(Layer.provide(Database.layer({ filename: file })), Layer.provide(LogCapture.layer)),
    { local: true },
  )

const execute = (file: string, statements: string) => {
  const database = new DatabaseSync(file)
  database.exec(statements)
  database.close()
}

describe("a look at a database that no process has open", () => {
  it.live("reads what its engine stored, and leaves every file as it is", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const worth = Option.some({ starting: 10, ending: 12.5 })
      yield* engine(
        file,
        StateManager.StateManager.use((state) =>
          Effect.gen(function* () {
            const parent = yield* state.openSession({ parentSessionId: Option.none() })
            const sessionId = yield* state.openSession({ parentSessionId: Option.some(parent) })
            yield* state.closeSession({ sessionId, haltReason: "duration_elapsed", worth })
            yield* state.setMany({ engine_status: "HALTED", "halt.reason": "duration_elapsed", "halt.detail": "" })
          }),
        ),
      )
      const status = yield* looked(file)
      expect(found(status)).toMatchObject({
        journal_mode: "wal",
        page_bytes: 4096,
        database_bytes: fs.statSync(file).size,
        database_changed_at: fs.statSync(file, { bigint: true }).mtime.toISOString(),
        log_bytes: 0,
        log_frames: 0,
        backlog_frames: 0,
        opened_by: [],
        engine_state: "read",
        engine_status: "HALTED",
        halt_reason: "duration_elapsed",
        session_id: 2,
        parent_session_id: 1,
        session_state: "closed",
        session_halt_reason: "duration_elapsed",
        session_starting_value_rlusd: 10,
        session_ending_value_rlusd: 12.5,
      })
      expect(Option.isNone(status.halt_detail)).toBe(true)
    }),
  )

  it.live("says that a session was not closed, and finds the files behind a symbolic link", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* engine(
        file,
        StateManager.StateManager.use((state) =>
          Effect.andThen(state.openSession({ parentSessionId: Option.none() }), state.set("engine_status", "RUNNING")),
        ),
      )
      const link = `${yield* TemporaryDatabase.folder}/link.db`
      fs.symlinkSync(file, link)
      const status = yield* looked(link)
      expect(found(status)).toMatchObject({ engine_status: "RUNNING", session_id: 1, session_state: "not_closed" })
      expect(StatusTable.render(status)).toMatch(/RUNNING, but no process is seen[^]*not closed/)
    }),
  )

  it.effect.each([
    ["no table at all", ""],
    ["tables of its own", "CREATE TABLE sessions (id); CREATE TABLE engine_state (a); INSERT INTO sessions VALUES (1)"],
    [
      "a view where the table would be",
      "CREATE VIEW engine_state AS SELECT 'engine_status' AS key, 'RUNNING' AS value",
    ],
  ])("has no engine with %s", ([, tables]) =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      execute(file, `PRAGMA journal_mode = WAL; CREATE TABLE t (a); ${tables}`)
      const status = yield* looked(file)
      expect(found(status)).toMatchObject({ engine_state: "absent", opened_by: [], log_frames: 0 })
      expect(found(status)).not.toHaveProperty("engine_status")
      expect(found(status)).not.toHaveProperty("session_id")
    }),
  )

  it.effect("takes the state of an older engine for what it is, and says when it cannot be understood", () =>
    Effect.gen(function* () {
      const state = `CREATE TABLE Engine_State (Key TEXT, value); INSERT INTO engine_state VALUES ('engine_status', 7);`
      const older = yield* TemporaryDatabase.file
      execute(older, `${state} CREATE TABLE sessions (session_id INTEGER PRIMARY KEY); INSERT INTO sessions VALUES (3)`)
      expect(found(yield* looked(older))).toMatchObject({
        journal_mode: "rollback",
        engine_status: "7",
        session_id: 3,
        session_state: "not_closed",
      })
      const other = yield* TemporaryDatabase.file
      execute(
        other,
        `${state} CREATE TABLE sessions (session_id INTEGER PRIMARY KEY, ended_at); INSERT INTO sessions VALUES (1, x'00')`,
      )
      const status = found(yield* looked(other))
      expect(status).toMatchObject({ engine_state: "not_read" })
      expect(status["engine_state_reason"]).toContain("not those of an engine")
    }),
  )

  it.effect("reads a WAL that was left, which SQLite would recover, as a file alone", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind(
        "commit(10); commit(10); db.exec('PRAGMA wal_checkpoint(PASSIVE)'); commit(10)",
      )
      const status = yield* looked(file)
      expect(found(status)).toMatchObject({
        log_read_from: "log",
        log_frames: 1,
        backlog_frames: 1,
        log_commits: 1,
        opened_by: [],
        engine_state: "not_read",
      })
      expect(found(status)["engine_state_reason"]).toContain("did not close it")
      expect(StatusTable.render(status)).toContain("left behind: 1 frame of 1 commit would be recovered")
    }),
  )

  it.effect("leaves a journal that was left to its database", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      execute(file, "CREATE TABLE t (a)")
      fs.writeFileSync(`${file}-journal`, "a hot journal")
      const status = found(yield* looked(file))
      expect(status).toMatchObject({ engine_state: "not_read", journal_mode: "rollback" })
      expect(status["engine_state_reason"]).toContain(`${file}-journal was left`)
    }),
  )

  it.effect("says in one sentence what is no database, and takes an empty file for an empty one", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      fs.writeFileSync(`${folder}/empty.db`, "")
      fs.writeFileSync(`${folder}/text.db`, "no database".repeat(20))
      const messageOf = (name: string) =>
        Effect.map(Effect.flip(DatabaseStatus.read(`${folder}/${name}`)), ({ message }) => message)
      expect(found(yield* looked(`${folder}/empty.db`))).toMatchObject({ database_bytes: 0, engine_state: "absent" })
      expect(yield* messageOf("text.db")).toContain("is not a SQLite database")
      expect(yield* messageOf("none.db")).toContain("does not exist")
      expect(yield* messageOf("")).toContain("is no regular file")
      expect(fs.readdirSync(folder)).toEqual(["empty.db", "text.db"])
    }),
  )
})

describe.runIf(process.platform === "linux")("a look at a database that others have open", () => {
  it.live("names a writer and a reader with their locks, and reads what was committed", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* engine(
        file,
        StateManager.StateManager.use((state) => state.set("engine_status", "RUNNING")),
      )
      const reader = yield* foreignReader(file)
      const writer = yield* foreignConnection(file, [
        "UPDATE engine_state SET value = 'committed'",
        "BEGIN IMMEDIATE",
        "UPDATE engine_state SET value = 'not committed'",
      ])
      const status = yield* DatabaseStatus.read(file)
      expect(found(status)).toMatchObject({
        log_read_from: "index",
        log_frames: 1,
        checkpointed_frames: 0,
        backlog_frames: 1,
        engine_state: "read",
        engine_status: "committed",
      })
      const openers = Option.getOrThrow(status.opened_by)
      const its = (pid: number) => openers.find((it) => it.pid === pid)
      expect(its(reader)?.locks).toEqual(["read0"])
      expect(its(writer)?.locks).toContain("write")
      expect(its(writer)?.command).toContain("python")
      const started = Option.getOrThrow(
        Option.flatMap(Option.fromNullishOr(its(reader)), (it) => it.process_started_at),
      )
      expect(Math.abs(Date.parse(started) - Date.now())).toBeLessThan(60_000)
    }).pipe(Effect.scoped),
  )

  it.live("says how far a checkpoint came under a reader", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const insert = "INSERT INTO t VALUES (1)"
      const start = ["PRAGMA journal_mode=WAL", "PRAGMA wal_autocheckpoint=0", "CREATE TABLE t (a)", insert]
      const owner = yield* foreignConnection(file, start)
      const reader = yield* foreignReader(file)
      yield* foreignConnection(file, ["PRAGMA wal_autocheckpoint=0", insert, "PRAGMA wal_checkpoint(PASSIVE)"])
      const status = yield* DatabaseStatus.read(file)
      const { log_frames: frames, checkpointed_frames: copied } = found(status)
      expect(copied).toBeLessThan(Number(frames))
      expect(found(status)).toMatchObject({ backlog_frames: Number(frames) - Number(copied), engine_state: "absent" })
      const openers = Option.getOrThrow(status.opened_by)
      expect(openers.map(({ pid }) => pid)).toEqual(expect.arrayContaining([owner, reader]))
      expect(openers.find(({ pid }) => pid === reader)?.locks).toEqual(["read1"])
    }).pipe(Effect.scoped),
  )

  it.live("does not read what a writer would have to wait for, or what another process has locked", () =>
    Effect.gen(function* () {
      const rollback = yield* TemporaryDatabase.file
      yield* foreignConnection(rollback, ["CREATE TABLE t (a)", "BEGIN", "SELECT * FROM t"])
      expect(found(yield* DatabaseStatus.read(rollback))["engine_state_reason"]).toContain("not in WAL mode")
      const own = yield* TemporaryDatabase.file
      const exclusively = ["PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=WAL", "CREATE TABLE t (a)"]
      yield* foreignConnection(own, exclusively)
      const names = fs.readdirSync(own.slice(0, own.lastIndexOf("/")))
      expect(found(yield* DatabaseStatus.read(own))["engine_state_reason"]).toContain("locked the database")
      expect(fs.readdirSync(own.slice(0, own.lastIndexOf("/")))).toEqual(names)
    }).pipe(Effect.scoped),
  )

  it.live("is refused in the process that has it open, whose locks it would drop", () =>
    Effect.gen(function* () {
      const { filename: file, sql } = yield* Database.Database
      yield* sql`CREATE TABLE t (a)`
      const error = yield* Effect.flip(DatabaseStatus.read(file))
      expect(error._tag).toBe("OpenHereError")
      expect(error.message).toContain("from another process")
    }).pipe(
      Effect.provide(Layer.unwrap(Effect.map(TemporaryDatabase.file, (file) => Database.layer({ filename: file })))),
      Effect.scoped,
      Effect.provide(LogCapture.layer),
    ),
  )

  it.live("is refused there without a WAL too, under every name, and made again when that was closed", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      execute(file, "CREATE TABLE t (a)") // not in WAL mode: no index tells who is connected
      fs.symlinkSync(file, `${file}.link`)
      const inside = Effect.all([
        Effect.flip(DatabaseStatus.read(file)),
        Effect.flip(DatabaseStatus.read(`${file}.link`)),
      ])
      const errors = yield* Effect.provide(inside, Database.layer({ filename: file, readonly: true }), { local: true })
      expect(errors.map(({ _tag }) => _tag)).toEqual(["OpenHereError", "OpenHereError"])
      expect(found(yield* DatabaseStatus.read(file))).toMatchObject({ journal_mode: "rollback" })
    }).pipe(Effect.provide(LogCapture.layer)),
  )
})

describe("looks one after the other", () => {
  const opener: OpenedBy = {
    pid: 1,
    command: "reader",
    locks: ["read1"],
    has: "this",
    process_started_at: Option.none(),
    reading_since: Option.none(),
    writing_since: Option.none(),
  }

  it.effect("know since when a reader is in its slot, and forget it when it has left", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      execute(file, "CREATE TABLE t (a)")
      const empty = yield* DatabaseStatus.read(file)
      const at = (looked_at: string, locks: OpenedBy["locks"]) =>
        new Status({ ...empty, looked_at, opened_by: Option.some([{ ...opener, locks }]) })
      const since = (status: Status) => Option.getOrThrow(status.opened_by)[0]?.reading_since
      const first = following(Option.none(), at("1", ["read1"]))
      const second = following(Option.some(first), at("2", ["write", "read1", "read2"]))
      const other = following(Option.some(second), at("3", ["read3"]))
      const gone = following(Option.some(other), at("4", ["write"]))
      const back = following(Option.some(gone), at("5", ["read3"]))
      expect([first, second, other, gone, back].map(since)).toEqual(
        ["1", "1", "3", null, "5"].map((it) => Option.fromNullOr(it)),
      )
    }),
  )

  it.effect("print no control characters of a process or of what was stored", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      execute(file, "CREATE TABLE t (a)")
      const status = new Status({
        ...(yield* DatabaseStatus.read(file)),
        opened_by: Option.some([{ ...opener, command: "\u001B[2Jevil\u009B\n" }]),
        engine_state: "read",
        engine_status: Option.some("HALTED\u0007\nfile  other.db"),
        halt_detail: Option.some("\u001B]0;title"),
        halt_reason: Option.some("x"),
      })
      expect(StatusTable.render(status).replaceAll("\n", "")).not.toMatch(/\p{Cc}/u)
    }),
  )
})
