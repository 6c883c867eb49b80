/**
 * A program that was written against the driver's `SqliteClient.layer`, and knows nothing of Seawall: what it does runs, and gives
 * the same, over the driver and over every layer that takes its place. One suite, run against each of them.
 */
import { SqliteClient, SqliteMigrator } from "@effect/sql-sqlite-node"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Option, Schema, Stream, String } from "effect"
import { MessageStorage, RunnerAddress, RunnerStorage, ShardId, ShardingConfig } from "effect/cluster"
import { SqlMessageStorage, SqlRunnerStorage } from "effect/cluster"
import { Digest } from "effect/crypto"
import { EventJournal, SqlEventJournal } from "effect/eventlog"
import { KeyValueStore, Persistable, PersistedQueue, Persistence } from "effect/persistence"
import { SqlClient, type SqlError, SqlResolver, SqlSchema } from "effect/sql"
import { DatabaseSync } from "node:sqlite"
import { getLoadablePath } from "sqlite-vec"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { attributesOf, recordingTracer } from "../support/Spans.ts"

type Client = SqlClient.SqlClient | SqliteClient.SqliteClient

/** Opens a database by the options of the driver. */
export type Open = (options: SqliteClient.SqliteClientConfig) => Layer.Layer<Client, unknown>

const naming = { transformQueryNames: String.camelToSnake, transformResultNames: String.snakeToCamel }

const table = SqlClient.SqlClient.use(
  (sql) => sql`CREATE TABLE people (person_id INTEGER PRIMARY KEY, first_name TEXT NOT NULL UNIQUE)`,
)

const Person = Schema.Struct({ personId: Schema.Int, firstName: Schema.String })

/** As another program reads the file. */
const outside = (file: string, query: string) => {
  const database = new DatabaseSync(file, { readOnly: true })
  const rows = database.prepare(query).all()
  database.close()
  return rows.map((row) => ({ ...row }))
}

export const driverContract = (name: string, open: Open) =>
  describe(`a program of the driver, over ${name}`, () => {
    const on = <A, E, R>(
      self: (file: string) => Effect.Effect<A, E, R | Client>,
      options: Partial<SqliteClient.SqliteClientConfig> = {},
    ) =>
      Effect.flatMap(TemporaryDatabase.file, (filename) =>
        Effect.provide(self(filename), open({ filename, ...options })),
      )

    it.effect("reads and writes with its own names, and leaves them out where it wants to", () =>
      on(
        Effect.fnUntraced(function* (file) {
          const sql = yield* SqlClient.SqlClient
          yield* table
          const [first] = yield* sql`INSERT INTO people ${sql.insert({ firstName: "Ada" }).returning("*")}`
          expect(first).toEqual({ personId: 1, firstName: "Ada" })
          yield* sql`UPDATE people SET ${sql.update({ firstName: "Grace" })} WHERE ${sql("personId")} = 1`
          expect(yield* sql`SELECT * FROM people WHERE ${sql.in("firstName", ["Grace"])}`).toEqual([
            { personId: 1, firstName: "Grace" },
          ])
          expect(yield* sql`SELECT * FROM people`.withoutTransform).toEqual([{ person_id: 1, first_name: "Grace" }])
          const plain = sql.withoutTransforms()
          expect(yield* plain`SELECT ${plain("first_name")} FROM people`).toEqual([{ first_name: "Grace" }])
          expect(yield* sql`SELECT * FROM people`.values).toEqual([[1, "Grace"]])
          expect(yield* sql`SELECT * FROM people`.raw).toMatchObject([{ person_id: 1 }])
          expect(outside(file, "SELECT * FROM people")).toEqual([{ person_id: 1, first_name: "Grace" }])
        }),
        naming,
      ),
    )

    it.effect("has the driver's client, whose configuration is what it gave", () =>
      on(
        Effect.fnUntraced(function* (filename) {
          const sqlite = yield* SqliteClient.SqliteClient
          expect(sqlite.config).toMatchObject({ filename, prepareCacheSize: 7, spanAttributes: { app: "people" } })
          expect(sqlite[SqliteClient.TypeId]).toBe(SqliteClient.TypeId)
          expect(yield* sqlite`SELECT 1 AS one`).toEqual([{ one: 1 }])
        }),
        { prepareCacheSize: 7, prepareCacheTTL: "1 minute", spanAttributes: { app: "people" } },
      ),
    )

    it.effect("gives its attributes to its spans", () =>
      on(
        Effect.fnUntraced(function* () {
          const sql = yield* SqlClient.SqlClient
          const { layer, names, of } = recordingTracer()
          yield* Effect.provide(sql.withTransaction(sql`SELECT 1`), layer)
          const expected = { app: "people", "db.system.name": "sqlite" }
          expect(names()).toHaveLength(2)
          expect(names().flatMap((name) => of(name).map(attributesOf))).toMatchObject([expected, expected])
        }),
        { spanAttributes: { app: "people" } },
      ),
    )

    it.effect("copies its database while it is open, and the copy is whole", () =>
      on(
        Effect.fnUntraced(function* (file) {
          const sqlite = yield* SqliteClient.SqliteClient
          yield* table
          yield* sqlite`INSERT INTO people ${sqlite.insert([{ first_name: "Ada" }, { first_name: "Grace" }])}`
          const { remainingPages, totalPages } = yield* sqlite.backup(`${file}.copy`)
          expect([remainingPages, totalPages > 0]).toEqual([0, true])
          expect(outside(`${file}.copy`, "SELECT count(*) AS n FROM people")).toEqual([{ n: 2 }])
          expect((yield* Effect.exit(sqlite.backup("/nowhere/copy.db")))._tag).toBe("Failure")
          yield* sqlite`INSERT INTO people (first_name) VALUES ('Edsger')`
        }),
      ),
    )

    it.effect("loads an extension, and uses it", () =>
      on(
        Effect.fnUntraced(function* () {
          const sqlite = yield* SqliteClient.SqliteClient
          expect((yield* Effect.exit(sqlite`SELECT vec_version()`))._tag).toBe("Failure")
          yield* sqlite.loadExtension(getLoadablePath())
          expect(yield* sqlite`SELECT vec_length('[1, 2, 3]') AS length`).toEqual([{ length: 3 }])
          expect((yield* Effect.exit(sqlite.loadExtension("/nowhere/extension")))._tag).toBe("Failure")
          // Statements may not load one.
          expect((yield* Effect.exit(sqlite`SELECT load_extension(${getLoadablePath()})`))._tag).toBe("Failure")
        }),
      ),
    )

    it.effect("rolls back what fails, nests savepoints, and tells a constraint", () =>
      on(
        Effect.fnUntraced(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* table
          const insert = (first: string) => sql`INSERT INTO people (first_name) VALUES (${first})`
          yield* insert("Ada").pipe(Effect.andThen(Effect.fail("no")), sql.withTransaction, Effect.ignore)
          yield* Effect.gen(function* () {
            yield* insert("Grace")
            yield* insert("Edsger").pipe(Effect.andThen(Effect.fail("no")), sql.withTransaction, Effect.ignore)
          }).pipe(sql.withTransaction)
          expect(yield* sql`SELECT first_name FROM people`).toEqual([{ first_name: "Grace" }])
          const error = yield* Effect.flip(insert("Grace"))
          expect((error as SqlError.SqlError).reason._tag).toBe("UniqueViolation")
        }),
      ),
    )

    it.effect("runs what waits for a commit after it, and answers who watches a table", () =>
      on(
        Effect.fnUntraced(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* table
          const said: Array<string> = []
          const say = (what: string) => Effect.sync(() => void said.push(what))
          yield* sql.withTransaction(Effect.andThen(sql.afterCommit(say("after")), say("inside")))
          expect(said).toEqual(["inside", "after"])
          yield* sql`INSERT INTO people (first_name) VALUES ('Ada')`
          const watched = sql.reactive(["people"], sql`SELECT first_name FROM people`)
          expect(yield* Stream.runHead(watched)).toEqual(Option.some([{ first_name: "Ada" }]))
        }),
      ),
    )

    it.effect("migrates its schema once", () =>
      on(
        Effect.fnUntraced(function* () {
          const sql = yield* SqlClient.SqlClient
          const run = SqliteMigrator.run({ loader: SqliteMigrator.fromRecord({ "0001_people": table }) })
          expect([yield* run, yield* run]).toEqual([[[1, "people"]], []])
          expect(yield* sql`SELECT * FROM people`).toEqual([])
        }),
        naming,
      ),
    )

    it.effect("answers many requests with one statement, and decodes rows", () =>
      on(
        Effect.fnUntraced(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* table
          const Insert = SqlResolver.ordered({
            Request: Schema.Struct({ firstName: Schema.String }),
            Result: Person,
            execute: (requests) => sql`INSERT INTO people ${sql.insert(requests).returning("*")}`,
          })
          const insert = SqlResolver.request(Insert)
          const people = yield* Effect.all([insert({ firstName: "Ada" }), insert({ firstName: "Grace" })], {
            concurrency: "unbounded",
          })
          expect(people).toEqual([
            { personId: 1, firstName: "Ada" },
            { personId: 2, firstName: "Grace" },
          ])
          const find = SqlSchema.findOne({
            Request: Schema.Int,
            Result: Person,
            execute: (id) => sql`SELECT * FROM people WHERE person_id = ${id}`,
          })
          expect(yield* find(2)).toEqual({ personId: 2, firstName: "Grace" })
        }),
        naming,
      ),
    )

    it.effect("keeps a key-value store", () =>
      on(() =>
        Effect.gen(function* () {
          const store = yield* KeyValueStore.KeyValueStore
          yield* store.set("a", "1")
          yield* store.set("b", new Uint8Array([1, 2]))
          expect([yield* store.get("a"), yield* store.getUint8Array("b"), yield* store.size]).toEqual([
            "1",
            new Uint8Array([1, 2]),
            2,
          ])
          yield* store.remove("a")
          expect(yield* store.get("a")).toBeUndefined()
        }).pipe(Effect.provide(KeyValueStore.layerSql())),
      ),
    )

    it.effect.each([
      ["one table", Persistence.layerSql],
      ["a table a store", Persistence.layerSqlMultiTable],
    ] as const)("persists results in %s", ([, layer]) =>
      on(() =>
        Effect.gen(function* () {
          class Find extends Persistable.Class<{ payload: { id: number } }>()("Find", {
            primaryKey: ({ id }) => `${id}`,
            success: Schema.String,
          }) {}
          const { make } = yield* Persistence.Persistence
          const store = yield* make({ storeId: "people" })
          yield* store.set(new Find({ id: 1 }), Exit.succeed("Ada"))
          expect(yield* store.get(new Find({ id: 1 }))).toEqual(Exit.succeed("Ada"))
          expect(yield* store.get(new Find({ id: 2 }))).toBeUndefined()
        }).pipe(Effect.scoped, Effect.provide(layer)),
      ),
    )

    it.live("keeps a queue", () =>
      on(() =>
        Effect.gen(function* () {
          const queue = yield* PersistedQueue.make({ name: "mails", schema: Schema.String })
          yield* queue.offer("first")
          expect(yield* queue.take((mail) => Effect.succeed(mail))).toBe("first")
        }).pipe(
          Effect.provide(
            Layer.provide(PersistedQueue.layer, PersistedQueue.layerStoreSql({ pollInterval: "20 millis" })),
          ),
        ),
      ),
    )

    it.effect("keeps an event journal", () =>
      on(() =>
        Effect.gen(function* () {
          const journal = yield* EventJournal.EventJournal
          const payload = new Uint8Array([1, 2, 3])
          yield* journal.write({ event: "Born", primaryKey: "ada", payload, effect: () => Effect.void })
          expect((yield* journal.entries).map(({ event, primaryKey }) => [event, primaryKey])).toEqual([
            ["Born", "ada"],
          ])
        }).pipe(Effect.provide(SqlEventJournal.layer())),
      ),
    )

    it.live("is the storage of a cluster", () =>
      on(() =>
        Effect.gen(function* () {
          const runners = yield* RunnerStorage.RunnerStorage
          const address = RunnerAddress.make("localhost", 1234)
          const shards = [ShardId.make("default", 1), ShardId.make("default", 2)]
          expect((yield* runners.acquire(address, shards)).length).toBe(2)
          const messages = yield* MessageStorage.MessageStorage
          expect(yield* messages.unprocessedMessages(shards)).toEqual([])
        }).pipe(
          Effect.provide(
            Layer.mergeAll(SqlRunnerStorage.layer, SqlMessageStorage.layer).pipe(
              Layer.provide([ShardingConfig.layer(), Digest.layerWebCrypto]),
            ),
          ),
        ),
      ),
    )
  })
