/** What every `Database` keeps, whatever opened its connection: one suite, run against each implementation. */
import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, type Layer, Option } from "effect"
import { TestClock } from "effect/testing"
import { SqlClient } from "effect/sql"
import { DatabaseSync } from "node:sqlite"
import * as Database from "../../src/sqlite/Database.ts"
import { DatabaseControl } from "../../src/sqlite/DatabaseControl.ts"
import { ScriptedDisk, settle } from "../support/ScriptedDisk.ts"

const write = SqlClient.SqlClient.use((sql) => sql`CREATE TABLE IF NOT EXISTS t (a)`)
const ask = (pragma: string) =>
  SqlClient.SqlClient.use((sql) => Effect.map(sql.unsafe(`PRAGMA ${pragma}`).values, ([row]) => row?.[0]))

/** The layer opens a new file each time, whose commits are not synced by the connection itself (`normal`). */
export const databaseContract = <E>(
  name: string,
  layer: Layer.Layer<Database.Database | DatabaseControl | SqlClient.SqlClient | ScriptedDisk, E>,
) =>
  describe(`a Database ${name}`, () => {
    it.effect("names its file, the SQLite that runs, and what an acknowledged write survives", () =>
      Effect.gen(function* () {
        const { durability, filename: file, sql, version } = yield* Database.Database
        expect(yield* ask("database_list")).toBe(0)
        const path = (yield* sql.unsafe("SELECT file FROM pragma_database_list WHERE name = 'main'").values)[0]?.[0]
        expect([path, durability]).toEqual([file, "normal"])
        const native = new DatabaseSync(":memory:").prepare("SELECT sqlite_version() AS version").get()
        expect(native).toEqual({ version })
      }).pipe(Effect.provide(layer)),
    )

    it.effect("is the client that the program uses", () =>
      Effect.gen(function* () {
        const { sql } = yield* Database.Database
        yield* write
        yield* sql`INSERT INTO t VALUES (1)`
        const rows = SqlClient.SqlClient.use((client) => client`SELECT a FROM t`.values)
        expect(yield* rows).toEqual([[1]])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("sets autocheckpoint, and returns what it was", () =>
      Effect.gen(function* () {
        const { autocheckpoint } = yield* DatabaseControl
        expect(yield* autocheckpoint(0)).toBe(1000)
        expect(yield* ask("wal_autocheckpoint")).toBe(0)
        expect(yield* autocheckpoint(77)).toBe(0)
        expect(yield* ask("wal_autocheckpoint")).toBe(77)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("is durable when, and not before, a sync of the WAL that began after the commit has ended", () =>
      Effect.gen(function* () {
        const { durable } = yield* Database.Database
        const disk = yield* ScriptedDisk
        yield* write
        const waiting = yield* Effect.forkChild(durable, { startImmediately: true })
        yield* settle
        expect([disk.started(), waiting.pollUnsafe()]).toEqual([1, undefined])
        yield* disk.succeed
        yield* Fiber.join(waiting)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("has lost durability when a sync fails, says so once, and acknowledges nothing after that", () =>
      Effect.gen(function* () {
        const { durabilityLost, durable } = yield* Database.Database
        const disk = yield* ScriptedDisk
        yield* write
        const lost = yield* Effect.forkChild(durabilityLost, { startImmediately: true })
        const waiting = yield* Effect.forkChild(Effect.flip(durable), { startImmediately: true })
        yield* settle
        expect(lost.pollUnsafe()).toBeUndefined()
        yield* disk.fail
        expect(yield* Fiber.join(waiting)).toMatchObject({ _tag: "DurabilityError", reason: "SyncFailed" })
        expect(yield* Fiber.join(lost)).toMatchObject({ _tag: "DurabilityError", reason: "SyncFailed" })
        expect(yield* Effect.flip(durable)).toMatchObject({ _tag: "DurabilityError", reason: "Refused" })
        expect(disk.started()).toBe(1)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("knows for how long a commit has been at risk, as soon as it is told or looks", () =>
      Effect.gen(function* () {
        const { exposure } = yield* DatabaseControl
        const clock = yield* Effect.clockWith(Effect.succeed)
        expect(yield* exposure.seconds).toBe(0)
        exposure.committed(clock, false)
        yield* TestClock.adjust(Duration.seconds(7))
        expect(yield* exposure.seconds).toBe(7)
        yield* yield* exposure.syncing
        expect(yield* exposure.seconds).toBe(0)
      }).pipe(Effect.provide(layer)),
    )

    it.live("comes to rest more than once, syncs its file, and sees that no other process is there", () =>
      Effect.gen(function* () {
        const { lockHolders, others } = yield* Database.Database
        const { quiesce, syncFile } = yield* DatabaseControl
        yield* write
        yield* quiesce
        yield* quiesce
        expect(Exit.isSuccess(yield* Effect.exit(syncFile))).toBe(true)
        expect([yield* lockHolders, yield* others]).toEqual([Option.some([]), Option.some([])])
      }).pipe(Effect.provide(layer)),
    )
  })
