/**
 * Where checkpoints run: on a thread, beside the event loop, or inline, on the one connection of the program.
 */
import { Config, Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Database } from "../sqlite/Database.ts"
import { DatabaseControl } from "../sqlite/DatabaseControl.ts"
import type { UnsafeSqliteError } from "../sqlite/UnsafeSqliteError.ts"
import type { CheckpointerService } from "./CheckpointRun.ts"
import * as InlineCheckpointer from "./InlineCheckpointer.ts"
import * as ThreadCheckpointer from "./ThreadCheckpointer.ts"

export type { CheckpointerService }

/** Runs the checkpoints of one database, one when it is asked for one. Knows no interval and retries nothing: that is the guard's. */
export class Checkpointer extends Context.Service<Checkpointer, CheckpointerService>()("seawall/wal/Checkpointer") {}

/** Where checkpoints run. */
export interface CheckpointerOptions {
  /**
   * Default `thread`, beside the event loop (`layerThread`). `inline`: on the one connection (`layerInline`), which stops the event
   * loop for 10 to 16 ms per 1,000 frames, and saves the 65 MB of a thread.
   */
  readonly checkpoints?: "thread" | "inline" | undefined
}

/** The one of the two below that the options name, for a program that leaves this to its configuration. */
export const layer = ({ checkpoints }: CheckpointerOptions = {}): Layer.Layer<
  Checkpointer,
  UnsafeSqliteError,
  Database | DatabaseControl | SqlClient.SqlClient
> => (checkpoints === "inline" ? layerInline() : layerThread())

/** The same with options from the configuration. */
export const layerConfig = (
  options: Config.Wrap<CheckpointerOptions>,
): Layer.Layer<
  Checkpointer,
  UnsafeSqliteError | Config.ConfigError,
  Database | DatabaseControl | SqlClient.SqlClient
> => Layer.unwrap(Effect.map(Config.unwrap(options), layer))

/**
 * On a thread, with a connection of its own there, so that the event loop never waits for the disk because of a checkpoint. All
 * databases of a process share the thread and take turns on it; when it has failed twice, checkpoints run inline. Refuses a
 * SQLite whose WAL reset can corrupt a database that two connections use: https://www.sqlite.org/wal.html#walresetbug
 * A database that was opened to be read alone gets none, and no thread.
 *
 * A function, because Effect builds one layer value only once, and each database needs a checkpointer of its own.
 */
export const layerThread = (): Layer.Layer<Checkpointer, UnsafeSqliteError, Database | DatabaseControl> =>
  Layer.effect(
    Checkpointer,
    Effect.gen(function* () {
      const database = yield* Database
      // A thread has a connection of its own, which would write.
      return database.readonly
        ? yield* InlineCheckpointer.make(database.sql)
        : yield* ThreadCheckpointer.make(database, yield* DatabaseControl)
    }),
  )

/**
 * On the connection of the `SqlClient` in the context. It takes the connection's permit, so that it is never inside a transaction, and a
 * checkpoint asked for by a fiber that is inside one is answered at once instead of waiting for itself. A native call cannot be
 * cut: a long WAL blocks the event loop for as long as it takes to copy (10 to 16 ms per 1,000 frames).
 */
export const layerInline = (): Layer.Layer<Checkpointer, never, SqlClient.SqlClient> =>
  Layer.effect(Checkpointer, Effect.flatMap(SqlClient.SqlClient, InlineCheckpointer.make))
