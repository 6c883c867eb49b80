/**
 * Fibers that outlive, interrupt and wait for each other around transactions: what each ends with, and that the connection is
 * free and outside of a transaction afterwards.
 */
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import * as Database from "../../src/sqlite/Database.ts"
import { DatabaseControl } from "../../src/sqlite/DatabaseControl.ts"
import { Transactions } from "../../src/sqlite/Waiting.ts"
import { Writer } from "../../src/sql/Writer.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"

const open = (durability: "durable" | "normal" = "normal") =>
  Effect.gen(function* () {
    const context = yield* Layer.build(TemporaryDatabase.layer({ durability, busyTimeout: "20 millis" }))
    const sql = Context.get(context, SqlClient.SqlClient)
    yield* sql`CREATE TABLE t (v)`
    yield* sql`CREATE TABLE u (v UNIQUE)`
    yield* sql`INSERT INTO u VALUES (1)`
    return {
      sql,
      writer: Context.get(context, Writer),
      database: Context.get(context, Database.Database),
      control: Context.get(context, DatabaseControl),
    }
  })
type Opened = Effect.Success<ReturnType<typeof open>>

const values = ({ sql }: Opened) => Effect.map(sql`SELECT v FROM t ORDER BY rowid`.values, (all) => all.flat())

/** The next caller is served, and what it is told is stored is. */
const isUsable = (opened: Opened) =>
  Effect.gen(function* () {
    const { sql, writer } = opened
    yield* sql`INSERT INTO t VALUES ('plain')`
    yield* writer.execute("INSERT INTO t VALUES ('write')")
    yield* sql.withTransaction(sql.withTransaction(sql`INSERT INTO t VALUES ('transaction')`))
    yield* sql.withTransaction(Effect.fail("roll back")).pipe(Effect.ignore)
    const all = yield* values(opened)
    expect(all.slice(-3)).toEqual(["plain", "write", "transaction"])
    yield* sql`DELETE FROM t`
    return all.slice(0, -3)
  })

const rollsBack = ({ sql }: Opened) => sql`INSERT OR ROLLBACK INTO u VALUES (1)`

/** So many steps of a fiber, which move the moment at which its scheduler yields. */
const spin = (steps: number) =>
  Effect.suspend(() => {
    let left = steps
    return Effect.whileLoop({ while: () => left > 0, body: () => Effect.void, step: () => void (left -= 1) })
  })

/** Those around the scheduler's own yield, after 2,048 steps, where an interruption is heard. */
const moments = Array.from({ length: 130 }, (_, n) => 1930 + n)

describe("a nested transaction that outlives the one around it", () => {
  it.live("ends nothing of a later one, and fails", () =>
    Effect.gen(function* () {
      const opened = yield* open()
      const { sql } = opened
      const late = yield* sql.withTransaction(
        Effect.tap(
          Effect.forkDetach(sql.withTransaction(Effect.sleep("20 millis")), { startImmediately: true }),
          Effect.sleep("5 millis"),
        ),
      )
      const other = sql.withTransaction(
        sql.withTransaction(Effect.andThen(sql`INSERT INTO t VALUES ('x')`, Effect.sleep("50 millis"))),
      )
      expect((yield* Effect.exit(other))._tag).toBe("Success")
      expect(String(yield* Effect.flip(Fiber.join(late)))).toContain("has ended")
      expect(yield* isUsable(opened)).toEqual(["x"])
    }).pipe(Effect.scoped),
  )

  it.live("fails no neighbour of the part that forked it", () =>
    Effect.gen(function* () {
      const opened = yield* open()
      const { sql, writer } = opened
      const part = writer.transaction(
        Effect.forkDetach(sql.withTransaction(Effect.sleep("10 millis")), { startImmediately: true }),
      )
      const neighbour = writer.transaction(Effect.andThen(sql`INSERT INTO t VALUES (1)`, Effect.sleep("30 millis")))
      yield* Effect.all([part, neighbour], { concurrency: 2 })
      expect(yield* isUsable(opened)).toEqual([1])
    }).pipe(Effect.scoped),
  )
})

describe("an interruption, at whatever moment it is heard", () => {
  it.live("loses no permit", () =>
    Effect.gen(function* () {
      const opened = yield* open()
      const { sql } = opened
      const uses: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        sql.withTransaction(sql`INSERT INTO t VALUES (1)`),
        sql.withTransaction(sql.withTransaction(sql`INSERT INTO t VALUES (1)`)),
        Effect.scoped(sql.reserve),
        sql`INSERT INTO t VALUES (1)`,
      ]
      for (const use of uses) {
        for (const moment of moments) {
          const fiber = yield* Effect.forkChild(Effect.andThen(spin(moment), use), { startImmediately: true })
          yield* Fiber.interrupt(fiber)
        }
        yield* isUsable(opened)
      }
    }).pipe(Effect.scoped),
  )

  it.live("leaves no half of a transaction that SQLite rolled back, and none open", () =>
    Effect.gen(function* () {
      const opened = yield* open()
      const { sql } = opened
      for (const moment of moments) {
        const exit = yield* Effect.gen(function* () {
          yield* sql`INSERT INTO t VALUES ('a')`
          const fiber = yield* Effect.forkChild(Effect.andThen(spin(moment), rollsBack(opened)), {
            startImmediately: true,
          })
          yield* Fiber.interrupt(fiber)
          yield* sql`INSERT INTO t VALUES ('b')`
        }).pipe(sql.withTransaction, Effect.exit)
        expect(yield* isUsable(opened), `${moment}`).toEqual(Exit.isSuccess(exit) ? ["a", "b"] : [])
      }
    }).pipe(Effect.scoped),
  )

  it.live("leaves no commit that a later sync does not cover", () =>
    Effect.gen(function* () {
      const opened = yield* open()
      const { control, database, sql } = opened
      for (const moment of moments) {
        yield* database.durable
        const fiber = yield* Effect.forkChild(Effect.andThen(spin(moment), sql`INSERT INTO t VALUES (1)`), {
          startImmediately: true,
        })
        yield* Fiber.interrupt(fiber)
        const isStored = (yield* values(opened)).length > 0
        expect(control.exposure.isExposed(), `${moment}`).toBe(isStored)
        yield* sql`DELETE FROM t`
      }
    }).pipe(Effect.scoped),
  )

  it.live("leaves no wait behind that another would be refused for", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* open(), yield* open()]
      for (const moment of moments) {
        const waits = one.sql.withTransaction(Effect.andThen(spin(moment), other.sql`SELECT 1`))
        const fiber = yield* Effect.forkChild(waits, { startImmediately: true })
        yield* Fiber.interrupt(fiber)
      }
      yield* other.sql.withTransaction(one.sql`SELECT 1`)
      yield* one.sql.withTransaction(other.sql`SELECT 1`)
    }).pipe(Effect.scoped),
  )
})

describe("a batch", () => {
  it.live("is not stored twice when a statement that had to be compiled again rolls it back", () =>
    Effect.gen(function* () {
      const opened = yield* open()
      const { sql, writer } = opened
      const bad = "INSERT OR ROLLBACK INTO later VALUES (1)"
      yield* Effect.exit(writer.execute(bad)) // the driver remembers that it did not compile
      yield* sql`CREATE TABLE later (v UNIQUE)`
      yield* sql`INSERT INTO later VALUES (1)`
      const exits = yield* Effect.forEach(
        [1, 2, 3, 4],
        (n) => Effect.exit(n === 2 ? writer.execute(bad) : writer.execute("INSERT INTO t VALUES (?)", [n])),
        { concurrency: "unbounded" },
      )
      expect(exits.map(Exit.isSuccess)).toEqual([true, false, true, true])
      expect(yield* isUsable(opened)).toEqual([1, 3, 4])
    }).pipe(Effect.scoped),
  )

  it.live("does not wait for what its own callers wait for: callbacks, and fibers that a part has forked", () =>
    Effect.gen(function* () {
      const opened = yield* open()
      const { sql, writer } = opened
      const write = Effect.ignore(writer.execute("INSERT INTO t VALUES ('after')"))
      yield* writer.transaction(Effect.andThen(sql.afterCommit(write), sql`INSERT INTO t VALUES (1)`))
      expect(yield* isUsable(opened)).toEqual([1, "after"])
      const forks = Effect.forkChild(
        Effect.ensuring(Effect.never, Effect.ignore(sql`INSERT INTO t VALUES ('child')`)),
        {
          startImmediately: true,
        },
      )
      yield* writer.transaction(Effect.andThen(sql`INSERT INTO t VALUES (2)`, forks))
      expect(yield* isUsable(opened)).toEqual([2, "child"])
    }).pipe(Effect.scoped),
  )

  it.live("runs a part of a fiber that was forked in a transaction which has ended", () =>
    Effect.gen(function* () {
      const opened = yield* open()
      const { sql, writer } = opened
      const nested = sql.withTransaction(
        Effect.andThen(Effect.sleep("20 millis"), sql`INSERT INTO t VALUES ('nested')`),
      )
      const part = Effect.andThen(
        Effect.sleep("10 millis"),
        writer.transaction(sql.withTransaction(sql`INSERT INTO t VALUES ('part')`)),
      )
      const fork = (self: Effect.Effect<unknown, unknown>) => Effect.forkDetach(self, { startImmediately: true })
      const late = yield* sql.withTransaction(
        Effect.tap(Effect.all([fork(nested), fork(part)]), Effect.sleep("2 millis")),
      )
      expect((yield* Effect.forEach(late, Fiber.await)).map((exit) => exit._tag)).toEqual(["Failure", "Success"])
      yield* isUsable(opened)
    }).pipe(Effect.scoped),
  )

  it.live("waits for the lock of another connection once, however many callers it has", () =>
    Effect.gen(function* () {
      const opened = yield* open()
      const { database, writer } = opened
      const other = yield* Layer.build(Database.layer({ filename: database.filename, durability: "normal" }))
      const theirs = Context.get(other, SqlClient.SqlClient)
      // The culprit takes the batch with it; by the time that the others run again, the other connection has the lock.
      const culprit = writer.transaction(
        Effect.gen(function* () {
          yield* Effect.ignore(rollsBack(opened))
          yield* Effect.forkDetach(theirs.withTransaction(Effect.sleep("300 millis")), { startImmediately: true })
        }),
      )
      const writes = Array.from({ length: 200 }, (_, n) => writer.execute("INSERT INTO t VALUES (?)", [n]))
      const exits = yield* Effect.forEach(
        [culprit, ...writes],
        (self) => Effect.exit(self as Effect.Effect<unknown, unknown>),
        { concurrency: "unbounded" },
      )
      const reasons = new Set(exits.map((exit) => (Exit.isFailure(exit) ? "failed" : "stored")))
      expect([...reasons]).toEqual(["failed"])
      yield* Effect.sleep("300 millis")
      expect(yield* isUsable(opened)).toEqual([])
    }).pipe(Effect.scoped),
  )
})

describe("a parameter that cannot be read", () => {
  it.live("is a typed failure, and nothing waits for it", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* open(), yield* open()]
      const throwing = {
        get v(): never {
          throw new RangeError("not now")
        },
      }
      const round: Record<string, unknown> = {}
      round["v"] = round
      for (const param of [throwing, round]) {
        const error = yield* Effect.flip(
          other.sql.withTransaction(one.writer.execute("INSERT INTO t VALUES (:v)", [param])),
        )
        expect(SqlError.isSqlError(error)).toBe(true)
      }
      yield* one.sql.withTransaction(other.sql`SELECT 1`)
      yield* isUsable(one)
    }).pipe(Effect.scoped),
  )
})

describe("a fiber that was forked in a transaction", () => {
  it.live("is not taken for it when it waits after its end", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* open(), yield* open()]
      const long = yield* Effect.forkChild(
        other.sql.withTransaction(Effect.andThen(Effect.sleep("40 millis"), one.sql`INSERT INTO t VALUES (1)`)),
        { startImmediately: true },
      )
      const audit = yield* one.sql.withTransaction(
        Effect.forkDetach(other.sql`INSERT INTO t VALUES ('audit')`, { startImmediately: true }),
      )
      yield* Fiber.joinAll([long, audit])
      expect([yield* isUsable(one), yield* isUsable(other)]).toEqual([[1], ["audit"]])
    }).pipe(Effect.scoped),
  )

  it.live("that begins the next, and so on, grows nothing", () =>
    Effect.gen(function* () {
      const { sql } = yield* open()
      const depth = Effect.map(Effect.service(Transactions), ({ length }) => length)
      let deepest = 0
      const step = (n: number): Effect.Effect<unknown, unknown> =>
        sql.withTransaction(
          Effect.tap(
            n === 0 ? Effect.void : Effect.forkDetach(step(n - 1)),
            Effect.map(depth, (found) => {
              deepest = Math.max(deepest, found)
            }),
          ),
        )
      yield* step(100)
      yield* Effect.sleep("50 millis")
      expect(deepest).toBe(1)
    }).pipe(Effect.scoped),
  )
})
