/**
 * How a schema is brought up to date: numbered steps, of which each runs once, in a table that remembers them.
 *
 * The engine's steps and those of a program are in tables of their own, so that their numbers never meet. All steps of one
 * call are one transaction: when one fails, none of them is stored.
 */
import { Effect, Record } from "effect"
import { Migrator, SqlClient } from "effect/sql"
import { fenceTables } from "../postgres/LeaderRow.ts"
import { ownNumbers } from "./Columns.ts"
import * as OwnTables from "./OwnTables.ts"
import { stateError } from "./StateError.ts"

/**
 * Steps by number and name, as in `"0001_readings"`. One that was released is never changed, and its number is not used
 * again; what is new gets the next number. A step may meet a file of an older program: see `Tables`.
 */
export type Migrations = Readonly<Record<`${number}_${string}`, Effect.Effect<void, unknown, SqlClient.SqlClient>>>

/** The migrator's own name for its table, which files of older versions have. */
const engineTable = "effect_sql_migrations"

const run = Migrator.make({})

/** The migrator would leave out a step whose name it does not understand, without a word. */
const misnamed = (steps: Migrations) => Object.keys(steps).filter((name) => !/^\d+_./.test(name))

const runIn = Effect.fnUntraced(
  function* (
    owner: string,
    migrationsTable: string,
    migrations: Migrations,
    tables: Readonly<Record<string, OwnTables.OwnTable>>,
  ) {
    const wrong = misnamed(migrations)
    if (wrong.length > 0) return yield* Effect.fail(`expected steps named like 0001_readings, got ${wrong.join(", ")}`)
    yield* OwnTables.check({ owner, migrationsTable, migrations, tables })
    const sql = yield* SqlClient.SqlClient
    // The table of the migrator is ours, and the steps are the program's.
    const loader = Migrator.fromRecord(
      Record.map(migrations, (step) => Effect.provideService(step, SqlClient.SqlClient, sql)),
    )
    const migrating = run({ loader, table: migrationsTable }).pipe(
      Effect.provideService(SqlClient.SqlClient, sql.withoutTransforms()),
    )
    // A step that fails is a defect of the migrator.
    yield* Effect.catchDefect(migrating, Effect.fail)
    yield* sql.onDialectOrElse({ pg: () => fenceTables(sql.withoutTransforms()), orElse: () => Effect.void })
  },
  ownNumbers,
  stateError("schema"),
)

/** Runs the engine's steps with a higher number than any that ran before. */
export const runEngine = (steps: Migrations, tables: Readonly<Record<string, OwnTables.OwnTable>>) =>
  runIn("Seawall", engineTable, steps, tables)

/** The same for a program's, whose name is that of its table. */
export const runProgram = Effect.fnUntraced(function* (
  program: string,
  steps: Migrations,
  tables: Readonly<Record<string, OwnTables.OwnTable>> = {},
) {
  const table = `${program}_migrations`
  if (table.toLowerCase() === engineTable) {
    return yield* Effect.fail(`${table} is the table of the engine; choose another name than ${program}`).pipe(
      stateError("schema"),
    )
  }
  return yield* runIn(program, table, steps, tables)
})
