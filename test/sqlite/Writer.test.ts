import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Option, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import { SqlClient, SqlError } from "effect/sql"
import { DatabaseSync } from "node:sqlite"
import * as Database from "../../src/sqlite/Database.ts"
import { DatabaseControl } from "../../src/sqlite/DatabaseControl.ts"
import { DurabilityError } from "../../src/sql/Durability.ts"
import { Fdatasync } from "../../src/sqlite/WalSync.ts"
import { Writer } from "../../src/sql/Writer.ts"
import { WriterError } from "../../src/sql/WriterError.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import { randomOf } from "../support/random.ts"
import { scriptedDatabase, ScriptedDisk, settle } from "../support/ScriptedDisk.ts"
import { batches, countingBatches, fork, insert, plain, rows, table, together } from "../support/writes.ts"
import { writerContract } from "../sql/writerContract.ts"
import { batchContract } from "./batchContract.ts"
import { slice } from "../support/slice.ts"

const onDatabase = <A, E>(
  self: Effect.Effect<A, E, SqlClient.SqlClient | Writer | Database.Database | DatabaseControl>,
) => Effect.andThen(table, self).pipe(Effect.provide(TemporaryDatabase.layer()))
const onDisk = <A, E>(
  self: Effect.Effect<A, E, SqlClient.SqlClient | Writer | Database.Database | DatabaseControl | ScriptedDisk>,
) => Effect.andThen(table, self).pipe(Effect.provide(scriptedDatabase()))

for (const durability of ["durable", "full", "normal"] as const) {
  writerContract(`on SQLite at ${durability}`, TemporaryDatabase.layer({ durability }))
  batchContract(`at ${durability}`, TemporaryDatabase.layer({ durability }))
}

describe("a write", () => {
  it.effect("is acknowledged when it is committed and synced, and seen by a read after that", () =>
    onDisk(
      Effect.gen(function* () {
        const disk = yield* ScriptedDisk
        const writing = yield* fork(insert(1))
        expect([disk.started(), writing.pollUnsafe()]).toEqual([1, undefined])
        expect(yield* rows).toEqual([1]) // committed, and not yet said so
        yield* disk.succeed
        yield* Fiber.join(writing)
      }),
    ),
  )

  for (const durability of ["full", "normal"] as const) {
    it.effect(`needs no sync of ours at ${durability}`, () =>
      Effect.gen(function* () {
        const disk = yield* ScriptedDisk
        yield* table
        yield* together(insert(1), insert(2))
        expect([disk.started(), yield* rows]).toEqual([0, [1, 2]])
      }).pipe(Effect.provide(scriptedDatabase({ durability }))),
    )
  }
})

describe("a batch", () => {
  it.effect("takes at most its capacity, and the others wait their turn", () =>
    countingBatches(
      onDatabase(
        Effect.gen(function* () {
          const all = Array.from({ length: 3000 }, (_, n) => n)
          yield* together(...all.map(insert))
          expect(yield* rows).toEqual(all)
          yield* settle
          expect(yield* batches).toMatchObject({ count: 3, sum: 3000, max: 1024 })
        }),
      ),
    ),
  )

  it.effect("is committed while the one before it is synced", () =>
    onDisk(
      Effect.gen(function* () {
        const disk = yield* ScriptedDisk
        const first = yield* fork(insert(1))
        const second = yield* fork(insert(2))
        expect([yield* rows, disk.started()]).toEqual([[1, 2], 1])
        yield* disk.succeed
        expect([first.pollUnsafe() !== undefined, second.pollUnsafe(), disk.started()]).toEqual([true, undefined, 2])
        yield* disk.succeed
        yield* Fiber.join(second)
      }),
    ),
  )

  it.effect("leaves plain statements at their own level, before and after", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const { exposure } = yield* DatabaseControl
        const level = Effect.map(sql.unsafe("PRAGMA synchronous").values, (all) => all[0]?.[0])
        const writer = yield* Writer
        const levels = yield* writer.transaction(Effect.andThen(plain(1), level))
        expect([levels, yield* level]).toEqual([1, 2])
        yield* Effect.all([insert(2), plain(3), sql.withTransaction(plain(4)), insert(5)], { concurrency: "unbounded" })
        expect(exposure.isExposed()).toBe(false)
        expect(yield* level).toBe(2)
      }),
    ),
  )
})

describe("a caller", () => {
  it.effect("that is interrupted after that may have written", () =>
    onDisk(
      Effect.gen(function* () {
        const disk = yield* ScriptedDisk
        const writing = yield* fork(insert(1))
        yield* Fiber.interrupt(writing)
        yield* disk.succeed
        expect(yield* rows).toEqual([1])
      }),
    ),
  )

  it.effect("whose sync fails is told so, and so are all after that", () =>
    onDisk(
      Effect.gen(function* () {
        const disk = yield* ScriptedDisk
        const first = yield* fork(insert(1))
        const bad = yield* fork(insert(null))
        yield* disk.fail
        const reason = (fiber: Fiber.Fiber<unknown, unknown>) =>
          Effect.map(Effect.flip(Fiber.join(fiber)), (error) =>
            error instanceof DurabilityError ? error.reason : error instanceof SqlError.SqlError ? "SqlError" : "other",
          )
        expect([yield* reason(first), yield* reason(bad)]).toEqual(["SyncFailed", "SqlError"])
        expect(yield* Effect.map(Effect.flip(insert(2)), (error) => error._tag)).toBe("DurabilityError")
        expect(yield* rows).toEqual([1])
      }),
    ),
  )
})

describe("a transaction that writes to another database, too", () => {
  it.effect("lowers no level there", () =>
    onDatabase(
      Effect.gen(function* () {
        const other = Context.get(yield* Layer.build(TemporaryDatabase.layer()), SqlClient.SqlClient)
        const level = Effect.map(other.unsafe("PRAGMA synchronous").values, (all) => all[0]?.[0])
        const writer = yield* Writer
        expect(yield* writer.transaction(Effect.andThen(plain(1), other.withTransaction(level)))).toBe(2)
      }).pipe(Effect.scoped),
    ),
  )
})

describe("two databases that write into each other", () => {
  const both = Effect.gen(function* () {
    const open = Effect.gen(function* () {
      const context = yield* Layer.build(TemporaryDatabase.layer({ durability: "normal" }))
      const sql = Context.get(context, SqlClient.SqlClient)
      yield* sql`CREATE TABLE t (a)`
      return { sql, writer: Context.get(context, Writer) }
    })
    return [yield* open, yield* open] as const
  })
  type Side = Effect.Success<typeof both>[0]
  const add = "INSERT INTO t VALUES (1)"
  /** What is held, and what is asked for meanwhile. */
  const holding: Readonly<
    Record<string, (side: Side, self: Effect.Effect<unknown, unknown>) => Effect.Effect<unknown, unknown>>
  > = {
    "a part": ({ writer }, self) => writer.transaction(self),
    "a transaction": ({ sql }, self) => sql.withTransaction(self),
  }
  const asking: Readonly<Record<string, (side: Side) => Effect.Effect<unknown, unknown>>> = {
    "a write": ({ writer }) => writer.execute(add),
    "a part": ({ writer, sql }) => writer.transaction(sql.unsafe(add)),
    "a statement": ({ sql }) => sql.unsafe(add),
    "a transaction": ({ sql }) => sql.withTransaction(sql.unsafe(add)),
  }
  const cases = Object.keys(holding).flatMap((held) => Object.keys(asking).map((asked) => [held, asked] as const))

  it.effect.each(cases)("fail typed instead of waiting for each other: %s, then %s", ([held, asked]) =>
    Effect.gen(function* () {
      const [one, other] = yield* both
      const meet = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
      const side = (own: 0 | 1, mine: Side, theirs: Side) =>
        holding[held]!(
          mine,
          Effect.andThen(
            mine.sql.unsafe("INSERT INTO t VALUES (0)"),
            Deferred.succeed(meet[own], undefined).pipe(
              Effect.andThen(Deferred.await(meet[own === 0 ? 1 : 0])),
              Effect.andThen(asking[asked]!(theirs)),
            ),
          ),
        )
      const exits = yield* Effect.all([Effect.exit(side(0, one, other)), Effect.exit(side(1, other, one))], {
        concurrency: "unbounded",
      })
      const failed = exits.filter(Exit.isFailure)
      expect(failed).toHaveLength(1)
      const error = failed[0] && Exit.getCause(failed[0]).pipe(Option.getOrThrow, Cause.squash)
      expect(SqlError.isSqlError(error) && [error.reason._tag, error.reason.isRetryable]).toEqual([
        "DeadlockError",
        true,
      ])
      const counts = yield* Effect.forEach([one, other], ({ sql }) => sql`SELECT count(*) AS n FROM t`)
      expect(counts.map(([row]) => row?.["n"]).toSorted()).toEqual([1, 1])
      // Nothing is left of it: either may write into the other again.
      yield* one.writer.transaction(other.writer.execute(add))
      yield* other.sql.withTransaction(one.sql.unsafe(add))
    }).pipe(Effect.scoped),
  )

  it.effect("are not refused while they only wait for one of them, also through a third", () =>
    Effect.gen(function* () {
      const [one, other] = yield* both
      const [third] = yield* both
      yield* Effect.forEach(
        Array.from({ length: 50 }),
        () =>
          Effect.all(
            [
              one.writer.transaction(other.writer.transaction(third.writer.execute(add))),
              one.sql.withTransaction(third.writer.execute(add)),
              other.writer.execute(add),
            ],
            { concurrency: "unbounded" },
          ),
        { concurrency: "unbounded" },
      )
      expect(yield* third.sql`SELECT count(*) AS n FROM t`).toEqual([{ n: 100 }])
    }).pipe(Effect.scoped),
  )
})

describe("the end", () => {
  const opened = Effect.gen(function* () {
    const scope = yield* Scope.make()
    const context = yield* Layer.buildWithScope(Layer.provideMerge(scriptedDatabase(), LogCapture.layer), scope)
    const inside = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideContext(self, context)
    yield* inside(table)
    return { inside, close: Scope.close(scope, Exit.void), disk: yield* inside(ScriptedDisk) }
  })

  it.effect("waits for what was taken, takes nothing more, and may come twice", () =>
    Effect.gen(function* () {
      const { close, disk, inside } = yield* opened
      const { quiesce } = yield* inside(DatabaseControl)
      const writing = yield* fork(inside(insert(1)))
      const resting = yield* fork(quiesce)
      expect(resting.pollUnsafe()).toBeUndefined()
      expect(yield* Effect.flip(inside(insert(2)))).toEqual(new WriterError({ reason: "Closed" }))
      yield* disk.succeed
      yield* Fiber.joinAll([writing, resting])
      yield* quiesce
      expect(yield* inside(rows)).toEqual([1])
      yield* close
    }),
  )

  it.effect("gives up a disk that does not answer when the time is over, and says so", () =>
    Effect.gen(function* () {
      const { close, inside } = yield* opened
      const writing = yield* fork(inside(insert(1)))
      const closing = yield* fork(close)
      yield* TestClock.adjust("10 seconds") // each of the two steps has its own budget without a `Shutdown` layer
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(closing)
      const overdue = yield* inside(LogCapture.logged("shutdown step overdue"))
      expect(overdue.map(({ fields }) => fields["step"])).toEqual(["drain writes", "last WAL sync"])
      expect(writing.pollUnsafe()).toBeUndefined() // its sync may still succeed; it may not be called failed yet
      yield* Fiber.interrupt(writing)
    }),
  )
})

/** What a caller did, and what it was told. */
interface Told {
  readonly kind: string
  readonly values: ReadonlyArray<number>
  readonly exit: Exit.Exit<unknown, unknown>
}

describe("for any callers, failures, interruptions and syncs, in any order", () => {
  it.effect.prop(
    "what was acknowledged is there, what failed is not, and the order is that of asking",
    [Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 ** 31 }))],
    ([seed]) =>
      Effect.gen(function* () {
        const random = randomOf(seed)
        const pause = Effect.suspend(() =>
          Effect.forEach(Array.from({ length: random(4) }), () => Effect.yieldNow, { discard: true }),
        )
        // One in sixty syncs fails; the others take as long as they like.
        const disk = Layer.succeed(Fdatasync, () =>
          Effect.andThen(
            pause,
            Effect.suspend(() => (random(60) === 0 ? Effect.fail("EIO") : Effect.void)),
          ),
        )
        const file = yield* TemporaryDatabase.file
        const told: Array<Told> = []
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const writer = yield* Writer
          yield* table
          yield* sql`PRAGMA foreign_keys = ON`
          yield* sql`CREATE TABLE child (t INTEGER REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)`
          yield* plain(0)
          let next = 1
          const caller = Effect.fnUntraced(function* () {
            for (let n = 0; n < 5; n++) {
              yield* pause
              const [a, b] = [next++, next++]
              const add = (value: number) => sql.unsafe("INSERT INTO t (a) VALUES (?)", [value])
              const [kind, values, write] = (
                [
                  ["statement", [a], insert(a)],
                  ["statement", [a], insert(a)],
                  ["duplicate", [], insert(0)],
                  ["rollback", [], writer.execute("INSERT OR ROLLBACK INTO t (a) VALUES (0)")],
                  ["orphan", [], writer.execute("INSERT INTO child (t) VALUES (-1)")],
                  ["transaction", [a, b], writer.transaction(Effect.andThen(add(a), add(b)))],
                  ["half", [a], writer.transaction(Effect.andThen(add(a), add(0)))],
                  ["gives up", [a], writer.transaction(Effect.andThen(add(a), Effect.fail("no")))],
                  ["plain", [a], add(a)],
                ] as const
              )[random(9)]!
              const asking = yield* Effect.forkChild(write as Effect.Effect<unknown, unknown>, {
                startImmediately: true,
              })
              if (random(5) === 0) {
                yield* pause
                yield* Fiber.interrupt(asking)
              }
              const exit = yield* Fiber.await(asking)
              told.push({ kind, values, exit })
            }
          })
          yield* Effect.all(
            Array.from({ length: 12 }, () => caller()),
            { concurrency: "unbounded" },
          )
        }).pipe(Effect.provide(Database.layer({ filename: file }).pipe(Layer.provide(disk))))

        const reopened = new DatabaseSync(file)
        const there = reopened
          .prepare("SELECT a FROM t ORDER BY id")
          .all()
          .map((row) => Number(row["a"]))
        expect(reopened.prepare("PRAGMA integrity_check").get(), `seed ${seed}`).toEqual({ integrity_check: "ok" })
        reopened.close()
        const present = new Set(there)
        for (const { exit, kind, values } of told) {
          const found = values.filter((value) => present.has(value)).length
          const what = `seed ${seed}: ${kind} ${values.join()} ${exit._tag}`
          if (Exit.isSuccess(exit)) expect(found, `${what}`).toBe(values.length)
          else if (Exit.hasInterrupts(exit) || Exit.getCause(exit).pipe(String).includes("DurabilityError")) {
            expect([0, values.length], `${what}`).toContain(found)
          } else expect(found, `${what}`).toBe(0)
        }
        expect(told, `seed ${seed}`).toHaveLength(60)
        // Plain statements do not queue with the others; among those that do, who asked first is first.
        const queued = new Set(told.filter(({ kind }) => kind !== "plain").flatMap(({ values }) => values))
        const order = there.filter((a) => queued.has(a))
        expect(order, `seed ${seed}: order`).toEqual(order.toSorted((a, b) => a - b))
      }),
    { arbitrary: { runs: slice(40) } },
  )
})
