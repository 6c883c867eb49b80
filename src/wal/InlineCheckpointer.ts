/** Checkpoints on the one connection of the program, on the event loop, under its permit: `Checkpointer.layerInline`. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, identity, Schema } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import * as Processes from "../processes/Processes.ts"
import { compiling } from "../sqlite/Compiling.ts"
import { about, DatabaseName } from "../sqlite/DatabaseName.ts"
import { reasonOf } from "../sqlite/NativeError.ts"
import { insideTransaction } from "../sqlite/SafeTransactions.ts"
import { hasNoop, say } from "../sqlite/SqliteVersion.ts"
import { CheckpointError, type CheckpointMode } from "./Checkpoint.ts"
import * as CheckpointRun from "./CheckpointRun.ts"
import * as CheckpointSpan from "./CheckpointSpan.ts"

const one = (sql: SqlClient.SqlClient, query: string) =>
  sql.unsafe(query).values.pipe(
    Effect.map((rows) => String(rows[0]?.[0])),
    Effect.orElseSucceed(() => "unknown"),
    Effect.withTracerEnabled(false),
  )

/** Looks at the WAL through the main connection: microseconds, no lock. None where this SQLite cannot. */
export const framesOf = (sql: SqlClient.SqlClient, version: string) =>
  hasNoop(version)
    ? sql
        .withoutTransforms()
        .unsafe("PRAGMA wal_checkpoint(NOOP)")
        .pipe(
          Effect.map((rows) => rows[0]),
          CheckpointRun.observe,
          Effect.option,
          Effect.provideService(SqlClient.SafeIntegers, false),
          Effect.withTracerEnabled(false),
        )
    : Effect.succeedNone

/** Checkpoints on the connection of this client; a `Checkpointer` makes a `whole` run of that. */
export const runOn = (sql: SqlClient.SqlClient) =>
  Effect.fnUntraced(
    function* (mode: CheckpointMode) {
      if (yield* insideTransaction(sql)) return CheckpointRun.notTried(mode, "LockedInTransaction")
      const connection = yield* Effect.mapError(
        sql.reserve,
        (cause) => new CheckpointError({ mode, reason: reasonOf(cause), cause }),
      )
      // Compiled again each time: the driver would remember for minutes that another connection kept it from compiling.
      const execute = (text: string) =>
        Effect.map(
          compiling(() => connection.executeUnprepared(text, [], undefined)),
          (rows): unknown => rows[0],
        )
      const [level] = yield* Effect.mapError(
        connection.executeValues("PRAGMA synchronous", []),
        (cause) => new CheckpointError({ mode, reason: reasonOf(cause), cause }),
      )
      if (Number(level?.[0]) === 0) {
        return yield* new CheckpointError({ mode, reason: "NotSynced", cause: new Error(notSynced) })
      }
      const statements = {
        checkpoint: execute(`PRAGMA wal_checkpoint(${mode})`),
        writerBusy: execute("BEGIN IMMEDIATE").pipe(
          Effect.andThen(execute("ROLLBACK")),
          Effect.as(false),
          Effect.catchIf(
            (error) => reasonOf(error) === "Busy",
            () => Effect.succeed(true),
          ),
        ),
      }
      // TRUNCATE waits for readers and writers as long as the busy timeout says, and the event loop with it: never wait.
      return yield* mode === "TRUNCATE"
        ? withoutBusyTimeout(execute, mode, CheckpointRun.run(mode, statements))
        : CheckpointRun.run(mode, statements)
    },
    Effect.scoped,
    Effect.provideService(SqlClient.SafeIntegers, false),
  )

const notSynced =
  "the connection is at synchronous=OFF, at which a power cut could leave a damaged database; set NORMAL or FULL"

type Execute = (text: string) => Effect.Effect<unknown, SqlError.SqlError>

const withoutBusyTimeout = <A>(
  execute: Execute,
  mode: CheckpointMode,
  self: Effect.Effect<A, CheckpointError>,
): Effect.Effect<A, CheckpointError> => {
  const failed = (cause: unknown) => new CheckpointError({ mode, reason: reasonOf(cause), cause })
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

export const make = Effect.fnUntraced(function* (sql: SqlClient.SqlClient) {
  const version = yield* one(sql, "SELECT sqlite_version()")
  const path = yield* one(sql, "SELECT file FROM pragma_database_list WHERE name = 'main'")
  const file = (yield* DatabaseName) ?? path
  const named = about(file)
  // One connection alone cannot meet the WAL-reset bug, together with another process it can.
  yield* named(say(version, path))
  const run = CheckpointSpan.traced(file, runOn(sql))
  const lockHolders = Effect.provide(Processes.lockHolders(DatabaseFile.resolve(path)), NodeFileSystem.layer)
  return {
    run: (mode) => named(CheckpointRun.whole(run(mode), mode, lockHolders)),
    withTurn: identity,
    frames: named(framesOf(sql, version)),
    lengthen: () => Effect.succeedNone,
    concurrent: Effect.succeed(false),
  } satisfies CheckpointRun.CheckpointerService
})
