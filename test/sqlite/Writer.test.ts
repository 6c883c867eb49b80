import { describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Metric, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import { SqlClient, SqlError } from "effect/unstable/sql"
import { DatabaseSync } from "node:sqlite"
import { Database } from "../../src/sqlite/Database.ts"
import { DurabilityError } from "../../src/sqlite/Durability.ts"
import { Fdatasync } from "../../src/sqlite/LogSync.ts"
import { Writer } from "../../src/sqlite/Writer.ts"
import { WriterError } from "../../src/sqlite/WriterError.ts"
import { temporaryDatabase, temporaryFile } from "../../src/testing/TemporaryDatabase.ts"
import { logged, LogCapture } from "../../src/testing/LogCapture.ts"
import { randomOf } from "../support/random.ts"
import { scriptedDatabase, ScriptedDisk, settle } from "../support/ScriptedDisk.ts"

const table = SqlClient.SqlClient.use(
  (sql) => sql`CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a INTEGER UNIQUE NOT NULL)`,
)
const rows = SqlClient.SqlClient.use((sql) =>
  Effect.map(sql.unsafe("SELECT a FROM t ORDER BY id").values, (all) => all.flat()),
)
const insert = (a: number | null) => Writer.use((writer) => writer.execute("INSERT INTO t (a) VALUES (?)", [a]))
const plain = (a: number) => SqlClient.SqlClient.use((sql) => sql.unsafe("INSERT INTO t (a) VALUES (?)", [a]))
const together = <A, E, R>(...writes: ReadonlyArray<Effect.Effect<A, E, R>>) =>
  Effect.all(writes, { concurrency: "unbounded" })
const outcomes = <A, E, R>(...writes: ReadonlyArray<Effect.Effect<A, E, R>>) => together(...writes.map(Effect.exit))
const fork = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.tap(Effect.forkChild(self, { startImmediately: true }), settle)

const onDatabase = <A, E>(self: Effect.Effect<A, E, SqlClient.SqlClient | Writer | Database>) =>
  Effect.andThen(table, self).pipe(Effect.provide(temporaryDatabase()))
const onDisk = <A, E>(self: Effect.Effect<A, E, SqlClient.SqlClient | Writer | Database | ScriptedDisk>) =>
  Effect.andThen(table, self).pipe(Effect.provide(scriptedDatabase()))

/** How many transactions of the writer there were, and of how many writes. */
const batches = Effect.map(Metric.snapshot, (metrics) => {
  const found = metrics.find(({ id }) => id === "seawall_write_batch_size")
  return found?.type === "Histogram"
    ? { count: found.state.count, sum: found.state.sum, max: found.state.max }
    : undefined
})
const countingBatches = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.provideService(self, Metric.MetricRegistry, new Map())

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

  it.effect("returns the rows of its statement", () =>
    onDatabase(
      Effect.gen(function* () {
        const writer = yield* Writer
        expect(yield* writer.execute("INSERT INTO t (a) VALUES (7) RETURNING id, a")).toEqual([{ id: 1, a: 7 }])
        expect(yield* writer.execute("DELETE FROM t")).toEqual([])
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

  it.effect("in a transaction is all or nothing, and returns what it returned", () =>
    onDatabase(
      Effect.gen(function* () {
        const writer = yield* Writer
        const two = (a: number, b: number) => writer.transaction(Effect.andThen(plain(a), Effect.as(plain(b), a + b)))
        const [first, second, third] = yield* outcomes(two(1, 2), two(3, 1), two(4, 5))
        expect([first, third]).toEqual([Exit.succeed(3), Exit.succeed(9)])
        expect(Exit.isFailure(second!)).toBe(true)
        expect(yield* rows).toEqual([1, 2, 4, 5])
      }),
    ),
  )

  it.effect("in a transaction has the services of its caller", () =>
    onDatabase(
      Effect.gen(function* () {
        const Wanted = Context.Service<number>("test/Wanted")
        const writer = yield* Writer
        yield* writer.transaction(Effect.flatMap(Wanted, plain)).pipe(Effect.provideService(Wanted, 42))
        expect(yield* rows).toEqual([42])
      }),
    ),
  )

  it.effect("of a fiber that outlives its transaction is refused, not put into somebody else's", () =>
    onDatabase(
      Effect.gen(function* () {
        const writer = yield* Writer
        const goOn = yield* Deferred.make<void>()
        const late = yield* writer.transaction(
          Effect.andThen(plain(1), Effect.forkDetach(Effect.andThen(Deferred.await(goOn), plain(2)))),
        )
        yield* writer.transaction(Effect.andThen(Deferred.succeed(goOn, undefined), Effect.andThen(settle, plain(3))))
        expect(Exit.isFailure(yield* Fiber.await(late))).toBe(true)
        expect(yield* rows).toEqual([1, 3])
      }),
    ),
  )
})

describe("a batch", () => {
  it.effect("is what waits when the event loop turns, in the order of asking", () =>
    countingBatches(
      onDatabase(
        Effect.gen(function* () {
          const all = Array.from({ length: 300 }, (_, n) => n)
          yield* together(...all.map(insert))
          expect(yield* rows).toEqual(all)
          yield* settle
          expect(yield* batches).toMatchObject({ count: 1, sum: 300 })
        }),
      ),
    ),
  )

  it.effect("takes so many at most, and the others wait their turn", () =>
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

  it.effect("lets one caller's bad statement fail alone", () =>
    onDatabase(
      Effect.gen(function* () {
        const bad = Writer.use((writer) => writer.execute("INSERT INTO nowhere VALUES (1)"))
        const [one, two, three, four] = yield* outcomes(insert(1), insert(1), insert(3), bad)
        expect([one, two, three, four].map((exit) => Exit.isSuccess(exit!))).toEqual([true, false, true, false])
        expect(yield* rows).toEqual([1, 3])
      }),
    ),
  )

  it.effect("survives a statement that rolls the whole transaction back", () =>
    onDatabase(
      Effect.gen(function* () {
        const writer = yield* Writer
        yield* insert(9)
        const ruthless = writer.execute("INSERT OR ROLLBACK INTO t (a) VALUES (9)")
        const exits = yield* outcomes<unknown, unknown, SqlClient.SqlClient | Writer>(
          insert(1),
          writer.transaction(plain(2)),
          ruthless,
          insert(3),
        )
        expect(exits.map(Exit.isSuccess)).toEqual([true, true, false, true])
        expect(yield* rows).toEqual([9, 1, 2, 3])
      }),
    ),
  )

  it.effect("whose COMMIT fails is the only one that does", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const writer = yield* Writer
        yield* sql`PRAGMA foreign_keys = ON`
        yield* sql`CREATE TABLE child (t INTEGER REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)`
        const orphan = writer.execute("INSERT INTO child (t) VALUES (99)")
        const exits = yield* outcomes(insert(1), orphan, insert(2))
        expect(exits.map(Exit.isFailure)).toEqual([true, true, true])
        const error = yield* Effect.flip(exits[0]!)
        expect(error).toBeInstanceOf(SqlError.SqlError)
        yield* insert(3)
        expect(yield* rows).toEqual([3])
      }),
    ),
  )

  it.effect("leaves plain statements at their own level, before and after", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const { exposure } = yield* Database
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
  it.effect("that is interrupted before its batch starts has written nothing", () =>
    onDatabase(
      Effect.gen(function* () {
        const writing = yield* Effect.forkChild(insert(1), { startImmediately: true })
        const other = yield* Effect.forkChild(insert(2), { startImmediately: true })
        yield* Fiber.interrupt(writing)
        yield* Fiber.join(other)
        expect(yield* rows).toEqual([2])
      }),
    ),
  )

  it.effect("that gives up leaves nothing to wait for, however many do while the connection is held", () =>
    onDatabase(
      Effect.gen(function* () {
        const { sql } = yield* Database
        const inside = yield* Deferred.make<void>()
        const over = yield* Deferred.make<void>()
        const holding = yield* Deferred.succeed(inside, undefined).pipe(
          Effect.andThen(Deferred.await(over)),
          sql.withTransaction,
          Effect.forkChild,
        )
        yield* Deferred.await(inside)
        const first = yield* fork(insert(1)) // takes its batch, and waits for the connection
        for (let round = 0; round < 3; round++) {
          const many = yield* Effect.forEach(Array.from({ length: 1024 }), () => Effect.forkChild(insert(2)))
          yield* settle
          yield* Fiber.interruptAll(many)
        }
        const last = yield* fork(insert(3))
        yield* Deferred.succeed(over, undefined)
        yield* Fiber.joinAll([holding, first, last])
        const depth = (yield* Metric.snapshot).find(({ id }) => id === "seawall_write_queue_depth")
        expect(depth?.type === "Gauge" && Number(depth.state.value)).toBeLessThan(1024)
        expect(yield* rows).toEqual([1, 3])
      }),
    ).pipe(countingBatches),
  )

  it.effect("gets whole numbers as it asks for them, whatever its neighbours in the batch ask for", () =>
    onDatabase(
      Effect.gen(function* () {
        const asked = Writer.use((writer) => writer.execute("INSERT INTO t (a) VALUES (9007199254740993) RETURNING a"))
        const exactly = Effect.provideService(asked, SqlClient.SafeIntegers, true)
        const [alone] = yield* exactly
        expect(alone).toEqual({ a: 9007199254740993n })
        yield* Writer.use((writer) => writer.execute("DELETE FROM t"))
        const small = Writer.use((writer) => writer.execute("INSERT INTO t (a) VALUES (1) RETURNING a"))
        expect(yield* together(small, exactly)).toEqual([[{ a: 1 }], [{ a: 9007199254740993n }]])
      }),
    ),
  )

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

  it.effect("inside a transaction is told so instead of waiting for itself", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const error = yield* Effect.flip(sql.withTransaction(insert(1)))
        expect(error).toEqual(new WriterError({ reason: "InsideTransaction" }))
      }),
    ),
  )

  for (const text of [
    "BEGIN",
    " commit",
    "PRAGMA synchronous = OFF",
    "VACUUM",
    "ROLLBACK",
    "savepoint a",
    "/* so */ BEGIN",
    "-- so\n /**/ COMMIT",
  ]) {
    it.effect(`cannot run ${text.trim()} in the batch of others`, () =>
      onDatabase(
        Effect.gen(function* () {
          const error = yield* Effect.flip(Writer.use((writer) => writer.execute(text)))
          expect(error).toEqual(new WriterError({ reason: "NotAWrite" }))
        }),
      ),
    )
  }

  it.effect("whose sync fails is told so, and so is everybody after that", () =>
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
      const { quiesce } = yield* inside(Database)
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
      const overdue = yield* inside(logged("shutdown step overdue"))
      expect(overdue.map(({ fields }) => fields["step"])).toEqual(["drain writes", "last log sync"])
      expect(writing.pollUnsafe()).toBeUndefined() // its sync may still succeed; nobody may say that it did not
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
        const file = yield* temporaryFile
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
        }).pipe(Effect.provide(Database.layer({ file }).pipe(Layer.provide(disk))))

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
    { arbitrary: { runs: 100 } },
  )
})
