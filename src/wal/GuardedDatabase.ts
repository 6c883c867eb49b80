/**
 * A database and its guard in one layer: the chain that most programs want, and nothing else.
 *
 * Each call opens a database of its own; several of them in one program share one checkpoint thread. From the top, and so in
 * the order in which they let go: `WalGuard`, `LatencyWindow`, `Checkpointer`, `Database`. Whoever needs a layer of its own
 * between two of these composes them itself.
 */
import { Config, Effect, Layer } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { Database, type DatabaseOptions } from "../sqlite/Database.ts"
import type { DatabaseOpenError } from "../sqlite/DatabaseOpenError.ts"
import type { UnsafeSqliteError } from "../sqlite/SqliteVersion.ts"
import type { Writer } from "../sqlite/Writer.ts"
import { Checkpointer } from "./Checkpointer.ts"
import { LatencyWindow } from "./LatencyWindow.ts"
import * as ThreadCheckpointer from "./ThreadCheckpointer.ts"
import { WalGuard, type WalGuardOptions } from "./WalGuard.ts"

/** Those of `Database` and of `WalGuard`, and where checkpoints run; `file` alone has no default. */
export interface GuardedDatabaseOptions extends DatabaseOptions, WalGuardOptions {
  /**
   * Where checkpoints run; default `thread`, beside the event loop. `inline`: on the one connection, which stops the event
   * loop for 10 to 16 ms per 1,000 frames, and saves the 65 MB of a thread.
   */
  readonly checkpoints?: "thread" | "inline"
}

/** All that the layer provides: each part of the chain, and what its `Database` has beside itself. */
export type GuardedDatabase = Database | SqlClient.SqlClient | Writer | Checkpointer | LatencyWindow | WalGuard

/** @internal */
export const checkpointer = (
  where: GuardedDatabaseOptions["checkpoints"],
): Layer.Layer<Checkpointer, UnsafeSqliteError, Database | SqlClient.SqlClient> =>
  where === "inline" ? Checkpointer.layerInline() : ThreadCheckpointer.layer()

/** Fails when the file cannot be opened safely, or this SQLite is not safe with a second connection (`thread`). */
export const layer = (
  options: GuardedDatabaseOptions,
): Layer.Layer<GuardedDatabase, DatabaseOpenError | UnsafeSqliteError | SqlError.SqlError> =>
  WalGuard.layer(options).pipe(
    Layer.provideMerge(LatencyWindow.layer()),
    Layer.provideMerge(checkpointer(options.checkpoints)),
    Layer.provideMerge(Database.layer(options)),
  )

/** The same with options from the configuration: `layerConfig({ file: Config.String("DATABASE") })`. */
export const layerConfig = (
  options: Config.Wrap<GuardedDatabaseOptions>,
): Layer.Layer<GuardedDatabase, DatabaseOpenError | UnsafeSqliteError | SqlError.SqlError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layer))
