/**
 * Checkpoints on a thread, with a connection of its own there, so that the event loop never waits for the disk because of
 * one.
 *
 * All databases of a process share the thread (`CheckpointThread`) and take turns on it. When it has failed twice,
 * checkpoints run inline, on the connection of the program. Lets go of the thread before the main connection closes.
 */
import { Effect, Layer } from "effect"
import { Database } from "../sqlite/Database.ts"
import { about } from "../sqlite/DatabaseName.ts"
import { insideTransaction } from "../sqlite/SafeClient.ts"
import { UnsafeSqliteError, verdict } from "../sqlite/SqliteVersion.ts"
import { type Checkpoint, type CheckpointError, type CheckpointMode, notTried } from "./Checkpoint.ts"
import { Checkpointer, framesOf, runOn } from "./Checkpointer.ts"
import * as CheckpointSpan from "./CheckpointSpan.ts"
import { CheckpointThread } from "./CheckpointThread.ts"

const make = Effect.fnUntraced(function* (database: Database["Service"]) {
  const named = about(database.file)
  const safety = verdict(database.version)
  if (safety === "Unsafe") return yield* new UnsafeSqliteError({ version: database.version })
  if (safety === "Withdrawn") {
    yield* Effect.annotateLogs(Effect.logWarning("sqlite version withdrawn"), { version: database.version })
  }
  const inline = runOn(database.sql)
  const thread = yield* (yield* CheckpointThread).attach(database.opened)
  const run = CheckpointSpan.traced(
    database.file,
    Effect.fnUntraced(function* (mode: CheckpointMode): Effect.fn.Return<Checkpoint, CheckpointError> {
      if (yield* insideTransaction(database.sql)) return yield* notTried(mode, "LockedInTransaction")
      const answer = yield* thread.run(mode)
      return answer._tag === "Some" ? answer.value : yield* inline(mode)
    }),
  )
  return Checkpointer.of({
    run: (mode) => named(run(mode)),
    withTurn: thread.withTurn,
    frames: named(framesOf(database.sql, database.version)),
    concurrent: thread.exists,
  })
})

/**
 * For the `Database` in reach; a function, because Effect builds one layer value only once, and each database needs a
 * checkpointer of its own. Refuses a SQLite whose log reset can corrupt a database that two connections use.
 * https://www.sqlite.org/wal.html#walresetbug
 */
export const layer = (): Layer.Layer<Checkpointer, UnsafeSqliteError, Database> =>
  Layer.effect(
    Checkpointer,
    Effect.flatMap(Database, (database) => about(database.file)(make(database))),
  )
