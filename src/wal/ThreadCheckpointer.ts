/**
 * Checkpoints on a thread, with a connection of its own there, so that the event loop never waits for the disk because of
 * one.
 *
 * All databases of a process share the thread (`CheckpointThread`) and take turns on it. When it has failed twice,
 * checkpoints run inline, on the connection of the program. Lets go of the thread before the main connection closes.
 */
import { Effect, Layer } from "effect"
import { Database } from "../sqlite/Database.ts"
import { insideTransaction } from "../sqlite/SafeClient.ts"
import { UnsafeSqliteError, verdict } from "../sqlite/SqliteVersion.ts"
import { type Checkpoint, type CheckpointError, type CheckpointMode, notTried, whole } from "./Checkpoint.ts"
import { Checkpointer, framesOf, runOn } from "./Checkpointer.ts"
import { CheckpointThread } from "./CheckpointThread.ts"

const make = Effect.gen(function* () {
  const database = yield* Database
  const safety = verdict(database.version)
  if (safety === "Unsafe") return yield* new UnsafeSqliteError({ version: database.version })
  if (safety === "Withdrawn") {
    yield* Effect.annotateLogs(Effect.logWarning("sqlite version withdrawn"), { version: database.version })
  }
  const inline = runOn(database.sql)
  const thread = yield* (yield* CheckpointThread).attach(database.opened)
  const run = Effect.fn("Checkpointer.run")(function* (
    mode: CheckpointMode,
  ): Effect.fn.Return<Checkpoint, CheckpointError> {
    if (yield* insideTransaction(database.sql)) return notTried(mode, "LockedInTransaction")
    const answer = yield* thread.run(mode)
    return answer._tag === "Some" ? answer.value : yield* inline(mode)
  })
  return Checkpointer.of({
    run: (mode) => whole(run(mode), mode, database.lockHolders),
    withTurn: thread.withTurn,
    frames: framesOf(database.sql, database.version),
    concurrent: thread.exists,
  })
})

/**
 * For the `Database` in reach; a function, because Effect builds one layer value only once, and each database needs a
 * checkpointer of its own. Refuses a SQLite whose log reset can corrupt a database that two connections use.
 * https://www.sqlite.org/wal.html#walresetbug
 */
export const layer = (): Layer.Layer<Checkpointer, UnsafeSqliteError, Database> => Layer.effect(Checkpointer, make)
