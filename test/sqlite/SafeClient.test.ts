import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Option, Result } from "effect"
import { TestClock } from "effect/testing"
import { SqlClient } from "effect/sql"
import { nativeReason } from "../../src/sqlite/NativeError.ts"
import { insideTransaction } from "../../src/sqlite/SafeClient.ts"
import { Database } from "../../src/sqlite/Database.ts"
import { Writer } from "../../src/sqlite/Writer.ts"
import { temporaryDatabase } from "../../src/testing/TemporaryDatabase.ts"

const table = SqlClient.SqlClient.use((sql) => sql`CREATE TABLE t (a INTEGER PRIMARY KEY)`)
const rows = SqlClient.SqlClient.use((sql) =>
  Effect.map(sql.unsafe("SELECT a FROM t ORDER BY a").values, (all) => all.flat()),
)
const insert = (a: number) => SqlClient.SqlClient.use((sql) => sql.unsafe("INSERT INTO t (a) VALUES (?)", [a]))

const onDatabase = <A, E>(self: Effect.Effect<A, E, SqlClient.SqlClient | Writer>) =>
  Effect.andThen(table, self).pipe(Effect.provide(temporaryDatabase({ durability: "normal" })))

describe("the permit", () => {
  it.effect("loses none of 20,000 acknowledged writes beside a fiber that rolls back", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const rollsBack = yield* insert(-1).pipe(
          Effect.andThen(Effect.yieldNow),
          Effect.andThen(Effect.fail("roll back")),
          sql.withTransaction,
          Effect.ignore,
          Effect.andThen(Effect.yieldNow),
          Effect.forever,
          Effect.forkChild,
        )
        const writers = Array.from({ length: 20 }, (_, writer) =>
          Effect.forEach(
            Array.from({ length: 1000 }, (__, i) => writer * 1000 + i),
            insert,
            { discard: true },
          ),
        )
        yield* Effect.all(writers, { concurrency: "unbounded" })
        yield* Fiber.interrupt(rollsBack)
        expect((yield* rows).length).toBe(20_000)
        expect((yield* rows)[0]).toBe(0)
      }),
    ),
  )

  it.effect("keeps other fibers out for the whole of a transaction", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const inside = yield* Deferred.make<void>()
        const goOn = yield* Deferred.make<void>()
        const transaction = yield* insert(1).pipe(
          Effect.andThen(Deferred.succeed(inside, undefined)),
          Effect.andThen(Deferred.await(goOn)),
          Effect.andThen(Effect.fail("roll back")),
          sql.withTransaction,
          Effect.ignore,
          Effect.forkChild,
        )
        yield* Deferred.await(inside)
        const other = yield* Effect.forkChild(insert(2), { startImmediately: true })
        yield* Effect.yieldNow
        expect(other.pollUnsafe()).toBeUndefined()
        yield* Deferred.succeed(goOn, undefined)
        yield* Fiber.join(transaction)
        yield* Fiber.join(other)
        expect(yield* rows).toEqual([2])
      }),
    ),
  )

  it.effect("is given back by an interrupted transaction, which is rolled back", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const inside = yield* Deferred.make<void>()
        const transaction = yield* insert(1).pipe(
          Effect.andThen(Deferred.succeed(inside, undefined)),
          Effect.andThen(Effect.never),
          sql.withTransaction,
          Effect.forkChild,
        )
        yield* Deferred.await(inside)
        yield* Fiber.interrupt(transaction)
        yield* insert(2)
        expect(yield* rows).toEqual([2])
      }),
    ),
  )

  it.effect("is given back by a fiber that was interrupted while it waited", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* Effect.gen(function* () {
          const waiting = yield* Effect.forkChild(Effect.scoped(sql.reserve), { startImmediately: true })
          yield* Fiber.interrupt(waiting)
        }).pipe(sql.withTransaction)
        yield* insert(1)
        expect(yield* rows).toEqual([1])
      }),
    ),
  )
})

describe("a transaction", () => {
  const deferred = SqlClient.SqlClient.use((sql) =>
    Effect.andThen(
      sql`CREATE TABLE child (a INTEGER REFERENCES t (a) DEFERRABLE INITIALLY DEFERRED)`,
      sql`INSERT INTO child (a) VALUES (99)`.pipe(sql.withTransaction),
    ),
  )

  it.effect("whose COMMIT fails is a typed failure, and leaves a usable connection", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const failed = yield* Effect.result(deferred)
        expect(Result.isFailure(failed) && nativeReason(failed.failure)).toBe("Constraint")
        yield* insert(1).pipe(sql.withTransaction)
        yield* insert(2)
        expect(yield* rows).toEqual([1, 2])
        expect(yield* sql.unsafe("SELECT count(*) FROM child").values).toEqual([[0]])
      }),
    ),
  )

  it.effect("keeps a defect of its body a defect, even one that is an SqlError", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const exit = yield* sql.unsafe("no sql at all").pipe(Effect.orDie, sql.withTransaction, Effect.exit)
        expect(Exit.hasDies(exit)).toBe(true)
        yield* insert(1)
        expect(yield* rows).toEqual([1])
      }),
    ),
  )

  it.effect("that SQLite has rolled back by itself fails with the error that made it so", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* insert(1)
        const failed = yield* sql`INSERT OR ROLLBACK INTO t (a) VALUES (1)`.pipe(sql.withTransaction, Effect.result)
        expect(Result.isFailure(failed) && nativeReason(failed.failure)).toBe("Constraint")
        yield* insert(2).pipe(sql.withTransaction)
        expect(yield* rows).toEqual([1, 2])
      }),
    ),
  )

  it.effect("nested in another rolls back alone", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* insert(1).pipe(
          Effect.andThen(insert(2).pipe(Effect.andThen(Effect.fail("inner")), sql.withTransaction, Effect.ignore)),
          Effect.andThen(insert(3)),
          sql.withTransaction,
        )
        expect(yield* rows).toEqual([1, 3])
      }),
    ),
  )

  it.effect("lets no fiber that was forked in it write after it has ended", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const ended = yield* Deferred.make<void>()
        const [late, wasInside] = yield* Effect.gen(function* () {
          const fiber = yield* Deferred.await(ended).pipe(
            Effect.andThen(Effect.all([Effect.result(insert(7)), insideTransaction(sql)])),
            Effect.forkDetach,
          )
          return [fiber, yield* insideTransaction(sql)] as const
        }).pipe(sql.withTransaction)
        yield* Deferred.succeed(ended, undefined)
        const [result, isInside] = yield* Fiber.join(late)
        expect([wasInside, isInside]).toEqual([true, false])
        expect(Result.isFailure(result) && String(result.failure.reason.cause)).toContain("has ended")
        expect(yield* rows).toEqual([])
      }),
    ),
  )
})

describe("what throws in the driver", () => {
  it.effect("is a typed failure for a statement that does not compile, prepared or not", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const results = yield* Effect.all([
          Effect.result(sql.unsafe("no sql at all")),
          Effect.result(sql.unsafe("no sql at all").unprepared),
          Effect.result(sql.unsafe("no sql at all").values),
        ])
        expect(results.map(Result.isFailure)).toEqual([true, true, true])
      }),
    ),
  )
})

describe("a statement that did not compile", () => {
  it.effect("does when the table that it names is there", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const writer = yield* Writer
        const insert = "INSERT INTO later (a) VALUES (1)"
        const select = sql.unsafe("SELECT a FROM later")
        for (const early of [sql.unsafe(insert), select, select.values, writer.execute(insert)]) {
          expect(Result.isFailure(yield* Effect.result(early as Effect.Effect<unknown, unknown>))).toBe(true)
        }
        yield* sql`CREATE TABLE later (a)`
        yield* sql.unsafe(insert)
        yield* Effect.all([writer.execute(insert), writer.execute(insert)], { concurrency: "unbounded" }) // one batch
        yield* writer.execute(insert)
        const one = { a: 1 }
        expect([yield* select, yield* select.values]).toEqual([
          [one, one, one, one],
          [[1], [1], [1], [1]],
        ])
      }),
    ),
  )
})

describe("a connection whose level cannot be changed", () => {
  it.effect("is given back: the next statement has it, and says what is wrong", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const writer = yield* Writer
      yield* sql`CREATE TABLE t (a)`
      yield* sql.unsafe("BEGIN").unprepared // by hand: inside it the level stays as it is
      const error = yield* Effect.flip(writer.transaction(sql`INSERT INTO t VALUES (1)`))
      expect(String(error)).toContain("SqlError")
      yield* sql.unsafe("ROLLBACK").unprepared
      yield* writer.transaction(sql`INSERT INTO t VALUES (2)`)
      expect(yield* sql`SELECT a FROM t`).toEqual([{ a: 2 }])
    }).pipe(Effect.provide(temporaryDatabase({ durability: "durable" }))),
  )
})

describe("the write gate", () => {
  const onGate = <A, E>(self: Effect.Effect<A, E, Database | SqlClient.SqlClient>) =>
    Effect.andThen(table, self).pipe(Effect.provide(temporaryDatabase({ durability: "normal" })))

  it.effect("holds writers back for as long as the work takes", () =>
    onGate(
      Effect.gen(function* () {
        const { gate } = yield* Database
        const gated = yield* Effect.forkChild(gate(Effect.sleep("50 millis")), { startImmediately: true })
        const writer = yield* Effect.forkChild(insert(1), { startImmediately: true })
        yield* TestClock.adjust("49 millis")
        expect(writer.pollUnsafe()).toBeUndefined()
        yield* TestClock.adjust("1 millis")
        expect(yield* Fiber.join(gated)).toEqual({ _tag: "Done", exit: Exit.void })
        yield* Fiber.join(writer)
        expect(yield* rows).toEqual([1])
      }),
    ),
  )

  it.effect("opens after 100 ms although the work hangs, and the work goes on", () =>
    onGate(
      Effect.gen(function* () {
        const { gate } = yield* Database
        const goOn = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<void>()
        const work = Effect.andThen(Deferred.await(goOn), Deferred.succeed(ended, undefined))
        const gated = yield* Effect.forkChild(gate(work), { startImmediately: true })
        const writer = yield* Effect.forkChild(insert(1), { startImmediately: true })
        yield* TestClock.adjust("99 millis")
        expect(writer.pollUnsafe()).toBeUndefined()
        yield* TestClock.adjust("1 millis")
        expect(yield* Fiber.join(gated)).toEqual({ _tag: "Overdue" })
        yield* Fiber.join(writer)
        yield* Deferred.succeed(goOn, undefined)
        yield* Deferred.await(ended)
      }),
    ),
  )

  it.effect("gives up after 1 s behind a transaction that does not end, and names it by its span", () =>
    onGate(
      Effect.gen(function* () {
        const { gate, holder, sql } = yield* Database
        const inside = yield* Deferred.make<void>()
        const transaction = yield* Deferred.succeed(inside, undefined).pipe(
          Effect.andThen(Effect.never),
          sql.withTransaction,
          Effect.withSpan("Orders.settle"),
          Effect.forkChild,
        )
        yield* Deferred.await(inside)
        const gated = yield* Effect.forkChild(gate(Effect.void), { startImmediately: true })
        yield* TestClock.adjust("999 millis")
        expect(gated.pollUnsafe()).toBeUndefined()
        yield* TestClock.adjust("1 millis")
        expect(yield* Fiber.join(gated)).toEqual({ _tag: "NotClosed" })
        expect(yield* holder).toEqual(Option.some({ span: "Orders.settle", seconds: 1 }))
        yield* Fiber.interrupt(transaction)
        expect(yield* holder).toEqual(Option.none())
        yield* insert(1) // the wait that was given up has not kept the permit
      }),
    ),
  )

  it.effect("does not let a fiber inside a transaction wait for itself, nor one that was forked there", () =>
    onGate(
      Effect.gen(function* () {
        const { gate, sql } = yield* Database
        const ends = yield* sql.withTransaction(
          Effect.all([gate(Effect.void), Effect.flatMap(Effect.forkChild(gate(Effect.void)), Fiber.join)]),
        )
        expect(ends).toEqual([{ _tag: "NotClosed" }, { _tag: "NotClosed" }])
        expect(yield* gate(Effect.succeed(7))).toEqual({ _tag: "Done", exit: Exit.succeed(7) })
      }),
    ),
  )

  it.effect("opens when whoever closed it is interrupted", () =>
    onGate(
      Effect.gen(function* () {
        const { gate } = yield* Database
        const gated = yield* Effect.forkChild(gate(Effect.never), { startImmediately: true })
        yield* Fiber.interrupt(gated)
        yield* insert(1)
        expect(yield* rows).toEqual([1])
      }),
    ),
  )
})
