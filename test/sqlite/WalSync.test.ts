import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as fs from "node:fs"
import * as Database from "../../src/sqlite/Database.ts"
import { DatabaseControl } from "../../src/sqlite/DatabaseControl.ts"
import { DurabilityError } from "../../src/sql/Durability.ts"
import * as Exposure from "../../src/sqlite/Exposure.ts"
import { messageOf } from "../../src/sqlite/NativeError.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import { scriptedDatabase, ScriptedDisk, settle } from "../support/ScriptedDisk.ts"

const insert = SqlClient.SqlClient.use((sql) => sql`INSERT INTO t (a) VALUES (1)`)
const table = SqlClient.SqlClient.use((sql) => sql`CREATE TABLE t (a)`)
const durable = Database.Database.use((database) => database.durable)
const fork = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.tap(Effect.forkChild(self, { startImmediately: true }), settle)
const reasonOf = <A>(fiber: Fiber.Fiber<A, DurabilityError>) =>
  Effect.map(Effect.flip(Fiber.join(fiber)), ({ reason }) => reason)

/** At `normal` plain statements leave the sync to another caller. */
const onDisk = <A, E>(
  self: Effect.Effect<A, E, SqlClient.SqlClient | Database.Database | DatabaseControl | ScriptedDisk>,
) => Effect.andThen(table, self).pipe(Effect.provide(scriptedDatabase({ durability: "normal" })))

describe("durable", () => {
  it.effect("waits for the sync, and for nothing when there is nothing to sync", () =>
    onDisk(
      Effect.gen(function* () {
        const disk = yield* ScriptedDisk
        yield* insert
        const waiting = yield* fork(durable)
        expect([disk.started(), waiting.pollUnsafe()]).toEqual([1, undefined])
        yield* disk.succeed
        yield* Fiber.join(waiting)
        yield* durable
        expect(disk.started()).toBe(1)
      }),
    ),
  )

  it.effect("does not count a sync that began before the commit; those who wait share the next", () =>
    onDisk(
      Effect.gen(function* () {
        const disk = yield* ScriptedDisk
        yield* insert
        const first = yield* fork(durable)
        yield* insert
        const second = yield* fork(durable)
        const third = yield* fork(durable)
        yield* disk.succeed
        expect(first.pollUnsafe()).toBeDefined()
        expect([second.pollUnsafe(), third.pollUnsafe(), disk.started()]).toEqual([undefined, undefined, 2])
        yield* disk.succeed
        yield* Fiber.joinAll([second, third])
      }),
    ),
  )

  it.effect("is nothing to wait for after a statement that synced by itself", () =>
    Effect.gen(function* () {
      const disk = yield* ScriptedDisk
      yield* Effect.andThen(table, insert)
      yield* durable
      expect(disk.started()).toBe(0)
    }).pipe(Effect.provide(scriptedDatabase({ durability: "full" }))),
  )

  it.live("syncs a real file", () =>
    Effect.gen(function* () {
      const { exposure } = yield* DatabaseControl
      yield* Effect.andThen(table, insert)
      expect(exposure.isExposed()).toBe(true)
      yield* durable
      expect(exposure.isExposed()).toBe(false)
    }).pipe(
      Effect.provide(
        Layer.unwrap(
          Effect.map(TemporaryDatabase.folder, (folder) =>
            Database.layer({ filename: `${folder}/test.db`, durability: "normal" }),
          ),
        ),
      ),
    ),
  )
})

describe("a sync that fails", () => {
  it.effect("fails exactly those who waited for it; from then on nothing is written or acknowledged", () =>
    onDisk(
      Effect.gen(function* () {
        const disk = yield* ScriptedDisk
        const { durabilityLost } = yield* Database.Database
        const sql = yield* SqlClient.SqlClient
        const lost = yield* fork(durabilityLost)
        yield* insert
        const waited = yield* fork(durable)
        yield* insert
        const came = yield* fork(durable)
        yield* disk.fail
        expect([yield* reasonOf(waited), yield* reasonOf(came)]).toEqual(["SyncFailed", "Refused"])
        expect((yield* Fiber.join(lost)).message).toContain("EIO: i/o error")
        expect((yield* Effect.flip(durable)).reason).toBe("Refused")
        expect(disk.started()).toBe(1) // a retry that succeeds would prove nothing

        const statement = yield* Effect.flip(insert)
        expect(messageOf(statement.cause)).toContain("takes no writes since a sync of its WAL failed")
        expect(Exit.isFailure(yield* Effect.exit(sql.withTransaction(insert)))).toBe(true)
        expect(yield* sql`SELECT count(*) AS n FROM t`).toEqual([{ n: 2 }])
      }),
    ),
  )

  it.effect("fails a transaction that was open then, and rolls it back", () =>
    onDisk(
      Effect.gen(function* () {
        const disk = yield* ScriptedDisk
        const sql = yield* SqlClient.SqlClient
        yield* insert
        const waited = yield* fork(durable)
        const exit = yield* Effect.exit(sql.withTransaction(Effect.andThen(insert, disk.fail)))
        expect([Exit.isFailure(exit), yield* reasonOf(waited)]).toEqual([true, "SyncFailed"])
        expect(yield* sql`SELECT count(*) AS n FROM t`).toEqual([{ n: 1 }])
      }),
    ),
  )
})

describe("the WAL", () => {
  it.live("that was replaced while it was open acknowledges nothing", () =>
    Effect.gen(function* () {
      const { filename: file } = yield* Database.Database
      yield* Effect.andThen(table, insert)
      fs.renameSync(`${file}-wal`, `${file}-elsewhere`)
      fs.copyFileSync(`${file}-elsewhere`, `${file}-wal`)
      expect((yield* Effect.flip(durable)).reason).toBe("Replaced")
      expect((yield* Effect.flip(durable)).reason).toBe("Replaced")
    }).pipe(Effect.provide(Layer.provideMerge(TemporaryDatabase.layer({ durability: "normal" }), LogCapture.layer))),
  )

  it.effect("is released only when the last sync has ended", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        Layer.provideMerge(scriptedDatabase({ durability: "normal" }), LogCapture.layer),
        scope,
      )
      const inside = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideContext(self, context)
      yield* inside(Effect.andThen(table, insert))
      const waiting = yield* fork(inside(durable))
      const closing = yield* fork(Scope.close(scope, Exit.void))
      expect(closing.pollUnsafe()).toBeUndefined()
      yield* inside(ScriptedDisk.use(({ succeed }) => succeed))
      yield* Fiber.join(closing)
      yield* Fiber.join(waiting)
      const steps = yield* inside(LogCapture.logged("shutdown step"))
      expect(steps.map(({ fields }) => fields["step"])).toEqual(["drain writes", "last WAL sync", "close database"])
    }),
  )
})

describe("exposure", () => {
  it.effect("of a commit between two syncs that overlap is ended by the second alone", () =>
    Effect.gen(function* () {
      const exposure = Exposure.make()
      const clock = { monotonicTimeNanosUnsafe: () => 0n } as never
      exposure.committed(clock, false)
      const first = yield* exposure.syncing
      exposure.committed(clock, false)
      const second = yield* exposure.syncing
      yield* first
      expect(exposure.isExposed()).toBe(true)
      yield* second
      expect(exposure.isExposed()).toBe(false)
    }),
  )

  it.effect("keeps few marks, however many syncs fail, and is never shorter than it is", () =>
    Effect.gen(function* () {
      const exposure = Exposure.make()
      let now = 0n
      const clock = { monotonicTimeNanosUnsafe: () => now } as never
      for (let n = 0; n < 1000; n++) {
        exposure.committed(clock, false)
        yield* Effect.asVoid(exposure.syncing)
        now += 1_000_000_000n
      }
      const last = yield* exposure.syncing
      exposure.committed(clock, false)
      yield* last
      expect(exposure.isExposed()).toBe(true)
      now = 0n
      expect(yield* exposure.seconds).toBe(-63) // as old as the last that was marked, seen from the start
      yield* Effect.flatten(exposure.syncing)
      expect(exposure.isExposed()).toBe(false)
    }),
  )
})
