/**
 * A database and its guard in one layer: the chain that most programs want, and nothing else.
 *
 * Each call opens a database of its own; several of them in one program share one checkpoint thread. From the top, and so in
 * the order in which they close: `WalGuard`, `LatencyWindow`, `Checkpointer`, `Database`. A program that needs a layer of its
 * own between two of these composes them itself.
 */
import type { OptionError } from "../options/OptionError.ts"
import { Config, Effect, Layer } from "effect"
import type { SqlError } from "effect/sql"
import * as Database from "../sqlite/Database.ts"
import type { DatabaseOpenError } from "../sqlite/DatabaseOpenError.ts"
import type { UnsafeSqliteError } from "../sqlite/UnsafeSqliteError.ts"
import * as Checkpointer from "./Checkpointer.ts"
import type * as LatencyWindow from "./LatencyWindow.ts"
import * as WalGuard from "./WalGuard.ts"

/** Those of `Database` and of `WalGuard`, and where checkpoints run; `filename` alone has no default. */
export interface GuardedDatabaseOptions
  extends Database.DatabaseOptions, WalGuard.WalGuardOptions, Checkpointer.CheckpointerOptions {}

/** All that `layer` provides: each part of the chain, and what its `Database` has beside itself. */
export type Provided = Database.Provided | Checkpointer.Checkpointer | LatencyWindow.LatencyWindow | WalGuard.WalGuard

/** Fails when the file cannot be opened safely, an option makes no sense, or this SQLite is not safe with a second connection (`thread`). */
export const layer = (
  options: GuardedDatabaseOptions,
): Layer.Layer<Provided, DatabaseOpenError | OptionError | UnsafeSqliteError | SqlError.SqlError> =>
  WalGuard.layer(options).pipe(
    Layer.provideMerge(Checkpointer.layer(options)),
    Layer.provideMerge(Database.layer(options)),
  )

/** The same with options from the configuration: `layerConfig({ filename: Config.String("DATABASE") })`. */
export const layerConfig = (
  options: Config.Wrap<GuardedDatabaseOptions>,
): Layer.Layer<
  Provided,
  DatabaseOpenError | OptionError | UnsafeSqliteError | SqlError.SqlError | Config.ConfigError
> => Layer.unwrap(Effect.map(Config.unwrap(options), layer))
