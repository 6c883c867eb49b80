/**
 * Where checkpoints run. The inline layer runs them on the one connection of the program, on the event loop.
 *
 * It takes the connection's permit, so that it is never inside a transaction, and a checkpoint asked for by a fiber that
 * is inside one is answered at once instead of waiting for itself. A native call cannot be cut: a large log blocks the
 * event loop for as long as it takes to copy (10 to 16 ms per 1,000 frames).
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Context, Effect, identity, Layer, Option, Schema } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import * as Processes from "../processes/Processes.ts"
import { compiling } from "../sqlite/Compiling.ts"
import { about, DatabaseName } from "../sqlite/DatabaseName.ts"
import { nativeReason } from "../sqlite/NativeError.ts"
import { insideTransaction } from "../sqlite/SafeClient.ts"
import { hasNoop, say } from "../sqlite/SqliteVersion.ts"
import * as Checkpoint from "./Checkpoint.ts"
import * as CheckpointSpan from "./CheckpointSpan.ts"

/** Runs the checkpoints of one database, one when it is asked for one. Knows no interval and retries nothing: that is the guard's. */
export class Checkpointer extends Context.Service<
  Checkpointer,
  {
    /** Runs one checkpoint. Whoever asks sees to it that two of one database never overlap, and does it `withTurn`. */
    readonly run: (mode: Checkpoint.CheckpointMode) => Effect.Effect<Checkpoint.Checkpoint, Checkpoint.CheckpointError>
    /** Waits, where databases share what checkpoints them, until it is this one's turn. */
    readonly withTurn: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
    /** Frames in the log now; moves nothing. None when that is not known. */
    readonly frames: Effect.Effect<Option.Option<Checkpoint.WalFrames>>
    /**
     * Gives the file of the WAL room for so many frames before commits need it, because a sync of a file that grows costs more;
     * answers for how many there is room now, none where that is not done. Runs `withTurn`, and with writers held back.
     */
    readonly lengthen: (frames: number) => Effect.Effect<Option.Option<number>, unknown>
    /** Whether writers go on while a checkpoint runs. */
    readonly concurrent: Effect.Effect<boolean>
  }
>()("seawall/wal/Checkpointer") {
  /**
   * On the connection of the `SqlClient` in reach. A function, because Effect builds one layer value only once, and each
   * database needs a checkpointer of its own.
   */
  static readonly layerInline = (): Layer.Layer<Checkpointer, never, SqlClient.SqlClient> =>
    Layer.effect(
      Checkpointer,
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const version = yield* one(sql, "SELECT sqlite_version()")
        const path = yield* one(sql, "SELECT file FROM pragma_database_list WHERE name = 'main'")
        const file = (yield* DatabaseName) ?? path
        const named = about(file)
        // One connection alone cannot meet the WAL-reset bug, together with another process it can.
        yield* named(say(version, path))
        const run = CheckpointSpan.traced(file, runOn(sql))
        const lockHolders = Effect.provide(Processes.lockHolders(DatabaseFile.resolve(path)), NodeFileSystem.layer)
        return {
          run: (mode) => named(Checkpoint.whole(run(mode), mode, lockHolders)),
          withTurn: identity,
          frames: named(framesOf(sql, version)),
          lengthen: () => Effect.succeedNone,
          concurrent: Effect.succeed(false),
        }
      }),
    )
}

const one = (sql: SqlClient.SqlClient, query: string) =>
  sql.unsafe(query).values.pipe(
    Effect.map((rows) => String(rows[0]?.[0])),
    Effect.orElseSucceed(() => "unknown"),
    Effect.withTracerEnabled(false),
  )

/** Looks at the log through the main connection: microseconds, no lock. None where this SQLite cannot. @internal */
export const framesOf = (sql: SqlClient.SqlClient, version: string) =>
  hasNoop(version)
    ? sql.unsafe("PRAGMA wal_checkpoint(NOOP)").pipe(
        Effect.map((rows) => rows[0]),
        Checkpoint.observe,
        Effect.option,
        Effect.provideService(SqlClient.SafeIntegers, false),
        Effect.withTracerEnabled(false),
      )
    : Effect.succeedNone

/** Checkpoints on the connection of this client; a `Checkpointer` makes a `whole` run of that. @internal */
export const runOn = (sql: SqlClient.SqlClient) =>
  Effect.fnUntraced(
    function* (mode: Checkpoint.CheckpointMode) {
      if (yield* insideTransaction(sql)) return Checkpoint.notTried(mode, "LockedInTransaction")
      const connection = yield* Effect.mapError(
        sql.reserve,
        (cause) => new Checkpoint.CheckpointError({ mode, reason: nativeReason(cause), cause }),
      )
      // Compiled anew each time: the driver would remember for minutes that somebody was in the way of compiling it.
      const execute = (text: string) =>
        Effect.map(
          compiling(() => connection.executeUnprepared(text, [], undefined)),
          (rows): unknown => rows[0],
        )
      const [level] = yield* Effect.mapError(
        connection.executeValues("PRAGMA synchronous", []),
        (cause) => new Checkpoint.CheckpointError({ mode, reason: nativeReason(cause), cause }),
      )
      if (Number(level?.[0]) === 0) {
        return yield* new Checkpoint.CheckpointError({ mode, reason: "NotSynced", cause: new Error(notSynced) })
      }
      const statements = {
        checkpoint: execute(`PRAGMA wal_checkpoint(${mode})`),
        writerBusy: execute("BEGIN IMMEDIATE").pipe(
          Effect.andThen(execute("ROLLBACK")),
          Effect.as(false),
          Effect.catchIf(
            (error) => nativeReason(error) === "Busy",
            () => Effect.succeed(true),
          ),
        ),
      }
      // TRUNCATE waits for readers and writers as long as the busy timeout says, and the event loop with it: never wait.
      return yield* mode === "TRUNCATE"
        ? withoutBusyTimeout(execute, mode, Checkpoint.run(mode, statements))
        : Checkpoint.run(mode, statements)
    },
    Effect.scoped,
    Effect.provideService(SqlClient.SafeIntegers, false),
  )

const notSynced =
  "the connection is at synchronous=OFF, at which a power cut could leave a damaged database; set NORMAL or FULL"

type Execute = (text: string) => Effect.Effect<unknown, SqlError.SqlError>

const withoutBusyTimeout = <A>(
  execute: Execute,
  mode: Checkpoint.CheckpointMode,
  self: Effect.Effect<A, Checkpoint.CheckpointError>,
): Effect.Effect<A, Checkpoint.CheckpointError> => {
  const failed = (cause: unknown) => new Checkpoint.CheckpointError({ mode, reason: nativeReason(cause), cause })
  return Effect.acquireUseRelease(
    execute("PRAGMA busy_timeout").pipe(
      Effect.flatMap(Schema.decodeUnknownEffect(Schema.Struct({ timeout: Schema.Int }))),
      Effect.tap(() => execute("PRAGMA busy_timeout = 0")),
      Effect.mapError(failed),
    ),
    () => self,
    ({ timeout }) => Effect.mapError(execute(`PRAGMA busy_timeout = ${timeout}`), failed),
  )
}
