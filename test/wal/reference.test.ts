/** The four tests of the system that Seawall began as, on a real file, and what they left out. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Scope, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { SqlClient } from "effect/sql"
import * as Database from "../../src/sqlite/Database.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { list, sizeOf } from "../support/files.ts"
import { ownFields } from "../support/labels.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"

const fields = ["busy", "checkpointed_frames", "elapsed_ms", "log_frames", "mode"]

/** State manager, guard and database on one real file, closed by hand. */
const opened = Effect.fnUntraced(function* (file: string) {
  const scope = yield* Scope.make()
  const context = yield* StateManager.layer().pipe(
    Layer.provideMerge(WalGuard.layer({ interval: "1 second" })),

    Layer.provideMerge(Checkpointer.layerInline()),
    Layer.provideMerge(Layer.provide(Database.layer({ filename: file }), TemporaryDatabase.quickDisk)),
    Layer.provideMerge(LogCapture.layer),
    Layer.buildWithScope(scope),
  )
  const inside = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideContext(self, context)
  return { inside, close: Scope.close(scope, Exit.void) }
})

const upserts = (n: number, pause: Effect.Effect<unknown> = Effect.void) =>
  StateManager.StateManager.use((state) =>
    Effect.forEach(
      Array.from({ length: n }, (_, i) => i),
      (i) => Effect.andThen(state.set(`key ${i}`, `value ${i}`), pause),
      { discard: true },
    ),
  )

describe("a guarded database on a real file", () => {
  it.effect("checkpoints every second, and at the end says its aggregate and truncates", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const { inside, close } = yield* opened(`${folder}/test.db`)
      yield* inside(upserts(20))
      yield* TestClock.adjust("2500 millis")
      yield* close

      const lines = yield* inside(LogCapture.logged("wal_checkpoint"))
      const modes = lines.map((line) => line.fields["mode"])
      expect(modes).toEqual(["PASSIVE", "PASSIVE", "TRUNCATE"])
      for (const line of lines) expect(Object.keys(ownFields(line)).toSorted()).toEqual(fields)
      expect(lines[0]?.fields["checkpointed_frames"]).toBe(lines[0]?.fields["log_frames"])
      expect(lines[0]?.fields["log_frames"]).toBeGreaterThan(0)

      const aggregates = yield* inside(LogCapture.logged("wal_checkpoint aggregate"))
      expect(aggregates).toHaveLength(1)
      const { n, p50_ms, p95_ms, max_ms } = aggregates[0]!.fields as Record<string, number>
      expect(n).toBe(2)
      expect(max_ms).toBeGreaterThanOrEqual(p95_ms!)
      expect(p95_ms).toBeGreaterThanOrEqual(p50_ms!)
    }),
  )

  it.effect("loses no row of 200 upserts that race the loop", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const { inside, close } = yield* opened(`${folder}/test.db`)
      const writer = yield* inside(upserts(200, Effect.sleep("50 millis"))).pipe(
        Effect.forkChild({ startImmediately: true }),
      )
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(writer)
      expect((yield* inside(LogCapture.logged("wal_checkpoint"))).length).toBeGreaterThanOrEqual(9)
      yield* close

      const again = yield* opened(`${folder}/test.db`)
      const sql = yield* again.inside(SqlClient.SqlClient)
      expect(yield* sql.unsafe("PRAGMA quick_check").values).toEqual([["ok"]])
      expect(yield* sql.unsafe("SELECT count(*) FROM engine_state WHERE value LIKE 'value %'").values).toEqual([[200]])
      yield* again.close
    }),
  )

  it.effect("makes a real WAL, and leaves the main file alone", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const { inside, close } = yield* opened(`${folder}/test.db`)
      yield* inside(upserts(50))
      expect(yield* sizeOf(`${folder}/test.db-wal`)).toBeGreaterThan(50 * 4096)
      yield* close
      expect(yield* list(folder)).toEqual(["test.db"])
      expect(yield* inside(LogCapture.logged("database sidecars left"))).toEqual([])
    }),
  )
})
