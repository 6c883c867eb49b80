/** Databases that are not ours to bring up to date: refused by name, and left as they are, byte for byte of their schema. */
import { DatabaseSync } from "node:sqlite"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import * as PaperBooks from "../../src/paper/PaperBooks.ts"
import * as Database from "../../src/sqlite/Database.ts"
import { engineTables as tables } from "../../src/state/engineMigrations.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { stateErrorOf } from "./stateManagerContract.ts"

const using = <A>(file: string, use: (database: DatabaseSync) => A) =>
  Effect.sync(() => {
    const database = new DatabaseSync(file)
    const result = use(database)
    database.close()
    return result
  })

const schemaOf = (file: string) =>
  using(file, (database) => database.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2").all())

const opened = (file: string) =>
  Effect.scoped(Layer.build(Layer.provide(PaperBooks.layer(), StateManager.layer()))).pipe(
    Effect.provide(Layer.provide(Database.layer({ filename: file }), TemporaryDatabase.quickDisk), { local: true }),
  )

/** Opens it, expects to be refused, and that the schema is as it was; gives what the refusal says. */
const refused = Effect.fnUntraced(function* (script: string) {
  const file = yield* TemporaryDatabase.file
  yield* using(file, (database) => database.exec(script))
  const before = yield* schemaOf(file)
  const error = yield* stateErrorOf(opened(file))
  expect(error.operation).toBe("schema")
  const after = yield* schemaOf(file)
  // The engine has made its own tables by the time at which a program on top of it is refused.
  const isPrograms = error.message.includes("is not paper's")
  const names = new Set(before.map(({ name }) => name))
  expect(isPrograms ? after.filter(({ name }) => names.has(name)) : after).toEqual(before)
  expect(after.some(({ name }) => name === "paper_migrations")).toBe(false)
  return error.message
})

/** As we make it, with changes: a column with `undefined` is left out. */
const create = (table: string, columns: Readonly<Record<string, string>>, more: ReadonlyArray<string> = []) =>
  `CREATE TABLE ${table} (${[...Object.entries(columns).map(([name, type]) => `${name} ${type}`), ...more].join(", ")})`

const without = (columns: Readonly<Record<string, string>>, ...left: ReadonlyArray<string>) =>
  Object.fromEntries(Object.entries(columns).filter(([name]) => !left.includes(name)))

/** Each of our tables: its columns, its key, and what even the oldest release has beside the key. */
const each = [
  ["engine_state", tables.engine_state.columns, "key", "value"],
  ["sessions", tables.sessions.columns, "session_id", "started_at"],
  ["paper_ticks", PaperBooks.paperTables.paper_ticks.columns, "tick_id", "bid"],
  ["paper_fills", PaperBooks.paperTables.paper_fills.columns, "fill_id", "tick_id"],
  ["capital_events", without(tables.capital_events.columns, "basis_delta_rlusd"), "id", "amount"],
  [
    "effect_sql_migrations",
    { migration_id: "integer PRIMARY KEY NOT NULL", created_at: "datetime", name: "VARCHAR(255) NOT NULL" },
    "migration_id",
    "name",
  ],
] as const

describe("a table of our name", () => {
  for (const [table, columns, key, oldest] of each) {
    const owner = table.startsWith("paper") ? "paper" : "Seawall"
    const message = (detail: string) =>
      `schema failed: the table ${table} is not ${owner}'s: ${detail}; nothing was changed: use another file`

    it.effect(`${table} without our key is refused`, () =>
      Effect.gen(function* () {
        expect(yield* refused(create(table, { own_id: "INTEGER PRIMARY KEY", ...without(columns, key) }))).toBe(
          message(`it lacks the column ${key}`),
        )
      }),
    )

    it.effect(`${table} without a column of the oldest release is refused`, () =>
      Effect.gen(function* () {
        const or = table === "capital_events" ? " or basis_delta_rlusd" : ""
        expect(yield* refused(create(table, without(columns, oldest)))).toBe(
          message(`it lacks the column ${oldest}${or}`),
        )
      }),
    )

    it.effect(`${table} with a column of another program's that must be set is refused`, () =>
      Effect.gen(function* () {
        expect(yield* refused(create(table, columns, ["who TEXT NOT NULL"]))).toBe(
          message(`its column who must be set, and ${owner} does not know it`),
        )
      }),
    )

    it.effect(`${table} that is a view, an index or a virtual table is refused`, () =>
      Effect.gen(function* () {
        expect(yield* refused(`CREATE VIEW ${table} AS SELECT 1 AS ${key}`)).toBe(message("it is a view"))
        expect(yield* refused(`CREATE TABLE t (a); CREATE INDEX ${table} ON t (a)`)).toBe(message("it is an index"))
        expect(yield* refused(`CREATE VIRTUAL TABLE ${table} USING fts5 (${key}, ${oldest})`)).toBe(
          message("it is a virtual table"),
        )
      }),
    )
  }

  for (const [table, columns, key] of each.filter(([name]) => name !== "engine_state")) {
    it.effect(`${table} whose key SQLite does not number is refused`, () =>
      Effect.gen(function* () {
        for (const type of ["TEXT PRIMARY KEY", "INTEGER", "INT PRIMARY KEY"]) {
          expect(yield* refused(create(table, { ...columns, [key]: type })), `${type}`).toContain(
            `its column ${key} is not INTEGER PRIMARY KEY; nothing was changed`,
          )
        }
        const pair = create(table, { ...columns, [key]: "INTEGER", b: "TEXT DEFAULT ''" }, [`PRIMARY KEY (${key}, b)`])
        expect(yield* refused(pair)).toContain(`its column ${key} is not INTEGER PRIMARY KEY`)
      }),
    )
  }

  it.effect("of an application that has ours by chance is refused, by the first of them", () =>
    Effect.gen(function* () {
      expect(yield* refused("CREATE TABLE sessions (session_id TEXT, who TEXT NOT NULL, n)")).toContain(
        "the table sessions is not Seawall's: it lacks the column started_at",
      )
      expect(yield* refused("CREATE TABLE Sessions (sid PRIMARY KEY, expired, sess)")).toContain(
        "it lacks the columns session_id, started_at",
      )
      expect(yield* refused("CREATE TABLE capital_events (id INTEGER PRIMARY KEY, note TEXT)")).toContain(
        "it lacks the column amount or basis_delta_rlusd",
      )
      expect(yield* refused("CREATE TABLE capital_events (amount, basis_delta_rlusd)")).toContain(
        "the table capital_events is not Seawall's: it lacks the column id",
      )
    }),
  )

  it.effect("with a column of another program's that need not be set is ours", () =>
    Effect.gen(function* () {
      for (const [table, columns] of each) {
        const file = yield* TemporaryDatabase.file
        yield* using(file, (database) =>
          database.exec(create(table.toUpperCase(), columns, ["note TEXT", "n NOT NULL DEFAULT 1"])),
        )
        expect(Exit.isSuccess(yield* Effect.exit(opened(file))), `${table}`).toBe(true)
      }
    }),
  )
})

describe("a table of migrations", () => {
  const steps = (...rows: ReadonlyArray<string>) =>
    `${create("effect_sql_migrations", each[5][1])};
     INSERT INTO effect_sql_migrations (migration_id, name) VALUES ${rows.join(", ")}`

  it.effect("of a later Seawall is refused, whatever else the database has", () =>
    Effect.gen(function* () {
      const later = "written by a later version of Seawall (schema 9999, this one knows 4): use that version"
      expect(yield* refused(steps("(9999, 'later')"))).toBe(`schema failed: ${later}`)
      const file = yield* TemporaryDatabase.file
      yield* opened(file)
      yield* using(file, (database) => {
        database.exec("INSERT INTO effect_sql_migrations (migration_id, name) VALUES (5, 'later')")
        database.exec("ALTER TABLE sessions RENAME COLUMN started_at TO started")
      })
      const before = yield* schemaOf(file)
      expect((yield* stateErrorOf(opened(file))).message).toBe(`schema failed: ${later.replace("9999", "5")}`)
      expect(yield* schemaOf(file)).toEqual(before)
    }),
  )

  it.effect("of another program is refused", () =>
    Effect.gen(function* () {
      expect(yield* refused(steps("(1, 'users')", "(2, 'orders')"))).toBe(
        `schema failed: the table effect_sql_migrations is not Seawall's: its step 1 is "users", of another program; nothing was changed: use another file`,
      )
    }),
  )
})
