import { SqliteClient } from "@effect/sql-sqlite-node"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Option, Scope, String } from "effect"
import { TestClock } from "effect/testing"
import { SqlClient, type SqlError } from "effect/sql"
import * as Database from "../../src/sqlite/Database.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { Fdatasync } from "../../src/sqlite/WalSync.ts"
import { scriptedDisk } from "../support/ScriptedDisk.ts"
import { databaseContract } from "./databaseContract.ts"
import { list, sizeOf } from "../support/files.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"

/** As a program has it that knows nothing of Seawall, with a guard on top. */
const guarded = (
  file: string,
  maxFrames = 0,
  before: Layer.Layer<never, SqlError.SqlError, SqlClient.SqlClient> = Layer.empty,
) =>
  WalGuard.layer({ interval: "60 seconds", maxFrames }).pipe(
    Layer.provideMerge(Checkpointer.layerInline()),
    Layer.provideMerge(Database.layerClient()),
    Layer.provideMerge(before),
    Layer.provideMerge(SqliteClient.layer({ filename: file })),
    Layer.provideMerge(LogCapture.layer),
    Layer.provide(TemporaryDatabase.quickDisk),
  )

const table = SqlClient.SqlClient.use((sql) => sql`CREATE TABLE t (a)`)
const insert = SqlClient.SqlClient.use((sql) => sql`INSERT INTO t (a) VALUES (zeroblob(3000))`)
const autocheckpoint = SqlClient.SqlClient.use((sql) =>
  Effect.map(sql`PRAGMA wal_autocheckpoint`.values, ([row]) => row?.[0]),
)

/** A client whose connection commits at `normal`, as a program may have set it. */
const adopted = Layer.unwrap(
  Effect.map(TemporaryDatabase.file, (file) =>
    Database.layerClient().pipe(
      Layer.provideMerge(Layer.effectDiscard(SqlClient.SqlClient.use((sql) => sql`PRAGMA synchronous = NORMAL`))),
      Layer.provideMerge(SqliteClient.layer({ filename: file })),
    ),
  ),
).pipe(Layer.provideMerge(scriptedDisk))

databaseContract("over the connection of a driver", adopted)

describe("a guard over a client that a program has already", () => {
  it.effect("checkpoints by interval, and leaves one clean file", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const lines = yield* Effect.gen(function* () {
        yield* Effect.andThen(table, insert)
        expect(yield* autocheckpoint).toBe(0)
        yield* TestClock.adjust("60 seconds")
        const last = yield* WalGuard.WalGuard.use((guard) => guard.last)
        expect(Option.getOrThrow(last)).toMatchObject({ outcome: "Complete", mode: "PASSIVE" })
        return LogCapture.LogCapture
      }).pipe(Effect.flatten, Effect.provide(guarded(`${folder}/app.db`)))
      expect(lines.entries.map(({ fields }) => fields["mode"]).filter(Boolean)).toEqual(["PASSIVE", "TRUNCATE"])
      expect(yield* list(folder)).toEqual(["app.db"])
    }),
  )

  it.effect("holds the length of the WAL, although it is told of no commit", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* Effect.gen(function* () {
        yield* table
        for (let second = 0; second < 20; second++) {
          yield* Effect.repeat(insert, { times: 99 })
          yield* TestClock.adjust("1 second")
        }
        // Bursts of some 300 frames, of which each is copied within the second after it.
        expect(yield* sizeOf(`${file}-wal`)).toBeLessThan(1000 * 4120)
        expect(yield* sizeOf(file)).toBeGreaterThan(2000 * 3000)
      }).pipe(Effect.provide(guarded(file, 200)))
    }),
  )

  it.effect.each([
    ["FULL", 0],
    ["NORMAL", 10],
  ] as const)("knows what a power cut could take at synchronous=%s", ([level, atLeast]) =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const set = Layer.effectDiscard(SqlClient.SqlClient.use((sql) => sql.unsafe(`PRAGMA synchronous = ${level}`)))
      yield* Effect.gen(function* () {
        yield* Effect.andThen(table, insert)
        yield* TestClock.adjust("11 seconds")
        const { exposureSeconds } = yield* WalGuard.WalGuard.use(({ status }) => status)
        const seconds = Math.floor(Option.getOrThrow(exposureSeconds))
        expect(seconds).toBe(atLeast)
      }).pipe(Effect.provide(guarded(file, 0, set)))
    }),
  )

  it.effect("makes durable what was committed, at whatever level the connection commits", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      let syncs = 0
      const counting = Layer.succeed(Fdatasync, () => Effect.sync(() => syncs++))
      yield* Effect.gen(function* () {
        const database = yield* Database.Database
        yield* table
        expect([database.durability, database.filename, syncs]).toEqual(["full", file, 0])
        yield* database.durable
        expect(syncs).toBe(1)
      }).pipe(
        Effect.provide(
          Database.layerClient().pipe(
            Layer.provideMerge(SqliteClient.layer({ filename: file })),
            Layer.provide(counting),
          ),
        ),
      )
    }),
  )

  it.effect("gives autocheckpoint back as it found it, also under a client that renames its columns", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const scope = yield* Scope.make()
      const client = SqliteClient.layer({ filename: file, transformResultNames: String.snakeToCamel })
      yield* Effect.gen(function* () {
        expect(yield* autocheckpoint).toBe(1000)
        yield* WalGuard.layer({ interval: "60 seconds" }).pipe(
          Layer.provideMerge(Checkpointer.layerInline()),
          Layer.provideMerge(Database.layerClient()),
          Layer.provide(TemporaryDatabase.quickDisk),
          Layer.buildWithScope(scope),
        )
        expect(yield* autocheckpoint).toBe(0)
        yield* Scope.close(scope, Exit.void)
        expect(yield* autocheckpoint).toBe(1000)
      }).pipe(Effect.provide(client))
    }),
  )

  it.effect("refuses a database without a WAL, and changes nothing of it", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const error = yield* Layer.build(Database.layerClient()).pipe(
        Effect.provide(SqliteClient.layer({ filename: file, disableWAL: true })),
        Effect.scoped,
        Effect.flip,
      )
      expect(error).toMatchObject({ _tag: "DatabaseOpenError", reason: "NotWal", file })
      const mode = SqlClient.SqlClient.use((sql) => sql`PRAGMA journal_mode`.values)
      expect(yield* Effect.provide(mode, SqliteClient.layer({ filename: file, disableWAL: true }))).toEqual([
        ["delete"],
      ])
    }),
  )
})

describe("a client at synchronous=OFF, at which nothing is safe", () => {
  const at = (level: string) => SqlClient.SqlClient.use((sql) => sql.unsafe(`PRAGMA synchronous = ${level}`))

  it.effect("is refused at the start", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const layer = Database.layerClient().pipe(
        Layer.provideMerge(Layer.effectDiscard(at("OFF"))),
        Layer.provideMerge(SqliteClient.layer({ filename: file })),
      )
      const error = yield* Effect.flip(Layer.build(layer))
      expect(error).toMatchObject({ _tag: "DatabaseOpenError", reason: "PragmaRefused" })
      expect(error.message).toContain("synchronous")
    }).pipe(Effect.scoped),
  )

  it.effect("is found later: nothing is acknowledged and no checkpoint runs, until it is set again", () =>
    Effect.gen(function* () {
      const { durable } = yield* Database.Database
      const guard = yield* WalGuard.WalGuard
      yield* Effect.andThen(table, insert)
      yield* at("OFF")
      expect(yield* Effect.flip(durable)).toMatchObject({ _tag: "DurabilityError", reason: "NotSynced" })
      yield* TestClock.adjust("120 seconds")
      expect(yield* guard.last).toEqual(Option.none())
      const [line] = yield* LogCapture.logged("wal_checkpoint failed")
      expect([line?.level, line?.cause]).toEqual(["Error", expect.stringContaining("synchronous=OFF")])
      yield* at("NORMAL")
      yield* durable
      yield* TestClock.adjust("60 seconds")
      expect(Option.getOrThrow(yield* guard.last).outcome).toBe("Complete")
    }).pipe(Effect.provide(Layer.unwrap(Effect.map(TemporaryDatabase.file, guarded)))),
  )
})
