/** What a `Writer` gives its callers on every store: one suite, run on SQLite at each durability, and on PostgreSQL. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { SqlClient } from "effect/sql"
import { Writer } from "../../src/sql/Writer.ts"
import { WriterError } from "../../src/sql/WriterError.ts"
import { insert, outcomes, plain, rows, table, together } from "../support/writes.ts"

export const writerContract = <E>(name: string, layer: Layer.Layer<SqlClient.SqlClient | Writer, E>) =>
  describe(`a writer ${name}`, () => {
    const onDatabase = <A, F>(self: Effect.Effect<A, F, SqlClient.SqlClient | Writer>) =>
      Effect.andThen(table, self).pipe(Effect.provide(layer))

    it.effect("returns the rows of its statement", () =>
      onDatabase(
        Effect.gen(function* () {
          const writer = yield* Writer
          expect(yield* writer.execute("INSERT INTO t (a) VALUES (7) RETURNING id, a")).toEqual([{ id: 1, a: 7 }])
          expect(yield* writer.execute("DELETE FROM t")).toEqual([])
        }),
      ),
    )

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

    it.effect("may be a template, with all that may stand in one of the client", () =>
      onDatabase(
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const writer = yield* Writer
          const rows = yield* writer.sql<{
            id: number
          }>`INSERT INTO t ${sql.insert([{ a: 7 }, { a: 8 }])} RETURNING id`
          const ids: ReadonlyArray<number> = rows.map(({ id }) => id)
          expect(ids).toEqual([1, 2])
          expect(yield* writer.sql`UPDATE t SET a = ${70} WHERE ${sql.in("a", [7])} RETURNING a`).toEqual([{ a: 70 }])
          expect(yield* Effect.flip(writer.sql`BEGIN`)).toEqual(new WriterError({ reason: "TransactionControl" }))
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

    it.effect("that goes away takes its part with it, and the batch goes on", () =>
      onDatabase(
        Effect.gen(function* () {
          const writer = yield* Writer
          const started = yield* Deferred.make<void>()
          const cleanedUp = yield* Deferred.make<void>()
          const part = plain(1).pipe(
            Effect.andThen(Deferred.succeed(started, undefined)),
            Effect.andThen(Effect.never),
            Effect.onInterrupt(() => Deferred.succeed(cleanedUp, undefined)),
          )
          const stuck = yield* Effect.forkChild(Effect.timeout(writer.transaction(part), "500 millis"))
          const others = yield* Effect.forkChild(
            together<unknown, unknown, Writer | SqlClient.SqlClient>(
              insert(2),
              writer.transaction(plain(3)),
              insert(4),
            ),
          )
          yield* Deferred.await(started)
          yield* TestClock.adjust("500 millis")
          expect((yield* Effect.flip(Fiber.join(stuck)))._tag).toBe("TimeoutError")
          yield* Deferred.await(cleanedUp)
          yield* Fiber.join(others)
          expect(yield* rows).toEqual([2, 3, 4])
          expect(yield* SqlClient.SqlClient.use((sql) => sql`SELECT 1 AS one`)).toEqual([{ one: 1 }])
        }),
      ),
    )

    it.effect("that is interrupted while it waits has written nothing", () =>
      onDatabase(
        Effect.gen(function* () {
          const first = yield* Effect.forkChild(insert(1), { startImmediately: true })
          const waiting = yield* Effect.forkChild(insert(2), { startImmediately: true })
          yield* Fiber.interrupt(waiting)
          yield* Fiber.join(first)
          yield* insert(3)
          expect(yield* rows).toEqual([1, 3])
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

    it.effect("asks for what it asked for, whatever is done with its parameters meanwhile", () =>
      onDatabase(
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const writer = yield* Writer
          yield* sql`CREATE TABLE blobs (b BYTEA)`
          const bytes = new Uint8Array([1, 2, 3])
          const writing = yield* Effect.forkChild(
            together<unknown, unknown, Writer>(insert(1), writer.sql`INSERT INTO blobs (b) VALUES (${bytes})`),
            { startImmediately: true },
          )
          bytes.fill(9)
          yield* Fiber.join(writing)
          const [stored] = yield* sql<{ readonly b: Uint8Array }>`SELECT b FROM blobs`
          expect([...(stored?.b ?? [])]).toEqual([1, 2, 3])
        }),
      ),
    )

    it.effect("keeps the order of asking", () =>
      onDatabase(
        Effect.gen(function* () {
          const all = Array.from({ length: 50 }, (_, n) => n)
          yield* together(...all.map(insert))
          expect(yield* rows).toEqual(all)
        }),
      ),
    )

    for (const text of [
      "BEGIN",
      " commit",
      "ROLLBACK",
      "savepoint a",
      "/* so */ BEGIN",
      "-- so\n /**/ COMMIT",
      ";BEGIN",
    ]) {
      it.effect(`does not run ${text.trim()}, which would end or begin the transaction of others`, () =>
        onDatabase(
          Effect.gen(function* () {
            const error = yield* Effect.flip(Writer.use((writer) => writer.execute(text)))
            expect(error).toEqual(new WriterError({ reason: "TransactionControl" }))
            yield* insert(1)
            expect(yield* rows).toEqual([1])
          }),
        ),
      )
    }
  })
