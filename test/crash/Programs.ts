/**
 * Random programs against a model: plain statements, transactions nested in each other, parts of the writer's batches, and
 * reserved connections, of many fibers at once; they fail, die, are interrupted, swallow what SQLite rolls back, and try to
 * begin and end transactions by themselves, while a guard checkpoints.
 *
 * What was acknowledged is stored, what failed is absent, what was interrupted is there as a whole or not at all; the cause
 * that comes out is the first one; nothing is left open, and the connection is free at the end.
 */
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { Cause, Context, Effect, Exit, Fiber, Layer, Logger } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Database from "../../src/sqlite/Database.ts"
import type { Durability } from "../../src/sql/Durability.ts"
import { reasonOf } from "../../src/sqlite/NativeError.ts"
import { StatementRefused } from "../../src/sqlite/StatementRefused.ts"
import { Writer } from "../../src/sql/Writer.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import * as GuardedDatabase from "../../src/wal/GuardedDatabase.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import { randomOf } from "../support/random.ts"
import { nothing, plus, type Verdict } from "./database.ts"
import { inFolder } from "./Owned.ts"

/** Where checkpoints run, and who opened the connection. */
export type Variant = `${"thread" | "inline"} ${Durability}` | "adopted"

export const variants: ReadonlyArray<Variant> = [
  "thread durable",
  "thread full",
  "thread normal",
  "inline durable",
  "inline full",
  "inline normal",
  "adopted",
]

type End = "ok" | "mine" | "bug" | "interrupted"

type Item =
  | { readonly does: "insert" | "orphan"; readonly value: number }
  /** Fails by itself, and is swallowed. */
  | { readonly does: "duplicate" | "read" | "pause" }
  /** SQLite ends the transaction, and that is swallowed. */
  | { readonly does: "doom"; readonly text: string }
  /** Refused, and swallowed. */
  | { readonly does: "control"; readonly text: string }
  | { readonly does: "nested"; readonly body: Body; readonly isSwallowed: boolean }

interface Body {
  readonly items: ReadonlyArray<Item>
  readonly end: End
}

type Operation =
  | {
      readonly form: "statement" | "write"
      readonly value: number
      readonly text: string
      readonly cause: string | undefined
    }
  | { readonly form: "transaction" | "part"; readonly body: Body }
  | { readonly form: "reserved"; readonly values: ReadonlyArray<number>; readonly end: "COMMIT" | "ROLLBACK" | "left" }

type Random = (below: number) => number
const pick = <A>(random: Random, all: ReadonlyArray<A>): A => all[random(all.length)]!

const controls = [
  "BEGIN",
  ";BEGIN",
  "/* */COMMIT",
  "\uFEFFend",
  "ROLLBACK",
  "SAVEPOINT x",
  "RELEASE effect_sql_1",
  "ROLLBACK TO effect_sql_1",
]
const dooms = ["INSERT OR ROLLBACK INTO t VALUES (0)", "INSERT INTO guarded VALUES (1)"]

const bodyOf = (random: Random, next: () => number, depth: number, canEnd: boolean): Body => ({
  items: Array.from({ length: 1 + random(4) }, (): Item => {
    const kind = random(canEnd ? 14 : 11)
    if (kind < 5) return { does: "insert", value: next() }
    if (kind < 8) return { does: pick(random, ["duplicate", "read", "pause"] as const) }
    if (kind < 11 && depth > 0) {
      return { does: "nested", body: bodyOf(random, next, depth - 1, canEnd), isSwallowed: random(2) === 0 }
    }
    if (kind === 11) return { does: "control", text: pick(random, controls) }
    if (kind === 12 && random(3) === 0) return { does: "doom", text: pick(random, dooms) }
    if (kind === 13 && random(4) === 0) return { does: "orphan", value: next() }
    return { does: "insert", value: next() }
  }),
  end: pick(random, ["ok", "ok", "ok", "ok", "ok", "mine", "bug", "interrupted"] as const),
})

const operationOf = (random: Random, next: () => number, isAdopted: boolean): Operation => {
  if (isAdopted) return { form: "transaction", body: bodyOf(random, next, 2, false) }
  switch (random(10)) {
    case 0:
      return {
        form: pick(random, ["statement", "write"] as const),
        value: next(),
        text: pick(random, dooms),
        cause: "Constraint",
      }
    case 1:
      return {
        form: pick(random, ["statement", "write"] as const),
        value: next(),
        text: pick(random, controls),
        cause: "refused",
      }
    case 2:
    case 3:
      return { form: pick(random, ["statement", "write"] as const), value: next(), text: "", cause: undefined }
    case 4:
      return {
        form: "reserved",
        values: Array.from({ length: 1 + random(3) }, next),
        end: pick(random, ["COMMIT", "COMMIT", "ROLLBACK", "left"] as const),
      }
    default:
      return { form: pick(random, ["transaction", "part"] as const), body: bodyOf(random, next, 2, true) }
  }
}

/** What a body comes to: the values that it leaves, or the cause with which it fails. */
type Outcome = { readonly values: ReadonlyArray<number> } | { readonly cause: string }

const outcomeOf = (body: Body, doomed: { is: boolean }): Outcome => {
  const values: Array<number> = []
  for (const item of body.items) {
    switch (item.does) {
      case "insert":
      case "orphan":
        if (doomed.is) return { cause: "Constraint" }
        values.push(item.does === "orphan" ? -item.value : item.value)
        break
      case "doom":
        doomed.is = true
        break
      case "nested": {
        const nested: Outcome = doomed.is ? { cause: "Constraint" } : outcomeOf(item.body, doomed)
        if ("values" in nested) values.push(...nested.values)
        else if (!item.isSwallowed || nested.cause === "interrupted") return nested
        break
      }
    }
  }
  if (body.end !== "ok") return { cause: body.end }
  return doomed.is ? { cause: "Constraint" } : { values }
}

const expected = (operation: Operation): Outcome => {
  switch (operation.form) {
    case "statement":
    case "write":
      return operation.cause === undefined ? { values: [operation.value] } : { cause: operation.cause }
    case "reserved":
      return { values: operation.end === "COMMIT" ? operation.values : [] }
    default: {
      const outcome = outcomeOf(operation.body, { is: false })
      const isOrphan = "values" in outcome && outcome.values.some((value) => value < 0)
      return isOrphan ? { cause: "Constraint" } : outcome
    }
  }
}

const causeOf = (cause: Cause.Cause<unknown>): string => {
  if (Cause.hasInterruptsOnly(cause)) return "interrupted"
  const error = Cause.squash(cause)
  if (typeof error === "string") return error
  return SqlError.isSqlError(error) && error.reason.cause instanceof StatementRefused
    ? "refused"
    : error instanceof Error && "reason" in error && error.reason === "TransactionControl"
      ? "refused"
      : reasonOf(error)
}

const insert = "INSERT INTO t VALUES (?)"

/** The operation as an effect; `counted` is called at each of its steps. */
const effectOf = (
  operation: Operation,
  sql: SqlClient.SqlClient,
  writer: Writer["Service"] | undefined,
  counted: () => void,
) => {
  const say = (text: string, params: ReadonlyArray<unknown> = []) =>
    Effect.suspend(() => {
      counted()
      return sql.unsafe(text, params)
    })
  const run = (body: Body): Effect.Effect<unknown, unknown> =>
    Effect.gen(function* () {
      for (const item of body.items) {
        switch (item.does) {
          case "insert":
            yield* say(insert, [item.value])
            break
          case "orphan":
            yield* say("INSERT INTO child VALUES (?)", [-item.value])
            break
          case "duplicate":
            yield* Effect.ignore(say(insert, [0]))
            break
          case "read":
            yield* Effect.ignore(say("SELECT count(*) FROM t"))
            break
          case "pause":
            yield* Effect.yieldNow
            break
          case "doom":
          case "control":
            yield* Effect.ignore(say(item.text))
            break
          case "nested":
            yield* item.isSwallowed
              ? Effect.catchCauseIf(
                  sql.withTransaction(run(item.body)),
                  (cause) => !Cause.hasInterrupts(cause),
                  () => Effect.void,
                )
              : sql.withTransaction(run(item.body))
        }
      }
      if (body.end === "mine") return yield* Effect.fail("mine")
      if (body.end === "bug") return yield* Effect.die("bug")
      if (body.end === "interrupted") return yield* Effect.interrupt
      return undefined
    })
  switch (operation.form) {
    case "statement":
      return operation.text === "" ? say(insert, [operation.value]) : say(operation.text)
    case "write":
      return operation.text === "" ? writer!.execute(insert, [operation.value]) : writer!.execute(operation.text)
    case "transaction":
      return sql.withTransaction(run(operation.body))
    case "part":
      return writer!.transaction(run(operation.body))
    case "reserved":
      return Effect.scoped(
        Effect.gen(function* () {
          const connection = yield* sql.reserve
          yield* connection.execute("BEGIN", [], undefined)
          for (const value of operation.values) {
            counted()
            yield* connection.execute(insert, [value], undefined)
            yield* Effect.yieldNow
          }
          if (operation.end !== "left") yield* connection.execute(operation.end, [], undefined)
        }),
      )
  }
}

interface Told {
  readonly operation: Operation
  readonly exit: Exit.Exit<unknown, unknown>
}

const layerOf = (variant: Variant, file: string): Layer.Layer<SqlClient.SqlClient, unknown> => {
  const quiet = Logger.layer([])
  if (variant === "adopted") {
    return WalGuard.layer({ interval: "20 millis" }).pipe(
      Layer.provideMerge(Checkpointer.layerInline()),
      Layer.provideMerge(Database.layerClient()),
      Layer.provideMerge(SqliteClient.layer({ filename: file })),
      Layer.provideMerge(quiet),
    )
  }
  const [checkpoints, durability] = variant.split(" ") as ["thread" | "inline", Durability]
  return GuardedDatabase.layer({ filename: file, checkpoints, durability, interval: "20 millis", maxFrames: 200 }).pipe(
    Layer.provideMerge(quiet),
  )
}

const create = (file: string) => {
  const database = new DatabaseSync(file)
  database.exec(`PRAGMA journal_mode = WAL;
    CREATE TABLE t (a INTEGER PRIMARY KEY);
    CREATE TABLE child (t INTEGER REFERENCES t (a) DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE guarded (a);
    CREATE TRIGGER g BEFORE INSERT ON guarded BEGIN SELECT RAISE(ROLLBACK, 'not here'); END;
    INSERT INTO t VALUES (0)`)
  database.close()
}

/** So long a program of some thousand steps never takes, unless something waits for good. */
const patience = "120 seconds"

/** One program of so many steps on one database. */
export const program = (variant: Variant, seed: number, steps: number): Promise<Verdict> =>
  inFolder(async (folder) => {
    const file = path.join(folder, "test.db")
    create(file)
    const random = randomOf(seed)
    const how = `programs, ${variant}, --seed ${seed}`
    const told: Array<Told> = []
    const count = { steps: 0 }
    let value = 1
    const isAdopted = variant === "adopted"
    const main = Effect.gen(function* () {
      const context = yield* Effect.context<SqlClient.SqlClient>()
      const sql = Context.get(context, SqlClient.SqlClient)
      const writer = isAdopted ? undefined : Context.getUnsafe(context, Writer)
      const counted = () => void (count.steps += 1)
      const caller = Effect.gen(function* () {
        while (count.steps < steps) {
          counted()
          const operation = operationOf(random, () => value++, isAdopted)
          const fiber = yield* Effect.forkChild(
            effectOf(operation, sql, writer, counted) as Effect.Effect<unknown, unknown>,
          )
          if (random(5) === 0) {
            for (let turns = random(6); turns > 0; turns--) yield* Effect.yieldNow
            yield* Fiber.interrupt(fiber)
          }
          told.push({ operation, exit: yield* Fiber.await(fiber) })
        }
      })
      // The driver's own client lets a statement into the transaction of another fiber: one caller alone.
      yield* Effect.all(
        Array.from({ length: isAdopted ? 1 : 8 }, () => caller),
        { concurrency: "unbounded" },
      )
      yield* Effect.scoped(
        Effect.flatMap(sql.reserve, (connection) =>
          Effect.andThen(
            connection.execute("BEGIN IMMEDIATE", [], undefined),
            connection.execute("ROLLBACK", [], undefined),
          ),
        ),
      )
    })
    const end = await Effect.runPromiseExit(
      main.pipe(Effect.provide(layerOf(variant, file)), Effect.timeout(patience)) as Effect.Effect<void, unknown>,
    )
    const failures = Exit.isFailure(end) ? [`${String(Cause.squash(end.cause))}: ${how}`] : []
    const database = new DatabaseSync(file)
    const present = new Set(
      database
        .prepare("SELECT a FROM t")
        .all()
        .map((row) => Number(row["a"])),
    )
    const orphans = Number(database.prepare("SELECT count(*) AS n FROM child").get()?.["n"])
    const integrity = String(database.prepare("PRAGMA integrity_check").get()?.["integrity_check"])
    database.close()
    let verdict: Verdict = {
      ...nothing,
      runs: 1,
      states: 1,
      corrupt: integrity === "ok" && orphans === 0 ? 0 : 1,
      failures,
    }
    if (verdict.corrupt > 0)
      verdict = { ...verdict, failures: [...verdict.failures, `${integrity}, ${orphans} orphans: ${how}`] }
    for (const { exit, operation } of told) {
      const outcome = expected(operation)
      const values = "values" in outcome ? outcome.values : valuesIn(operation)
      const found = values.filter((it) => present.has(it)).length
      const was = Exit.isSuccess(exit) ? "ok" : causeOf(exit.cause)
      const wanted = "values" in outcome ? "ok" : outcome.cause
      const isRight =
        was === "interrupted" && wanted !== "interrupted"
          ? found === 0 || ("values" in outcome && found === values.length)
          : was === wanted && found === (wanted === "ok" ? values.length : 0)
      if (Exit.isSuccess(exit)) verdict = { ...verdict, checked: verdict.checked + values.length }
      if (isRight) continue
      const what = `${JSON.stringify(operation)} was ${was} with ${found} of ${values.length}, expected ${wanted}: ${how}`
      verdict = { ...verdict, lost: verdict.lost + 1, failures: [...verdict.failures, what] }
    }
    return { ...verdict, hung: Exit.isFailure(end) ? 1 : 0 }
  })

const valuesIn = (operation: Operation): ReadonlyArray<number> => {
  const inside = ({ items }: Body): ReadonlyArray<number> =>
    items.flatMap((item) => (item.does === "insert" ? [item.value] : item.does === "nested" ? inside(item.body) : []))
  if ("body" in operation) return inside(operation.body)
  return "values" in operation ? operation.values : [operation.value]
}

/** So many steps over all variants, in programs of some thousand each. */
export const programs = async (steps: number, seed: number): Promise<Verdict> => {
  const each = 2000
  let all = nothing
  for (let n = 0; n * each < steps && all.failures.length === 0; n++) {
    all = plus(all, await program(variants[n % variants.length]!, seed + n, Math.min(each, steps - n * each)))
  }
  return all
}
