import { describe, expect, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Option, Result, Stream } from "effect"
import { Reactivity } from "effect/reactivity"
import { TestClock } from "effect/testing"
import { SqlClient, SqlError } from "effect/sql"
import { messageOf, reasonOf } from "../../src/sqlite/NativeError.ts"
import { Unsynced } from "../../src/sqlite/ConnectionPermit.ts"
import * as SafeClient from "../../src/sqlite/SafeClient.ts"
import { insideTransaction } from "../../src/sqlite/SafeTransactions.ts"
import * as Database from "../../src/sqlite/Database.ts"
import { DatabaseControl } from "../../src/sqlite/DatabaseControl.ts"
import { StatementRefused } from "../../src/sqlite/StatementRefused.ts"
import { Writer } from "../../src/sql/Writer.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"

const table = SqlClient.SqlClient.use((sql) => sql`CREATE TABLE t (a INTEGER PRIMARY KEY)`)
const rows = SqlClient.SqlClient.use((sql) =>
  Effect.map(sql.unsafe("SELECT a FROM t ORDER BY a").values, (all) => all.flat()),
)
const insert = (a: number) => SqlClient.SqlClient.use((sql) => sql.unsafe("INSERT INTO t (a) VALUES (?)", [a]))

const onDatabase = <A, E>(self: Effect.Effect<A, E, SqlClient.SqlClient | Writer>) =>
  Effect.andThen(table, self).pipe(Effect.provide(TemporaryDatabase.layer({ durability: "normal" })))

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
        expect(Result.isFailure(failed) && reasonOf(failed.failure)).toBe("Constraint")
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
        expect(Result.isFailure(failed) && reasonOf(failed.failure)).toBe("Constraint")
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

  it.effect("that has ended runs what still comes of it by itself, and never in the transaction of another", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const ended = yield* Deferred.make<void>()
        const [late, wasInside] = yield* Effect.gen(function* () {
          const fiber = yield* Deferred.await(ended).pipe(
            Effect.andThen(
              Effect.all([insert(7), insideTransaction(sql), Effect.exit(sql.withTransaction(insert(8)))]),
            ),
            Effect.forkDetach,
          )
          return [fiber, yield* insideTransaction(sql)] as const
        }).pipe(sql.withTransaction)
        const rolledBack = yield* Deferred.succeed(ended, undefined).pipe(
          Effect.andThen(insert(1)),
          Effect.andThen(Effect.yieldNow),
          Effect.andThen(Effect.fail("roll back")),
          sql.withTransaction,
          Effect.exit,
        )
        const [, isInside, nested] = yield* Fiber.join(late)
        expect([wasInside, isInside, nested._tag, rolledBack._tag]).toEqual([true, false, "Success", "Failure"])
        expect(yield* rows).toEqual([7, 8])
      }),
    ),
  )

  it.effect("lets a finalizer of its scope, and a connection that was reserved, write when it is over", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* Effect.scoped(
          sql.withTransaction(Effect.acquireRelease(insert(1), () => Effect.orDie(sql`DELETE FROM t`))),
        )
        expect(yield* rows).toEqual([])
        const left = yield* Effect.scoped(sql.reserve)
        yield* left.execute("INSERT INTO t VALUES (2)", [], undefined)
        expect(yield* rows).toEqual([2])
      }),
    ),
  )
})

/** Ways in which SQLite ends a transaction by itself; each fails with a reason of its own. */
const endings = {
  "OR ROLLBACK": ["Constraint", "INSERT OR ROLLBACK INTO t (a) VALUES (0)"],
  "RAISE(ROLLBACK)": ["Constraint", "INSERT INTO guarded VALUES (1)"],
  "a full disk": ["Full", "INSERT INTO t (a, b) VALUES (99, zeroblob(10000000))"],
} as const
const canEnd = SqlClient.SqlClient.use((sql) =>
  Effect.gen(function* () {
    yield* sql`ALTER TABLE t ADD COLUMN b`
    yield* sql`CREATE TABLE guarded (a)`
    yield* sql`CREATE TRIGGER g BEFORE INSERT ON guarded BEGIN SELECT RAISE(ROLLBACK, 'not here'); END`
    yield* sql`PRAGMA max_page_count = 50`
    yield* insert(0)
  }),
)

describe.each(Object.entries(endings))("a transaction that SQLite ends by itself: %s", (_, [reason, text]) => {
  const ends = SqlClient.SqlClient.use((sql) => sql.unsafe(text))
  const endOf = <A, E>(exit: Exit.Exit<A, E>) =>
    Exit.isFailure(exit)
      ? exit.cause.reasons.map((it) => (Cause.isFailReason(it) ? reasonOf(it.error) : it._tag))
      : exit._tag

  it.effect("runs nothing more of it, and fails with SQLite's own error", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* canEnd
        const seen: Array<unknown> = []
        const swallowed = Effect.gen(function* () {
          yield* insert(1)
          yield* Effect.ignore(ends)
          seen.push(endOf(yield* Effect.exit(insert(2))), endOf(yield* Effect.exit(sql`SELECT 1`)))
          seen.push(endOf(yield* Effect.exit(sql.withTransaction(insert(3)))))
        })
        expect(endOf(yield* Effect.exit(sql.withTransaction(swallowed)))).toEqual([reason])
        expect(seen).toEqual([[reason], [reason], [reason]])
        expect(yield* rows).toEqual([0])
        yield* sql.withTransaction(insert(4))
        expect(yield* rows).toEqual([0, 4])
      }),
    ),
  )

  it.effect("keeps the first cause, nested, whatever it is", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* canEnd
        const nested = <A, E, R>(self: Effect.Effect<A, E, R>) =>
          self.pipe(sql.withTransaction, sql.withTransaction, sql.withTransaction, Effect.exit)
        expect(endOf(yield* nested(ends))).toEqual([reason])
        const swallowed = Effect.andThen(insert(1), Effect.ignore(ends))
        expect(endOf(yield* nested(swallowed))).toEqual([reason])
        const bug = new Error("bug")
        expect(yield* nested(Effect.andThen(swallowed, Effect.fail({ _tag: "NotAllowed" })))).toEqual(
          Exit.fail({ _tag: "NotAllowed" }),
        )
        expect(yield* nested(Effect.andThen(swallowed, Effect.die(bug)))).toEqual(Exit.die(bug))
        const inside = yield* Deferred.make<void>()
        const interrupted = yield* Effect.forkChild(
          nested(Effect.andThen(swallowed, Effect.andThen(Deferred.succeed(inside, undefined), Effect.never))),
        )
        yield* Deferred.await(inside)
        yield* Fiber.interrupt(interrupted)
        expect(Exit.hasInterrupts(yield* Fiber.await(interrupted))).toBe(true)
        expect(yield* rows).toEqual([0])
      }),
    ),
  )

  it.effect("on a reserved connection is its holder's to notice, as with the driver", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* canEnd
        yield* Effect.scoped(
          Effect.gen(function* () {
            const connection = yield* sql.reserve
            const say = (statement: string) => connection.execute(statement, [], undefined)
            const inside = Effect.provideService(sql.transactionService, [connection, 0] as const)
            yield* say("BEGIN")
            expect(endOf(yield* Effect.exit(inside(Effect.andThen(insert(1), ends))))).toEqual([reason])
            yield* say("INSERT INTO t (a) VALUES (5)") // by itself
            expect(messageOf(yield* Effect.flip(say("COMMIT")))).toContain("no transaction is active")
          }),
        )
        expect(yield* rows).toEqual([0, 5])
      }),
    ),
  )
})

describe("transaction control", () => {
  const control = [
    "BEGIN",
    ";begin immediate",
    "COMMIT",
    "/**/END",
    "ROLLBACK",
    "SAVEPOINT a",
    "RELEASE a",
    "ROLLBACK TO a",
  ]
  const refusals = <E, R>(self: Effect.Effect<unknown, E, R>) =>
    Effect.map(Effect.flip(self), (error) =>
      SqlError.isSqlError(error) && error.reason.cause instanceof StatementRefused ? error.message : String(error),
    )

  it.effect("of a caller is refused on the shared connection and inside a transaction, and changes nothing", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        for (const text of control) {
          for (const form of [
            sql.unsafe(text),
            sql.unsafe(text).unprepared,
            sql.unsafe(text).values,
            sql.unsafe(text).raw,
          ]) {
            expect(yield* refusals(form)).toMatch(
              /was not run: .*sql\.withTransaction or Writer\.transaction.*sql\.reserve/,
            )
            const inside = sql.withTransaction(Effect.andThen(insert(1), form))
            expect(yield* refusals(inside)).toMatch(/was not run: the client begins, commits and rolls back/)
          }
        }
        expect(yield* rows).toEqual([])
        yield* insert(1)
        expect(yield* rows).toEqual([1])
      }),
    ),
  )

  it.effect("works on a reserved connection, which a failed COMMIT leaves as SQLite does", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE child (a INTEGER REFERENCES t (a) DEFERRABLE INITIALLY DEFERRED)`
        yield* sql`PRAGMA foreign_keys = ON`
        yield* Effect.scoped(
          Effect.gen(function* () {
            const connection = { ...(yield* sql.reserve) } // a wrapper spreads it
            expect(Object.keys(connection)).toContain("executeStream")
            const say = (text: string) => connection.executeUnprepared(text, [], undefined)
            yield* say("BEGIN")
            yield* say("INSERT INTO child VALUES (7)")
            expect(reasonOf(yield* Effect.flip(say("COMMIT")))).toBe("Constraint")
            yield* say("INSERT INTO t (a) VALUES (7)")
            yield* say("COMMIT;")
            yield* say("SAVEPOINT a")
            yield* say("INSERT INTO t (a) VALUES (8)")
            yield* say("ROLLBACK TO a")
            yield* say("RELEASE a")
            expect(messageOf(yield* Effect.flip(say("ROLLBACK")))).toContain("no transaction is active")
          }),
        )
        expect(yield* rows).toEqual([7])
      }),
    ),
  )

  for (const open of ["BEGIN", "SAVEPOINT a"]) {
    it.effect(`that leaves a ${open} behind on a reserved connection is rolled back, and told`, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* table
        const reserved = Effect.flatMap(sql.reserve, (connection) =>
          Effect.andThen(
            connection.executeUnprepared(open, [], undefined),
            connection.executeUnprepared("INSERT INTO t (a) VALUES (1)", [], undefined),
          ),
        )
        yield* Effect.withSpan(Effect.scoped(reserved), "Reports.write")
        const lines = yield* LogCapture.logged("transaction left open")
        expect(lines.map(({ fields, level }) => [level, fields["transaction"]])).toEqual([["Error", "Reports.write"]])
        yield* insert(2)
        expect(yield* rows).toEqual([2])
      }).pipe(Effect.provide(Layer.provideMerge(TemporaryDatabase.layer(), LogCapture.layer))),
    )
  }

  it.effect("of another kind of BEGIN is for the transaction that asks for it", () =>
    onDatabase(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const begin = (text: string) => Effect.provideService(SqlClient.BeginTransaction, text)
        yield* begin("BEGIN DEFERRED")(sql.withTransaction(insert(1)))
        expect(String(yield* Effect.flip(begin("COMMIT")(sql.withTransaction(insert(2)))))).toContain(
          "cannot begin with",
        )
        yield* insert(3)
        expect(yield* rows).toEqual([1, 3])
      }),
    ),
  )
})

describe("a PRAGMA that the database relies on", () => {
  const set = (text: string) => SqlClient.SqlClient.use((sql) => Effect.exit(sql.unsafe(text)))
  const voids = [
    "PRAGMA synchronous = OFF",
    "pragma main.synchronous=0",
    'PRAGMA/**/"synchronous"(off)',
    "EXPLAIN PRAGMA synchronous = OFF",
    "explain query plan pragma [synchronous] = 0",
    "PRAGMA synchronous = EXTRA",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA `main` . 'journal_mode' = 'off'",
    "PRAGMA locking_mode = exclusive",
    "PRAGMA journal_size_limit = -1",
  ]

  for (const durability of ["durable", "full", "normal"] as const) {
    it.effect(`is not set at ${durability}, however it is spelt, and asking is allowed`, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        for (const text of voids) {
          expect((yield* set(text))._tag, `${text}`).toBe("Failure")
          expect((yield* Effect.exit(sql.withTransaction(sql.unsafe(text))))._tag, `${text}`).toBe("Failure")
          const reserved = Effect.flatMap(sql.reserve, (it) => it.executeUnprepared(text, [], undefined))
          expect((yield* Effect.exit(Effect.scoped(reserved)))._tag, `${text}`).toBe("Failure")
        }
        const ask = (name: string) => Effect.map(sql.unsafe(`PRAGMA ${name}`).values, ([row]) => row?.[0])
        expect([yield* ask("synchronous"), yield* ask("journal_mode"), yield* ask("locking_mode")]).toEqual([
          durability === "normal" ? 1 : 2,
          "wal",
          "normal",
        ])
        yield* sql`PRAGMA journal_mode = WAL` // as ported code does
        yield* sql.unsafe(`PRAGMA synchronous = ${durability === "normal" ? "NORMAL" : "FULL"}`)
        yield* sql`PRAGMA foreign_keys = ON`
      }).pipe(Effect.provide(TemporaryDatabase.layer({ durability }))),
    )
  }

  it.effect("is the guard's while it checkpoints: wal_autocheckpoint", () =>
    Effect.gen(function* () {
      const { autocheckpoint } = yield* DatabaseControl
      const text = "PRAGMA wal_autocheckpoint = 500"
      expect((yield* set(text))._tag).toBe("Success")
      const found = yield* autocheckpoint(0)
      expect(String(yield* Effect.flip(SqlClient.SqlClient.use((sql) => sql.unsafe(text))))).toContain(
        "a guard checkpoints",
      )
      yield* autocheckpoint(found)
      expect([found, (yield* set(text))._tag]).toEqual([500, "Success"])
    }).pipe(Effect.provide(TemporaryDatabase.layer())),
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
        expect(results.map((it) => Result.isFailure(it) && it.failure.reason.operation)).toEqual([
          "prepare",
          "prepare",
          "prepare",
        ])
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
      const said: Array<string> = []
      let isBroken = true
      const execute = (text: string) =>
        Effect.suspend(() => {
          said.push(text)
          return isBroken && text.startsWith("PRAGMA") ? Effect.fail(broken) : Effect.succeed([])
        })
      const broken = new SqlError.SqlError({ reason: new SqlError.UnknownError({ cause: "broken" }) })
      const { sql } = yield* SafeClient.make(
        {
          execute,
          executeRaw: execute,
          executeValues: execute,
          executeUnprepared: execute,
          executeValuesUnprepared: execute,
          executeStream: () => Stream.fail(broken),
        },
        { everyCommitSyncs: true, isGuarded: () => false, committed: () => {}, refusal: () => undefined },
      )
      const unsynced = Effect.provideService(sql.withTransaction(sql`INSERT`), Unsynced, true)
      expect(yield* Effect.flip(unsynced)).toBe(broken)
      yield* sql`SELECT 1`
      isBroken = false
      yield* unsynced
      expect(said).toEqual([
        "PRAGMA synchronous = NORMAL",
        "SELECT 1",
        "PRAGMA synchronous = NORMAL",
        "BEGIN IMMEDIATE",
        "INSERT",
        "COMMIT",
      ])
    }).pipe(Effect.provide(Reactivity.layer)),
  )
})

describe("a ROLLBACK that fails", () => {
  it.effect("is an ERROR, and is tried again before the next caller has the connection", () =>
    Effect.gen(function* () {
      const said: Array<string> = []
      let isBroken = true
      const broken = new SqlError.SqlError({ reason: new SqlError.UnknownError({ cause: "broken" }) })
      const execute = (text: string) =>
        Effect.suspend(() => {
          said.push(text)
          return isBroken && text === "ROLLBACK" ? Effect.fail(broken) : Effect.succeed([])
        })
      const { sql } = yield* SafeClient.make(
        {
          execute,
          executeRaw: execute,
          executeValues: execute,
          executeUnprepared: execute,
          executeValuesUnprepared: execute,
          executeStream: () => Stream.fail(broken),
        },
        { everyCommitSyncs: false, isGuarded: () => false, committed: () => {}, refusal: () => undefined },
      )
      expect(yield* Effect.flip(sql.withTransaction(Effect.fail("mine")))).toBe("mine")
      expect((yield* LogCapture.logged("rollback failed")).map(({ level }) => level)).toEqual(["Error"])
      expect(yield* Effect.flip(sql`SELECT 1`)).toBe(broken)
      isBroken = false
      yield* sql`SELECT 2`
      expect(said).toEqual(["BEGIN IMMEDIATE", "ROLLBACK", "ROLLBACK", "ROLLBACK", "SELECT 2"])
    }).pipe(Effect.provide([Reactivity.layer, LogCapture.layer])),
  )
})

describe("the write gate", () => {
  const onGate = <A, E>(self: Effect.Effect<A, E, Database.Database | DatabaseControl | SqlClient.SqlClient>) =>
    Effect.andThen(table, self).pipe(Effect.provide(TemporaryDatabase.layer({ durability: "normal" })))

  it.effect("holds writers back for as long as the work takes", () =>
    onGate(
      Effect.gen(function* () {
        const { gate } = yield* DatabaseControl
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
        const { gate } = yield* DatabaseControl
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
        const { sql } = yield* Database.Database
        const { gate, holder } = yield* DatabaseControl
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
        const { sql } = yield* Database.Database
        const { gate } = yield* DatabaseControl
        const ends = yield* sql.withTransaction(
          Effect.all([gate(Effect.void), Effect.flatMap(Effect.forkChild(gate(Effect.void)), Fiber.join)]),
        )
        expect(ends).toEqual([{ _tag: "NotClosed" }, { _tag: "NotClosed" }])
        expect(yield* gate(Effect.succeed(7))).toEqual({ _tag: "Done", exit: Exit.succeed(7) })
      }),
    ),
  )

  it.effect("opens when the fiber that closed it is interrupted", () =>
    onGate(
      Effect.gen(function* () {
        const { gate } = yield* DatabaseControl
        const gated = yield* Effect.forkChild(gate(Effect.never), { startImmediately: true })
        yield* Fiber.interrupt(gated)
        yield* insert(1)
        expect(yield* rows).toEqual([1])
      }),
    ),
  )
})
