import { SqliteClient } from "@effect/sql-sqlite-node"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Metric, Result } from "effect"
import * as Database from "../../src/sqlite/Database.ts"
import type { CheckpointMode, CheckpointOutcome } from "../../src/wal/Checkpoint.ts"
import { outcomeOf, run as runStatements } from "../../src/wal/CheckpointRun.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { checkpointerContract, reader, run, write } from "./checkpointerContract.ts"

const inline = Layer.provideMerge(Checkpointer.layerInline(), TemporaryDatabase.layer({ busyTimeout: "20 seconds" }))

const adopted = Checkpointer.layerInline().pipe(
  Layer.provideMerge(Database.layerClient()),
  Layer.provideMerge(Layer.unwrap(Effect.map(TemporaryDatabase.file, (filename) => SqliteClient.layer({ filename })))),
)

checkpointerContract("inline", inline)
checkpointerContract("inline, on a client that a program has already", adopted)

describe("a busy answer before SQLite has looked at the WAL", () => {
  const busy = { busy: 1, log: -1, checkpointed: -1 }
  const whole = { busy: 0, log: 3, checkpointed: 3 }
  const answering = (mode: CheckpointMode, ...rows: ReadonlyArray<unknown>) => {
    const left = [...rows]
    const statements = { checkpoint: Effect.sync(() => left.shift()), writerBusy: Effect.succeed(false) }
    return Effect.map(runStatements(mode, statements), ({ outcome }) => [outcome, left.length])
  }

  it.effect("is asked about once more, because a commit that is under way is no checkpointer", () =>
    Effect.gen(function* () {
      expect(yield* answering("PASSIVE", busy, whole, whole)).toEqual(["Complete", 1])
      expect(yield* answering("PASSIVE", busy, busy, whole)).toEqual(["CheckpointerBusy", 1])
      expect(yield* answering("TRUNCATE", busy, whole)).toEqual(["CheckpointerBusy", 1]) // it had waited
    }),
  )
})

describe("an inline checkpoint", () => {
  it.effect("never waits for a reader with TRUNCATE, and leaves the busy timeout as it was", () =>
    Effect.gen(function* () {
      const { sql } = yield* Database.Database
      yield* write
      yield* reader
      const done = yield* run("TRUNCATE")
      expect([done.outcome, done.busy]).toEqual(["ReaderBlocked", 1])
      expect(done.elapsedMillis).toBe(0) // in virtual time; with 20 s of waiting the test would not end
      expect(yield* sql.unsafe("PRAGMA busy_timeout").values).toEqual([[20_000]])
    }).pipe(Effect.provide(inline)),
  )

  it.effect("is LockedInTransaction when a caller began one by hand and left it", () =>
    Effect.gen(function* () {
      const { sql } = yield* Database.Database
      yield* write
      yield* sql`BEGIN`
      yield* sql`SELECT count(*) FROM t`
      expect((yield* run("PASSIVE")).outcome).toBe("LockedInTransaction")
      yield* sql`ROLLBACK`
    }).pipe(Effect.provide(adopted)),
  )

  it.effect("is NotWal for a database without a WAL", () =>
    Effect.gen(function* () {
      const { sql } = yield* Database.Database
      yield* sql`PRAGMA journal_mode = DELETE`
      expect((yield* run("PASSIVE")).outcome).toBe("NotWal")
    }).pipe(Effect.provide(adopted)),
  )

  it.effect("waits for a transaction of another fiber", () =>
    Effect.gen(function* () {
      const { sql } = yield* Database.Database
      yield* write
      const done = yield* Effect.all(
        [sql.withTransaction(Effect.andThen(write, Effect.yieldNow)), Effect.exit(run("PASSIVE"))],
        { concurrency: "unbounded" },
      )
      expect(Exit.isSuccess(done[1]) && done[1].value.outcome).toBe("Complete")
    }).pipe(Effect.provide(inline)),
  )

  it.effect("counts by mode and outcome, and shows the frames of the WAL", () =>
    Effect.gen(function* () {
      yield* write
      yield* run("PASSIVE")
      yield* Effect.scoped(Effect.andThen(reader, Effect.andThen(write, run("TRUNCATE"))))
      const values = Object.fromEntries(
        (yield* Metric.snapshot).map((metric) => [
          [metric.id, metric.attributes?.["mode"] ?? "", metric.attributes?.["outcome"] ?? ""].join(" ").trim(),
          "count" in metric.state ? metric.state.count : "value" in metric.state ? metric.state.value : undefined,
        ]),
      )
      expect(values["seawall_wal_checkpoints_total PASSIVE Complete"]).toBe(1)
      expect(values["seawall_wal_checkpoints_total TRUNCATE ReaderBlocked"]).toBe(1)
      expect(values["seawall_wal_checkpoint_duration_seconds"]).toBe(2)
      expect(values["seawall_wal_frames"]).toBe(1) // the write after the complete checkpoint began a new WAL
      expect(values["seawall_wal_backlog_frames"]).toBe(1)
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()), Effect.provide(inline)),
  )

  it.effect("that fails is a typed error with its reason", () =>
    Effect.gen(function* () {
      const { filename: file } = yield* Database.Database
      yield* write
      const closed = yield* Effect.scoped(
        Layer.build(Layer.provide(Layer.fresh(Checkpointer.layerInline()), Database.layer({ filename: file }))),
      )
      const result = yield* Effect.provideContext(Effect.result(run("PASSIVE")), closed)
      expect(Result.isFailure(result) && result.failure._tag).toBe("CheckpointError")
      expect(Result.isFailure(result) && result.failure.message).toContain("wal_checkpoint(PASSIVE) failed")
    }).pipe(Effect.provide(inline)),
  )
})

describe("the outcome of a row", () => {
  const cases: ReadonlyArray<readonly [0 | 1, number, number, boolean, CheckpointOutcome]> = [
    [0, 52, 52, false, "Complete"],
    [0, 0, 0, false, "Complete"],
    [0, 52, 0, false, "ReaderBlocked"],
    [1, 52, 10, false, "ReaderBlocked"],
    [1, 52, 52, false, "ReaderBlocked"],
    [1, 52, 52, true, "WriterBusy"],
    [1, -1, -1, false, "CheckpointerBusy"],
    [0, -1, -1, false, "NotWal"],
  ]
  it.each(cases)(
    "busy %i, log %i, checkpointed %i, writer busy %s is %s",
    (busy, log, checkpointed, writer, outcome) => {
      expect(outcomeOf({ busy, log, checkpointed }, writer)).toBe(outcome)
    },
  )
})
