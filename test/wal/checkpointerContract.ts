/** What every `Checkpointer` on a real database answers: one suite, run against each implementation. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, type Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import { DatabaseSync } from "node:sqlite"
import * as Database from "../../src/sqlite/Database.ts"
import type { CheckpointMode } from "../../src/wal/Checkpoint.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"

export const run = (mode: CheckpointMode) => Checkpointer.Checkpointer.use((checkpointer) => checkpointer.run(mode))

export const write = SqlClient.SqlClient.use((sql) =>
  Effect.andThen(sql`CREATE TABLE IF NOT EXISTS t (a)`, sql`INSERT INTO t (a) VALUES (1)`),
)

/** Another connection to the same file, as another program has it. */
export const stranger = Effect.flatMap(Database.Database, ({ filename: file }) =>
  Effect.acquireRelease(
    Effect.sync(() => new DatabaseSync(file, { timeout: 0 })),
    (connection) => Effect.sync(() => connection.close()),
  ),
)

/** A stranger in the middle of a read transaction. */
export const reader = Effect.tap(stranger, (connection) =>
  Effect.sync(() => {
    connection.exec("BEGIN")
    connection.prepare("SELECT count(*) FROM t").all()
  }),
)

export const checkpointerContract = <E>(
  name: string,
  layer: Layer.Layer<Checkpointer.Checkpointer | Database.Database | SqlClient.SqlClient, E>,
) =>
  describe(`a checkpoint ${name}`, () => {
    it.effect("is Complete when it has copied every frame", () =>
      Effect.gen(function* () {
        yield* write
        const done = yield* run("PASSIVE")
        expect([done.outcome, done.busy]).toEqual(["Complete", 0])
        expect(done.walFrames).toBeGreaterThan(0)
        expect(done.checkpointedFrames).toBe(done.walFrames)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("empties the WAL with TRUNCATE", () =>
      Effect.gen(function* () {
        yield* write
        const done = yield* run("TRUNCATE")
        expect([done.outcome, done.busy, done.walFrames, done.checkpointedFrames]).toEqual(["Complete", 0, 0, 0])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("is ReaderBlocked when a reader keeps frames in the WAL, although SQLite is not busy", () =>
      Effect.gen(function* () {
        yield* write
        yield* run("TRUNCATE")
        yield* write
        yield* reader
        yield* write
        const done = yield* run("PASSIVE")
        expect([done.outcome, done.busy]).toEqual(["ReaderBlocked", 0])
        expect(done.checkpointedFrames).toBeLessThan(done.walFrames)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("is WriterBusy when another connection writes", () =>
      Effect.gen(function* () {
        yield* write
        const writer = yield* stranger
        writer.exec("BEGIN IMMEDIATE")
        const done = yield* run("TRUNCATE")
        expect([done.outcome, done.busy]).toEqual(["WriterBusy", 1])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("is LockedInTransaction, at once, for a fiber inside a transaction", () =>
      Effect.gen(function* () {
        const { sql } = yield* Database.Database
        yield* write
        const done = yield* sql.withTransaction(Effect.andThen(write, run("PASSIVE")))
        expect(done.outcome).toBe("LockedInTransaction")
        expect((yield* run("PASSIVE")).outcome).toBe("Complete")
      }).pipe(Effect.provide(layer)),
    )

    it.effect("sees the frames of the WAL without moving any", () =>
      Effect.gen(function* () {
        yield* write
        const checkpointer = yield* Checkpointer.Checkpointer
        const before = yield* checkpointer.frames
        expect(Option.isSome(before) && before.value.log).toBeGreaterThan(0)
        expect(Option.isSome(before) && before.value.checkpointed).toBe(0)
        yield* run("PASSIVE")
        const after = yield* checkpointer.frames
        expect(Option.isSome(after) && after.value.checkpointed === after.value.log).toBe(true)
      }).pipe(Effect.provide(layer)),
    )
  })
