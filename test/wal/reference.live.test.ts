/** What SQLite does by itself where there is no guard: 200,000 real commits. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import * as Database from "../../src/sqlite/Database.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { sizeOf } from "../support/files.ts"

describe("the WAL of a database without a guard", () => {
  it.effect(
    "stays under 10 MB over 200,000 writes, because SQLite's own autocheckpoint is left on",
    () =>
      Effect.gen(function* () {
        const { sql, filename: file } = yield* Database.Database
        yield* sql`CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)`
        let largest = 0
        yield* Effect.gen(function* () {
          for (let i = 0; i < 1000; i++) {
            yield* sql.unsafe(
              "INSERT OR REPLACE INTO t (a, b) VALUES (abs(random()) % 50000, 'some text that is stored')",
            )
          }
          largest = Math.max(largest, yield* sizeOf(`${file}-wal`))
        }).pipe(Effect.repeat(Schedule.recurs(199)))
        expect(largest).toBeGreaterThan(1e6)
        expect(largest).toBeLessThan(10e6)
      }).pipe(Effect.provide(TemporaryDatabase.layer({ durability: "normal" }))),
    60_000, // 200,000 real commits, on a machine that may be busy
  )
})
