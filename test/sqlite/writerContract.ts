/** What a `Writer` gives its callers, whatever an acknowledged write survives: one suite, run at each durability. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Metric } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { Database } from "../../src/sqlite/Database.ts"
import { Writer } from "../../src/sqlite/Writer.ts"
import { WriterError } from "../../src/sqlite/WriterError.ts"
import { settle } from "../support/ScriptedDisk.ts"
import { batches, countingBatches, fork, insert, outcomes, plain, rows, table, together } from "../support/writes.ts"

export const writerContract = <E>(name: string, layer: Layer.Layer<Database | SqlClient.SqlClient | Writer, E>) =>
  describe(`a writer ${name}`, () => {
    const onDatabase = <A, F>(self: Effect.Effect<A, F, SqlClient.SqlClient | Writer | Database>) =>
      Effect.andThen(table, self).pipe(Effect.provide(layer))

    describe("a write", () => {
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
            const two = (a: number, b: number) =>
              writer.transaction(Effect.andThen(plain(a), Effect.as(plain(b), a + b)))
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
            yield* writer.transaction(
              Effect.andThen(Deferred.succeed(goOn, undefined), Effect.andThen(settle, plain(3))),
            )
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
            const asked = Writer.use((writer) =>
              writer.execute("INSERT INTO t (a) VALUES (9007199254740993) RETURNING a"),
            )
            const exactly = Effect.provideService(asked, SqlClient.SafeIntegers, true)
            const [alone] = yield* exactly
            expect(alone).toEqual({ a: 9007199254740993n })
            yield* Writer.use((writer) => writer.execute("DELETE FROM t"))
            const small = Writer.use((writer) => writer.execute("INSERT INTO t (a) VALUES (1) RETURNING a"))
            expect(yield* together(small, exactly)).toEqual([[{ a: 1 }], [{ a: 9007199254740993n }]])
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
    })
  })
