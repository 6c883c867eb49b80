/** What must hold on a server that many reach: one lock first, an epoch that is over, and a server that fails. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Option, Redacted, Result } from "effect"
import { SqlClient } from "effect/sql"
import * as Lease from "../../src/lease/Lease.ts"
import * as Leadership from "../../src/postgres/Leadership.ts"
import * as PostgresDatabase from "../../src/postgres/PostgresDatabase.ts"
import type { PostgresOptions } from "../../src/postgres/PostgresOptions.ts"
import * as SqlState from "../../src/postgres/SqlState.ts"
import { Writer } from "../../src/sql/Writer.ts"
import { WriterError } from "../../src/sql/WriterError.ts"
import { StateError } from "../../src/state/StateError.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import * as PostgresServer from "../support/PostgresServer.ts"
import * as sharedPostgres from "../support/sharedPostgres.ts"

/** The memory of a command: none of the lease. */
const memory = (options: PostgresOptions) => Layer.provideMerge(StateManager.layer(), PostgresDatabase.layer(options))

/** The memory of an engine that leads, whichever machine led before. */
const leading = (options: PostgresOptions) =>
  Layer.provideMerge(memory(options), Leadership.layer({ ...options, elected: true, standby: false }))

const build = <A, E, R>(layer: Layer.Layer<A, E, R>) => Layer.build(Layer.fresh(layer))

const failureOf = Effect.fnUntraced(function* <A, E, R>(self: Effect.Effect<A, E, R>) {
  const result = yield* Effect.result(self)
  return Option.getOrThrow(Result.getFailure(result))
})

const reasonOf = Effect.fnUntraced(function* <A, R>(self: Effect.Effect<A, StateError, R>) {
  return (yield* failureOf(self)).reason
})

describe.skipIf(PostgresServer.missing !== undefined)("a schema on a server", () => {
  it.live("is made by many that start at once", () =>
    Effect.gen(function* () {
      const options = yield* sharedPostgres.fresh
      const all = yield* Effect.forEach(
        Array.from({ length: 8 }, () => memory(options)),
        (layer) => Effect.exit(build(layer)),
        { concurrency: "unbounded" },
      )
      expect(all.map(Exit.isSuccess)).toEqual(Array.from({ length: 8 }, () => true))
    }).pipe(Effect.scoped),
  )

  it.live("loses none of 19 deposits that come at once, by three programs", () =>
    Effect.gen(function* () {
      const options = yield* sharedPostgres.fresh
      const programs = yield* Effect.forEach([1, 2, 3], () => build(memory(options)))
      const deposit = (n: number) =>
        Context.get(programs[n % 3]!, StateManager.StateManager).injectCapital({ amount: 1, sourceNote: `${n}` })
      yield* Effect.forEach(
        Array.from({ length: 19 }, (_, n) => n),
        deposit,
        { concurrency: "unbounded" },
      )
      const capital = yield* Context.get(programs[0]!, StateManager.StateManager).capital
      expect(capital).toMatchObject({ netBasisRlusd: 19, startingValue: Option.some("19") })
    }).pipe(Effect.scoped),
  )

  it.live("refuses every kind of write under an epoch that is over, and stores nothing of it", () =>
    Effect.gen(function* () {
      const options = yield* sharedPostgres.fresh
      const before = yield* build(leading(options))
      const old = Context.get(before, StateManager.StateManager)
      const sql = Context.get(before, SqlClient.SqlClient)
      yield* old.set("who", "the first")
      const after = yield* build(leading(options))
      expect([before, after].map((it) => Context.get(it, Lease.Lease).epoch)).toEqual([Option.some(1), Option.some(2)])

      expect(yield* reasonOf(old.set("who", "a ghost"))).toBe("Superseded")
      expect(yield* reasonOf(old.setMany({ who: "a ghost", what: "ticks" }))).toBe("Superseded")
      expect(yield* reasonOf(old.transaction("write", ({ set }) => set("who", "a ghost")))).toBe("Superseded")
      expect(yield* reasonOf(old.execute("write", "DELETE FROM engine_state", []))).toBe("Superseded")
      expect(yield* reasonOf(old.openSession({ parentSessionId: Option.none() }))).toBe("Superseded")
      for (const text of [
        "UPDATE engine_state SET value = 'a ghost'",
        "DELETE FROM engine_state",
        "TRUNCATE sessions",
      ]) {
        expect(SqlState.reasonOf(yield* failureOf(sql.unsafe(text)))).toBe("Superseded")
      }
      const now = Context.get(after, StateManager.StateManager)
      expect(yield* now.get("who")).toEqual(Option.some("the first"))
      expect(yield* now.get("what")).toEqual(Option.none())
      yield* now.set("who", "the second")
      expect(yield* now.get("who")).toEqual(Option.some("the second"))
    }).pipe(Effect.scoped),
  )

  it.live("takes what an old leader writes when its fence is taken out", () =>
    Effect.gen(function* () {
      const options = yield* sharedPostgres.fresh
      const before = yield* build(leading(options))
      const sql = Context.get(before, SqlClient.SqlClient)
      yield* sql`CREATE OR REPLACE FUNCTION seawall_fence() RETURNS BIGINT LANGUAGE sql AS 'SELECT CAST(0 AS BIGINT)'`
      const after = yield* build(leading(options))
      yield* Context.get(before, StateManager.StateManager).set("who", "a ghost")
      expect(yield* Context.get(after, StateManager.StateManager).get("who")).toEqual(Option.some("a ghost"))
    }).pipe(Effect.scoped),
  )

  it.live("is fenced in the tables of a program too, also in those that it makes without a word", () =>
    Effect.gen(function* () {
      const options = yield* sharedPostgres.fresh
      const first = yield* build(leading(options))
      const old = Context.get(first, StateManager.StateManager)
      yield* old.migrate("measures", {
        "0001_rooms": SqlClient.SqlClient.use((sql) => Effect.asVoid(sql`CREATE TABLE rooms (name TEXT NOT NULL)`)),
      })
      const write = old.execute("write", "INSERT INTO rooms VALUES ($1)", ["attic"])
      yield* write
      const second = yield* build(leading(options))
      expect(yield* reasonOf(write)).toBe("Superseded")
      expect(yield* Context.get(second, SqlClient.SqlClient)`SELECT name FROM rooms`).toEqual([{ name: "attic" }])
    }).pipe(Effect.scoped),
  )

  it.live("lets a command write between two writes of the engine", () =>
    Effect.gen(function* () {
      const options = yield* sharedPostgres.fresh
      const engine = Context.get(yield* build(leading(options)), StateManager.StateManager)
      const command = Context.get(yield* build(memory(options)), StateManager.StateManager)
      yield* command.injectCapital({ amount: 5, sourceNote: "bank" })
      yield* engine.set("engine_status", "RUNNING")
      expect(yield* engine.netBasisRlusd).toBe(5)
    }).pipe(Effect.scoped),
  )

  it.live("numbers the session of a lease with its epoch, and ends those before it", () =>
    Effect.gen(function* () {
      const options = yield* sharedPostgres.fresh
      const openIn = Effect.fnUntraced(function* () {
        const context = yield* build(leading(options))
        const { epoch } = Context.get(context, Lease.Lease)
        const state = Context.get(context, StateManager.StateManager)
        expect(yield* state.openSession({ parentSessionId: Option.none(), epoch })).toBe(Option.getOrThrow(epoch))
        return context
      })
      yield* openIn()
      const rows = Context.get(yield* openIn(), SqlClient.SqlClient)
      expect(
        yield* rows`SELECT session_id, halt_reason, ended_at IS NULL AS open FROM sessions ORDER BY session_id`,
      ).toEqual([
        { session_id: 1, halt_reason: "leadership_lost", open: false },
        { session_id: 2, halt_reason: null, open: true },
      ])
    }).pipe(Effect.scoped),
  )
})

describe.skipIf(PostgresServer.missing !== undefined)("a writer on a server", () => {
  const written = Effect.fnUntraced(function* () {
    const context = yield* build(PostgresDatabase.layer(yield* sharedPostgres.fresh))
    const sql = Context.get(context, SqlClient.SqlClient)
    yield* sql`CREATE TABLE parents (id INTEGER PRIMARY KEY)`
    yield* sql`CREATE TABLE children (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)`
    return { sql, writer: Context.get(context, Writer) }
  })

  it.live("tells of a COMMIT that fails", () =>
    Effect.gen(function* () {
      const { sql, writer } = yield* written()
      const error = yield* failureOf(writer.transaction(sql`INSERT INTO children VALUES (1)`))
      expect(SqlState.reasonOf(error)).toBe("Constraint")
      expect(SqlState.reasonOf(yield* failureOf(writer.execute("INSERT INTO children VALUES (1)")))).toBe("Constraint")
      yield* writer.execute("INSERT INTO parents VALUES ($1)", [1])
      expect(yield* sql`SELECT count(*) AS n FROM children`).toEqual([{ n: 0 }])
    }).pipe(Effect.scoped),
  )

  it.live("has no part for a fiber that outlives its transaction", () =>
    Effect.gen(function* () {
      const { sql, writer } = yield* written()
      const over = yield* Deferred.make<void>()
      const late = yield* writer.transaction(
        sql`INSERT INTO parents VALUES (1)`.pipe(
          Effect.andThen(Effect.forkDetach(Effect.andThen(Deferred.await(over), sql`INSERT INTO parents VALUES (2)`))),
        ),
      )
      yield* Deferred.succeed(over, undefined)
      expect(SqlState.reasonOf(yield* failureOf(Fiber.join(late)))).toBe("Unreachable")
      expect(yield* sql`SELECT count(*) AS n FROM parents`).toEqual([{ n: 1 }])
    }).pipe(Effect.scoped),
  )

  it.live("refuses what would wait for itself, and what would end the transaction of others", () =>
    Effect.gen(function* () {
      const { writer } = yield* written()
      const inside = writer.transaction(writer.execute("INSERT INTO parents VALUES (1)"))
      expect(yield* failureOf(inside)).toEqual(new WriterError({ reason: "InsideTransaction" }))
      for (const text of ["START TRANSACTION", "/* /* */ so */ COMMIT", "abort", "COMMIT PREPARED 'a'"]) {
        expect(yield* failureOf(writer.execute(text))).toEqual(new WriterError({ reason: "TransactionControl" }))
      }
    }).pipe(Effect.scoped),
  )
})

describe.skipIf(PostgresServer.missingOwn !== undefined)("a server that fails", () => {
  const lease = Duration.seconds(1)

  it.live("is a typed failure, also in a transaction, and is used again when it is back", () =>
    Effect.gen(function* () {
      const server = yield* PostgresServer.makeOwn()
      const context = yield* build(memory({ ...sharedPostgres.optionsOf(server.url()), lease }))
      const state = Context.get(context, StateManager.StateManager)
      const stopped = state.transaction("write", ({ set }) =>
        Effect.andThen(set("a", "1"), Effect.andThen(server.stop("immediate"), set("b", "2"))),
      )
      expect(yield* reasonOf(stopped)).toBe("Unreachable")
      expect(yield* reasonOf(state.set("a", "1"))).toBe("Unreachable")
      yield* server.start
      yield* Effect.retry(state.set("a", "3"), { times: 3 })
      expect(yield* state.get("b")).toEqual(Option.none())
    }).pipe(Effect.scoped),
  )

  it.live("that freezes holds no other for longer than the bound, and takes the lease with it", () =>
    Effect.gen(function* () {
      const server = yield* PostgresServer.makeOwn()
      const context = yield* build(leading({ ...sharedPostgres.optionsOf(server.url()), lease }))
      const state = Context.get(context, StateManager.StateManager)
      yield* server.freeze
      const [took, reason] = yield* Effect.timed(reasonOf(state.set("a", "1")))
      expect(reason).toBe("Unreachable")
      expect(Duration.toMillis(took)).toBeLessThan(2000)
      expect(yield* Context.get(context, Lease.Lease).lost).toContain("no answer within")
      yield* server.thaw
    }).pipe(Effect.scoped),
  )
})

describe.skipIf(PostgresServer.missingOwn !== undefined)("a start", () => {
  const password = "a-secret-of-ours"

  const refused = Effect.fnUntraced(function* (url: string, create = true) {
    const options = { url: Redacted.make(url), schema: sharedPostgres.newSchema(), lease: "1 second", create } as const
    const error = yield* failureOf(Effect.scoped(build(PostgresDatabase.layer(options))))
    const all = [String(error), JSON.stringify(error), String(error.cause), JSON.stringify(error.cause ?? "")].join()
    expect(all).not.toContain(password)
    return error
  })

  it.live("says what is wrong, without the secret of the URL", () =>
    Effect.gen(function* () {
      const server = yield* PostgresServer.makeOwn()
      const at = (database: string, role = "postgres") =>
        `postgres://${role}:${password}@127.0.0.1:${server.port}/${database}`
      expect(yield* refused(at("nowhere"))).toMatchObject({ reason: "DatabaseMissing" })
      expect(yield* refused(at("postgres", "nobody"))).toMatchObject({ reason: "Refused" })
      expect(yield* refused(at("postgres"), false)).toMatchObject({ reason: "EngineMissing" })
      expect(yield* refused(`http://${password}@host/db`)).toMatchObject({ reason: "Invalid" })
      expect(yield* refused(`${password} is no url`)).toMatchObject({ reason: "Invalid" })
      yield* server.stop()
      expect(yield* refused(at("postgres"))).toMatchObject({ reason: "Unreachable" })
    }).pipe(Effect.scoped),
  )

  it.live("is refused on a server that takes no writes, and for a role that may make no schema", () =>
    Effect.gen(function* () {
      const server = yield* PostgresServer.makeOwn()
      const admin = yield* build(PostgresDatabase.layer(sharedPostgres.optionsOf(server.url())))
      const sql = Context.get(admin, SqlClient.SqlClient)
      yield* sql`CREATE ROLE guest LOGIN`
      yield* sql`CREATE ROLE reader LOGIN`
      yield* sql`ALTER ROLE reader SET default_transaction_read_only = on`
      const as = (role: string) => ({
        url: Redacted.make(`postgres://${role}@127.0.0.1:${server.port}/postgres`),
        schema: sharedPostgres.newSchema(),
      })
      expect(yield* failureOf(Effect.scoped(build(PostgresDatabase.layer(as("guest")))))).toMatchObject({
        reason: "NoPermission",
      })
      expect(yield* failureOf(Effect.scoped(build(PostgresDatabase.layer(as("reader")))))).toMatchObject({
        reason: "ReadOnly",
      })
    }).pipe(Effect.scoped),
  )

  for (const [option, value] of [
    ["schema", "pg_mine"],
    ["schema", 'a"; DROP TABLE x'],
    ["lease", "10 millis"],
    ["lease", Number.NaN],
    ["maxConnections", 0],
    ["maxConnections", Number.NaN],
    ["durability", "maybe"],
  ] as const) {
    it.effect(`is refused with ${option} ${String(value)}, before it connects`, () =>
      Effect.gen(function* () {
        const options = { url: Redacted.make("postgres://127.0.0.1:1/db"), [option]: value } as PostgresOptions
        const error = yield* failureOf(Effect.scoped(build(PostgresDatabase.layer(options))))
        expect(error).toMatchObject({ reason: "Invalid" })
        expect(error.message).toContain(`expected ${option} to be`)
      }),
    )
  }
})
