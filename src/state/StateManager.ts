/**
 * What an engine remembers: its state keys, its sessions, its capital; and the way in which a program stores tables of its own.
 *
 * One method per intent, each one transaction, so that another store can take its place: callers see no SQL, but for a
 * program in its own tables (`migrate`, `transaction`).
 * The layer brings the schema up to date and starts nothing: no fiber, no checkpoint. Everything it writes goes through
 * the `Writer`, and has returned when it is as durable as the `Database` promises; so inside a transaction of the
 * `SqlClient` it can read only.
 */
import { Array as Arr, Context, Effect, Layer, Option, Schema } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { ofSeawall } from "../sqlite/DatabaseName.ts"
import { type Row, Writer } from "../sql/Writer.ts"
import * as CapitalIntents from "./CapitalIntents.ts"
import { engineMigrations, engineTables } from "./engineMigrations.ts"
import { type Migrations, runEngine, runProgram } from "./Migrations.ts"
import type { OwnTable } from "./OwnTables.ts"
import * as SessionIntents from "./SessionIntents.ts"
import { ownOrStateError, stateError, type StateError, type StoreFailure } from "./StateError.ts"

export type { Migrations, OwnTable, Row, StoreFailure }
export type { CapitalWithdrawal } from "./CapitalIntents.ts"
export { SessionRow } from "./SessionIntents.ts"
export type { Worth } from "./SessionIntents.ts"

/** What a program has inside `StateManager.transaction`. Both are parts of it. */
export interface Store {
  /**
   * For the tables of the program. Its templates, `sql.insert` and `returning` mean the same in every store; where a
   * dialect must differ there is `sql.onDialectOrElse`.
   */
  readonly sql: SqlClient.SqlClient
  /** Sets a state key. */
  readonly set: (key: string, value: string) => Effect.Effect<void, SqlError.SqlError>
}

type Result<A> = Effect.Effect<A, StateError>

/** The memory of an engine. Each method fails with a `StateError`, those of the capital also with a `CapitalError`. */
export class StateManager extends Context.Service<
  StateManager,
  CapitalIntents.CapitalIntents &
    SessionIntents.SessionIntents & {
      /** The value of a key; none when it was never set, or was cleared. */
      readonly get: (key: string) => Result<Option.Option<string>>
      /** An integer; 0 when absent, unreadable, or beyond what a number holds exactly. */
      readonly getInt: (key: string) => Result<number>
      /** Any text; the empty one clears the key. */
      readonly set: (key: string, value: string) => Result<void>
      /** All of them or none. */
      readonly setMany: (entries: Readonly<Record<string, string>>) => Result<void>
      /** Clearing a key means writing the empty string. */
      readonly clear: (...keys: ReadonlyArray<string>) => Result<void>
      /**
       * What a program stores at once: rows of its own tables and state keys, all of it or nothing, as durable as the rest. It
       * should write and return, because other writes wait for it, and may run again (`Writer.transaction`). What the store
       * says is a `StateError` with `operation`; what the program says stays what it is.
       */
      readonly transaction: <A, E, R>(
        operation: string,
        work: (store: Store) => Effect.Effect<A, E, R>,
      ) => Effect.Effect<A, Exclude<E, StoreFailure> | StateError, R>
      /** Which store this is, for a program that has a better statement for one of them. */
      readonly dialect: "sqlite" | "pg"
      /**
       * One statement of a program in its own tables, with the placeholders of the `dialect`: a transaction by itself, and the
       * rows that it returns. On PostgreSQL it takes one round trip to the server, where `transaction` takes four and its own.
       */
      readonly execute: (
        operation: string,
        statement: string,
        params: ReadonlyArray<unknown>,
      ) => Result<ReadonlyArray<Row>>
      /**
       * Brings the tables of a program up to date, in one transaction. The table `<program>_migrations` remembers which
       * steps have run; that of the engine is another one, so a program counts from 1. With `tables`, one of such a name that
       * is another program's is refused before anything is changed; a database of a later version of the program always is.
       */
      readonly migrate: (
        program: string,
        steps: Migrations,
        tables?: Readonly<Record<string, OwnTable>>,
      ) => Result<void>
    }
>()("seawall/state/StateManager") {}

/**
 * On the store in the context: SQLite by `Database.layer`, PostgreSQL by `PostgresDatabase.layer`. Fails when the schema cannot be brought up to date: then nothing is changed, as where a table of our names is
 * another program's, or a later release wrote it (`OwnTables`). Other tables stay. A function: each database has its own.
 */
export const layer = (): Layer.Layer<StateManager, StateError, SqlClient.SqlClient | Writer> =>
  Layer.effect(StateManager, make)

const Value = Schema.Array(Schema.Struct({ value: Schema.String }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const own = sql.withoutTransforms()
  const writer = yield* Writer
  // The text alone, with the placeholders of the store: it stays the same, and so stays prepared.
  const [upsert] =
    own`INSERT INTO engine_state (key, value) VALUES (${""}, ${""}) ON CONFLICT (key) DO UPDATE SET value = excluded.value`.compile()
  yield* ofSeawall(runEngine(engineMigrations, engineTables))

  const setError = stateError("set")
  const setKey = (key: string, value: string) => own.unsafe(upsert, [key, value])
  const write = (entries: Readonly<Record<string, string>>) =>
    Effect.forEach(Object.entries(entries), ([key, value]) => setKey(key, value), { discard: true })

  const get = Effect.fn("StateManager.get")(function* (key: string) {
    const rows = yield* own`SELECT CAST(COALESCE(value, '') AS TEXT) AS value FROM engine_state WHERE key = ${key}`
    const values = yield* Schema.decodeUnknownEffect(Value)(rows)
    return Option.filter(
      Option.map(Arr.head(values), ({ value }) => value),
      (value) => value !== "",
    )
  }, stateError("get"))

  const setMany = Effect.fn("StateManager.setMany")(function* (entries: Readonly<Record<string, string>>) {
    yield* writer.transaction(write(entries))
  }, stateError("setMany"))

  return StateManager.of({
    ...CapitalIntents.make({ sql: own, set: setKey }, writer),
    ...SessionIntents.make(own, writer),
    get,
    getInt: (key) =>
      Effect.map(get(key), (value) => {
        const text = Option.getOrElse(value, () => "0")
        const parsed = /^\s*[+-]?\d+\s*$/.test(text) ? Number(text) : 0
        return Number.isSafeInteger(parsed) ? parsed : 0
      }),
    // The hot path of an engine: one statement, and no span around it.
    set: (key, value) => setError(Effect.asVoid(writer.execute(upsert, [key, value]))),
    setMany,
    clear: (...keys) => setMany(Object.fromEntries(keys.map((key) => [key, ""]))),

    transaction: (operation, work) =>
      writer
        .transaction(work({ sql, set: (key, value) => Effect.asVoid(setKey(key, value)) }))
        .pipe(ownOrStateError(operation)),

    dialect: sql.onDialectOrElse({ pg: () => "pg" as const, orElse: () => "sqlite" as const }),
    execute: (operation, statement, params) => stateError(operation)(writer.execute(statement, params)),

    migrate: Effect.fn("StateManager.migrate")(
      (program: string, steps: Migrations, tables?: Readonly<Record<string, OwnTable>>) =>
        Effect.provideService(runProgram(program, steps, tables), SqlClient.SqlClient, sql),
    ),
  })
})
