/**
 * Tests in virtual time: an hour of a guarded program, with a checkpoint that fails and one that is slow, in milliseconds. The database is
 * a real file; only the checkpoints are scripted, and the clock stands still until the test moves it.
 *
 * Run it with `node --test main.ts`. With `@effect/vitest` the body of each test is an `it.effect`, which brings the clock.
 */
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { WalGuard, Writer } from "seawall"
import { LogCapture, ScriptedCheckpointer, TemporaryDatabase } from "seawall/testing"
import assert from "node:assert/strict"
import { test } from "node:test"

/** What is tested: it writes once a minute. */
const heartbeat = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const writer = yield* Writer.Writer
  yield* sql`CREATE TABLE beats (n INTEGER PRIMARY KEY)`
  yield* Effect.forkScoped(
    Effect.forever(Effect.andThen(writer.sql`INSERT INTO beats DEFAULT VALUES`, Effect.sleep("1 minute"))),
  )
})

/** The third checkpoint takes a second, the fifth fails (SQLITE_IOERR); all others succeed at once. */
const script: ScriptedCheckpointer.Script = (run) =>
  run === 3 ? { takes: "1 second" } : run === 5 ? { failsWith: 10 } : {}

const guarded = WalGuard.layer({ interval: "5 minutes" }).pipe(
  Layer.provideMerge(ScriptedCheckpointer.layer(script)),
  Layer.provideMerge(TemporaryDatabase.layer()),
  Layer.provideMerge(LogCapture.layer),
)

const inVirtualTime = <A, E, R>(body: Effect.Effect<A, E, R>) =>
  Effect.scoped(body).pipe(Effect.provide(guarded), Effect.provide(TestClock.layer()))

test("an hour writes sixty beats, and logs the slow checkpoint and the failed one", () =>
  Effect.runPromise(
    inVirtualTime(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* heartbeat
        for (let minute = 0; minute < 60; minute++) yield* TestClock.adjust("1 minute")
        const [row] = yield* sql<{ beats: number }>`SELECT count(*) AS beats FROM beats`
        assert.equal(row?.beats, 61)
        assert.equal((yield* LogCapture.logged("wal_checkpoint slow")).length, 1)
        assert.equal((yield* LogCapture.logged("wal_checkpoint failed")).length, 1)
        assert.equal((yield* LogCapture.logged("wal_checkpoint recovered")).length, 1)
      }),
    ),
  ))
