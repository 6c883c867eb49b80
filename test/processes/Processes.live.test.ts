/** Real processes beside a database: which file each of them has, under which name and with which locks. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import * as fs from "node:fs"
import { resolve } from "../../src/files/DatabaseFile.ts"
import { ensureSameFile } from "../../src/processes/OtherFile.ts"
import * as Processes from "../../src/processes/Processes.ts"
import { namesOf } from "../../src/processes/ProcessName.ts"
import * as Database from "../../src/sqlite/Database.ts"
import * as FileSync from "../../src/sqlite/FileSync.ts"
import { detect } from "../../src/sqlite/NetworkFileSystem.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { foreignConnection, foreignReader } from "../support/ForeignReader.ts"

const ownLocks = Effect.sync(() => {
  const lines = fs.readFileSync("/proc/locks", "utf8").split("\n")
  const own = lines.filter((line) => line.includes(` ${process.pid} `)).map((line) => line.replace(/^\d+: /, ""))
  return [...new Set(own)].toSorted()
})

/** The table is no snapshot, so a line may be missing from one look at it; a lock that was dropped is missing from all. */
const stillThere = (locks: ReadonlyArray<string>) =>
  ownLocks.pipe(
    Effect.repeat({ until: (now) => now.join() === locks.join(), times: 20 }),
    Effect.map((now) => expect(now).toEqual(locks)),
  )

const onRealDisk = Layer.unwrap(
  Effect.map(TemporaryDatabase.file, (file) => Database.layer({ filename: file, durability: "normal" })),
)

const program = /^\S*python3 -c import sqlite3, sys c = sqlite3\.connect\(/
const wal = ["PRAGMA journal_mode=WAL", "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)"]

/** What the one process has that is about this file. */
const only = Effect.fnUntraced(function* (file: string) {
  const [one, ...more] = Option.getOrThrow(yield* Processes.using(resolve(file)))
  expect(more).toEqual([])
  return one
})

describe.runIf(process.platform === "linux")("a process beside a connection of this process", () => {
  it.live("is named by pid, command line and lock, and the look leaves our own locks as they were", () =>
    Effect.gen(function* () {
      const database = yield* Database.Database
      const { filename: path, sql } = database
      yield* sql`CREATE TABLE t (a)`
      const file = resolve(path)
      const before = yield* ownLocks
      expect(before.length).toBeGreaterThan(0)
      expect(yield* Processes.lockHolders(file)).toEqual(Option.some([]))
      expect(yield* Processes.using(file)).toEqual(Option.some([]))
      const pid = yield* foreignReader(path)
      const command: unknown = expect.stringMatching(program)
      expect(yield* Processes.lockHolders(file)).toEqual(Option.some([{ pid, command, lock: "read1" }]))
      yield* stillThere(before)
      // Everything else that looks at the files, or holds a descriptor, beside an open connection.
      yield* FileSync.sync(path)
      yield* FileSync.sync(path)
      const its: unknown = expect.objectContaining({ pid, command, locks: ["read1"], has: "this", mayWrite: true })
      expect(yield* Processes.using(file)).toEqual(Option.some([its]))
      const all = Option.getOrThrow(yield* Processes.usingOrThis(file))
      expect(all.map((it) => [it.pid, it.has])).toEqual(
        expect.arrayContaining([
          [pid, "this"],
          [process.pid, "this"],
        ]),
      )
      yield* detect(path.slice(0, path.lastIndexOf("/")))
      yield* database.lockHolders
      yield* database.others
      yield* sql`INSERT INTO t VALUES (1)`
      yield* database.durable
      yield* sql`PRAGMA wal_checkpoint(NOOP)`
      yield* stillThere(before)
    }).pipe(Effect.provide([onRealDisk, NodeFileSystem.layer]), Effect.scoped, Effect.provide(LogCapture.layer)),
  )

  it.live("explains the sidecars that are there when this process closes the database", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const layer = Database.layer({ filename: file })
      const write = Database.Database.use(({ sql }) => sql`CREATE TABLE IF NOT EXISTS t (a)`)
      yield* Effect.scoped(Effect.andThen(foreignConnection(file, wal), Effect.provide(write, layer, { local: true })))
      expect(yield* LogCapture.logged("database sidecars left")).toEqual([])
    }).pipe(Effect.provide(LogCapture.layer)),
  )

  it.live("is this process where another layer has the database open", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const write = Database.Database.use(({ sql }) => sql`CREATE TABLE IF NOT EXISTS t (a)`)
      const inner = Effect.provide(write, Database.layer({ filename: file }), { local: true })
      yield* Effect.provide(Effect.andThen(write, inner), Database.layer({ filename: file }), { local: true })
      const [left, ...more] = yield* LogCapture.logged("database sidecars left")
      expect(more).toEqual([])
      expect(left).toMatchObject({
        level: "Warn",
        fields: { reason: `still open in this process (pid ${process.pid})` },
      })
    }).pipe(Effect.provide(LogCapture.layer)),
  )
})

describe.runIf(process.platform === "linux")("a process that is seen from outside", () => {
  it.live("has this file, by whatever name it opened it, and by which it is looked for", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const pid = yield* foreignConnection(file, wal)
      fs.symlinkSync(file, `${file}.link`)
      for (const name of [file, `${file}.link`]) expect(yield* only(name)).toMatchObject({ pid, has: "this" })
      const [started] = Option.toArray((yield* only(file))?.runningSince ?? Option.none())
      expect(Math.abs((started ?? 0) - Date.now())).toBeLessThan(60_000)
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
  )

  it.live("keeps another WAL for the file under the name of a hard link, or one from before", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const [alias, moved] = [`${file}.alias`, `${file}.moved`]
      yield* Effect.scoped(foreignConnection(`${file}.second`, wal))
      const open = `ATTACH '${file}.second' AS second` // its WAL is not another one of the first
      const pid = yield* foreignConnection(file, [...wal, open, "SELECT * FROM second.t"])
      fs.linkSync(file, alias)
      expect(yield* only(file)).toMatchObject({ pid, has: "this" })
      expect(yield* only(alias)).toMatchObject({ pid, has: "elsewhere" })
      expect((yield* Effect.flip(ensureSameFile(resolve(alias)))).message).toContain(`pid ${pid}`)
      fs.renameSync(file, moved)
      expect(yield* only(moved)).toMatchObject({ pid, has: "elsewhere" })
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
  )

  it.live("cannot write what it has opened to read", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* Effect.scoped(foreignConnection(file, ["CREATE TABLE t (a)"]))
      const pid = yield* foreignConnection(`file:${file}?mode=ro`, ["SELECT * FROM t"])
      expect(yield* only(file)).toMatchObject({ pid, has: "this", mayWrite: false, locks: [] })
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
  )

  it.live("has a deleted file where the database was removed, and where its sidecars were", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const pid = yield* foreignConnection(file, wal)
      const copy = `${file}.copy`
      fs.linkSync(file, copy)
      for (const suffix of ["-wal", "-shm"]) fs.rmSync(file + suffix)
      expect(yield* only(file)).toMatchObject({ pid, has: "deleted" })
      expect(yield* only(copy)).toMatchObject({ pid, has: "elsewhere" })
      fs.rmSync(copy)
      fs.rmSync(file)
      expect(yield* only(file)).toMatchObject({ pid, has: "deleted" })
      fs.writeFileSync(file, "") // another database of that name
      expect(yield* only(file)).toMatchObject({ pid, has: "deleted" })
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
  )

  it.live("has a deleted file where another was renamed to its name, although it holds the locks of that WAL", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* Effect.scoped(foreignConnection(`${file}.restored`, wal))
      const pid = yield* foreignConnection(file, [...wal, "BEGIN", "SELECT * FROM t"])
      fs.renameSync(`${file}.restored`, file)
      const replaced = yield* only(file)
      expect(replaced).toMatchObject({ pid, has: "deleted" })
      expect(replaced?.locks).toEqual([expect.stringMatching(/^read/)])
      expect(namesOf(replaced === undefined ? [] : [replaced])).toContain("has a deleted file of that name")
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
  )

  it.live("has this WAL where its own file was moved away and another took the name", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* Effect.scoped(foreignConnection(`${file}.restored`, wal))
      const pid = yield* foreignConnection(file, wal)
      fs.renameSync(file, `${file}.old`)
      fs.renameSync(`${file}.restored`, file)
      expect(yield* only(file)).toMatchObject({ pid, has: "this" })
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
  )
})
