/**
 * One SQLite file, opened safely: WAL mode, every pragma read back, one connection behind one permit.
 *
 * Owns the connection from `Layer` build to scope close. Closes in this order: the writer ends what it has taken ->
 * the descriptor that syncs the WAL -> the connection (SQLite itself then checkpoints and removes `-wal` and `-shm`,
 * without a bound) -> a look whether they are gone, with a WARNING if not.
 * Leaves `wal_autocheckpoint` at SQLite's 1000 pages; a guard sets it to 0 and restores it.
 * Does not checkpoint, does not retry, and does not open what is not a local file: https://www.sqlite.org/wal.html
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Config, Context, Effect, type FileSystem, Layer, type Option, type Path, type Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient } from "effect/sql"
import type { LockHolder } from "../processes/LockTable.ts"
import type { Process } from "../processes/Processes.ts"
import * as AdoptedDatabase from "./AdoptedDatabase.ts"
import { DatabaseControl } from "./DatabaseControl.ts"
import { about, DatabaseName } from "./DatabaseName.ts"
import type { DatabaseOpenError } from "./DatabaseOpenError.ts"
import type { DatabaseOptions } from "./DatabaseOptions.ts"
import type { Durability, DurabilityError } from "../sql/Durability.ts"
import type { Exposure } from "./Exposure.ts"
import * as OpenedDatabase from "./OpenedDatabase.ts"
import { Writer } from "../sql/Writer.ts"

export type { DatabaseOptions, Exposure, LockHolder, Process }

/** What a program uses of an open database. What a guard needs beside it is `DatabaseControl`. */
export interface DatabaseService {
  /**
   * With `layer`: each statement and each whole transaction (`BEGIN IMMEDIATE`) has the connection to itself, and streams are
   * refused. With `layerClient`: the given client.
   */
  readonly sql: SqlClient.SqlClient
  /** As it was given; of `layerClient`, as SQLite names it. */
  readonly filename: string
  /** Whether it was opened to be read alone: then nothing of Seawall's writes to it either, and a guard does nothing. */
  readonly readonly: boolean
  /** The version of SQLite that runs, such as "3.53.1". */
  readonly version: string
  readonly durability: Durability
  /** Everything that was committed before this starts is on disk when it succeeds, whatever statement it came from. */
  readonly durable: Effect.Effect<void, DurabilityError>
  /** Waits until the WAL cannot be synced, and succeeds with why; from then on nothing is written or acknowledged. */
  readonly durabilityLost: Effect.Effect<DurabilityError>
  /**
   * Waits until the file or its WAL is no longer the one that was opened, and succeeds with what changed. It is looked once a
   * second while something is written, else every five, and before each checkpoint. Nothing is written, acknowledged,
   * checkpointed or closed from then on.
   * https://www.sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use
   */
  readonly replaced: Effect.Effect<DurabilityError>
  /** What a power cut could still take. */
  readonly exposure: Exposure
  /** The other processes that use the file, or another one of its name (`has`); none where no process can be seen. */
  readonly others: Effect.Effect<Option.Option<ReadonlyArray<Process>>>
  /** The other processes that hold a lock of the WAL now: readers, a writer, a checkpointer. None when locks cannot be seen. */
  readonly lockHolders: Effect.Effect<Option.Option<ReadonlyArray<LockHolder>>>
}

/** One SQLite file that is open. */
export class Database extends Context.Service<Database, DatabaseService>()("seawall/sqlite/Database") {}

/** What `layer` provides: the database, its client under both names, and its writer. */
export type Provided = Database | DatabaseControl | SqlClient.SqlClient | SqliteClient.SqliteClient | Writer

/** What `make` stands on; `layer` brings it. */
type Required = FileSystem.FileSystem | Path.Path | Reactivity.Reactivity | Scope.Scope

/** Opens the file until the scope closes, with all that `layer` provides. */
export const make = (options: DatabaseOptions): Effect.Effect<Context.Context<Provided>, DatabaseOpenError, Required> =>
  Effect.map(OpenedDatabase.make(options), ({ control, database, sql, writer }) =>
    Context.make(Database, database).pipe(
      Context.add(DatabaseControl, control),
      Context.add(SqlClient.SqlClient, sql),
      Context.add(SqliteClient.SqliteClient, sql),
      Context.add(Writer, writer),
      Context.add(DatabaseName, options.filename),
    ),
  ).pipe(
    // What it asks of SQLite itself are numbers, whatever the program around it wants of its own statements.
    Effect.provideService(SqlClient.SafeIntegers, false),
    Effect.withTracerEnabled(false),
    about(options.filename),
  )

/** Opens the file for the life of the layer. What cannot be opened is a `DatabaseOpenError`; closing never fails. */
export const layer = (options: DatabaseOptions): Layer.Layer<Provided, DatabaseOpenError> =>
  Layer.effectContext(make(options)).pipe(Layer.provide([NodeFileSystem.layer, NodePath.layer, Reactivity.layer]))

/** The same with options from the configuration: `layerConfig({ filename: Config.String("DATABASE") })`. */
export const layerConfig = (
  options: Config.Wrap<DatabaseOptions>,
): Layer.Layer<Provided, DatabaseOpenError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layer))

/**
 * From the `SqlClient` in the context, such as that of `SqliteClient.layer`, whose database must be a file in WAL mode. It opens and
 * closes nothing but one descriptor for syncing the WAL.
 *
 * It cannot see commits, so a guard looks for them; none of them is exposed when the connection was at FULL as it was found. It
 * has no `Writer` and no write gate, so it suits a checkpointer on the same connection (`Checkpointer.layerInline()`). What the
 * connection itself does wrong is not fixed.
 *
 * A function, because Effect builds one layer value only once, and each client needs a `Database` of its own.
 */
export const layerClient = (): Layer.Layer<Database | DatabaseControl, DatabaseOpenError, SqlClient.SqlClient> =>
  Layer.effectContext(
    Effect.map(Effect.flatMap(SqlClient.SqlClient, AdoptedDatabase.make), ({ control, database }) =>
      Context.make(Database, database).pipe(
        Context.add(DatabaseControl, control),
        Context.add(DatabaseName, database.filename),
      ),
    ),
  ).pipe(Layer.provide(NodeFileSystem.layer))
