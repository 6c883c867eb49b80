/** What a `Writer` over SQLite gives its callers beside what every one does: one suite, run at each durability. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Metric } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import * as Database from "../../src/sqlite/Database.ts"
import { reasonOf } from "../../src/sqlite/NativeError.ts"
import { Writer } from "../../src/sql/Writer.ts"
import { WriterError } from "../../src/sql/WriterError.ts"
import { settle } from "../support/ScriptedDisk.ts"
import { batches, countingBatches, fork, insert, outcomes, plain, rows, table, together } from "../support/writes.ts"

export const batchContract = <E>(
  name: string,
  layer: Layer.Layer<Database.Database | SqlClient.SqlClient | Writer, E>,
) =>
  describe(`a writer ${name}`, () => {
    const onDatabase = <A, F>(self: Effect.Effect<A, F, SqlClient.SqlClient | Writer | Database.Database>) =>
      Effect.andThen(table, self).pipe(Effect.provide(layer))

    describe("a write", () => {
      it.effect("of a fiber that outlives its transaction is one by itself, and never in that of another caller", () =>
        onDatabase(
          Effect.gen(function* () {
            const writer = yield* Writer
            const goOn = yield* Deferred.make<void>()
            const late = yield* writer.transaction(
              Effect.andThen(plain(1), Effect.forkDetach(Effect.andThen(Deferred.await(goOn), plain(2)))),
            )
            const failing = Deferred.succeed(goOn, undefined).pipe(
              Effect.andThen(settle),
              Effect.andThen(plain(3)),
              Effect.andThen(Effect.fail("no")),
            )
            yield* Effect.exit(writer.transaction(failing))
            yield* Fiber.join(late)
            expect(yield* rows).toEqual([1, 2])
            const again = yield* writer.transaction(Effect.forkDetach(Effect.andThen(settle, insert(4))))
            yield* Fiber.join(again)
            expect(yield* rows).toEqual([1, 2, 4])
          }),
        ),
      )

      it.effect("is what was asked for, whatever is done with its parameters meanwhile", () =>
        onDatabase(
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            const writer = yield* Writer
            yield* sql`CREATE TABLE blobs (n, a, b)`
            const bytes = new Uint8Array([1, 2, 3])
            const params: Array<unknown> = [1, "text", bytes]
            const named = { n: 2, a: "named", b: Buffer.from(bytes.buffer, 1) }
            const writing = yield* Effect.forkChild(
              together(
                writer.execute("INSERT INTO blobs VALUES (?, ?, ?)", params),
                writer.execute("INSERT INTO blobs VALUES (:n, :a, :b)", [named]),
              ),
              { startImmediately: true },
            )
            params[1] = "changed"
            named.a = "changed"
            bytes.fill(9)
            yield* Fiber.join(writing)
            expect(yield* sql`SELECT n, a, hex(b) AS b FROM blobs ORDER BY n`).toEqual([
              { n: 1, a: "text", b: "010203" },
              { n: 2, a: "named", b: "0203" },
            ])
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
            expect(exits.map(Exit.isFailure)).toEqual([false, true, false])
            expect(reasonOf(yield* Effect.flip(exits[1]!))).toBe("Constraint")
            yield* insert(3)
            expect(yield* rows).toEqual([1, 2, 3])
          }),
        ),
      )
    })

    describe("what one caller does", () => {
      const bad = Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const writer = yield* Writer
        yield* sql`PRAGMA foreign_keys = ON`
        yield* sql`PRAGMA max_page_count = 60`
        yield* sql`CREATE TABLE child (t INTEGER REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)`
        yield* sql`CREATE TABLE guarded (a)`
        yield* sql`CREATE TRIGGER g BEFORE INSERT ON guarded BEGIN SELECT RAISE(ROLLBACK, 'not here'); END`
        yield* sql`CREATE TABLE blobs (b)`
        yield* insert(9)
        const again = sql`INSERT OR ROLLBACK INTO t (a) VALUES (9)`
        const after = (self: Effect.Effect<unknown, unknown>) =>
          writer.transaction(plain(20).pipe(Effect.andThen(self), Effect.andThen(plain(21))))
        return {
          "a statement that rolls back": writer.execute("INSERT OR ROLLBACK INTO t (a) VALUES (9)"),
          "a trigger that rolls back": writer.execute("INSERT INTO guarded VALUES (1)"),
          "a statement that fills the disk": writer.execute("INSERT INTO blobs VALUES (zeroblob(10000000))"),
          "a part that rolls back": after(again),
          "a part nested in which it rolls back": after(sql.withTransaction(sql.withTransaction(again))),
          "a part that swallows it": after(Effect.ignore(again)),
          "a part that swallows it and fails by itself": after(
            Effect.andThen(Effect.ignore(again), Effect.fail("mine")),
          ),
          "a part that swallows it and dies": after(Effect.andThen(Effect.ignore(again), Effect.die("bug"))),
          "a part that fills the disk": after(sql`INSERT INTO blobs VALUES (zeroblob(10000000))`),
          "a part that says ROLLBACK": after(sql`ROLLBACK`),
          "a part that says COMMIT": after(sql.unsafe(";COMMIT")),
          "a statement for which the COMMIT fails": writer.execute("INSERT INTO child (t) VALUES (99)"),
          "a part for which the COMMIT fails": after(sql`INSERT INTO child (t) VALUES (99)`),
        } satisfies Readonly<Record<string, Effect.Effect<unknown, unknown, SqlClient.SqlClient>>>
      })

      it.effect("costs no other caller a write, whatever it is and wherever it stands, and leaves nothing of it", () =>
        onDatabase(
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            for (const [what, write] of Object.entries(yield* bad)) {
              for (let at = 0; at < 4; at++) {
                const innocent = [insert(1), Writer.use((writer) => writer.transaction(plain(2))), insert(3)]
                const exits = yield* outcomes<unknown, unknown, SqlClient.SqlClient | Writer>(
                  ...innocent.toSpliced(at, 0, write as never),
                )
                expect(exits.map(Exit.isFailure), `${what}`).toEqual([0, 1, 2, 3].map((n) => n === at))
                expect(yield* rows, `${what}`).toEqual([9, 1, 2, 3])
                yield* sql`DELETE FROM t WHERE a < 9`
              }
            }
            expect(yield* sql`SELECT count(*) AS n FROM child`).toEqual([{ n: 0 }])
          }),
        ),
      )

      it.effect("is told with its own cause", () =>
        onDatabase(
          Effect.gen(function* () {
            const told: Record<string, unknown> = {}
            for (const [what, write] of Object.entries(yield* bad)) {
              const [exit] = yield* outcomes<unknown, unknown, SqlClient.SqlClient | Writer>(write as never, insert(1))
              const error = Exit.isFailure(exit!) ? Cause.squash(exit.cause) : exit
              told[what] = typeof error === "string" ? error : reasonOf(error)
              if (what.includes("says")) told[what] = SqlError.isSqlError(error) && error.message.slice(0, 20)
              yield* SqlClient.SqlClient.use((sql) => sql`DELETE FROM t WHERE a < 9`)
            }
            expect(told).toEqual({
              "a statement that rolls back": "Constraint",
              "a trigger that rolls back": "Constraint",
              "a statement that fills the disk": "Full",
              "a part that rolls back": "Constraint",
              "a part nested in which it rolls back": "Constraint",
              "a part that swallows it": "Constraint",
              "a part that swallows it and fails by itself": "mine",
              "a part that swallows it and dies": "bug",
              "a part that fills the disk": "Full",
              "a part that says ROLLBACK": "ROLLBACK was not run",
              "a part that says COMMIT": "COMMIT was not run: ",
              "a statement for which the COMMIT fails": "Constraint",
              "a part for which the COMMIT fails": "Constraint",
            })
          }),
        ),
      )

      it.effect("has its callbacks after the COMMIT of the batch, and never when that fails", () =>
        onDatabase(
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            const writer = yield* Writer
            yield* bad
            const seen: Array<unknown> = []
            const noting = (a: number) => sql.afterCommit(Effect.map(Effect.orDie(rows), (all) => seen.push([a, all])))
            yield* writer.transaction(Effect.andThen(plain(1), noting(1)))
            yield* outcomes<unknown, unknown, SqlClient.SqlClient>(
              writer.transaction(Effect.andThen(sql`INSERT INTO child (t) VALUES (99)`, noting(2))),
            )
            expect(seen).toEqual([[1, [9, 1]]])
          }),
        ),
      )
    })

    describe("a caller", () => {
      it.effect("that gives up leaves nothing to wait for, however many do while the connection is held", () =>
        onDatabase(
          Effect.gen(function* () {
            const { sql } = yield* Database.Database
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

      for (const [reason, text] of [
        ["TransactionControl", "\uFEFF; /* ; */ ;end"],
        ["NotAWrite", ";PRAGMA journal_mode=DELETE"],
        ["NotAWrite", "EXPLAIN PRAGMA synchronous = OFF"],
        ["NotAWrite", "PRAGMA synchronous = OFF"],
        ["NotAWrite", "VACUUM"],
        ["NotAWrite", "ATTACH 'other.db' AS other"],
      ] as const) {
        it.effect(`cannot run ${text.trim()} in the batch of others`, () =>
          onDatabase(
            Effect.gen(function* () {
              const error = yield* Effect.flip(Writer.use((writer) => writer.execute(text)))
              expect(error).toEqual(new WriterError({ reason }))
            }),
          ),
        )
      }
    })
  })
