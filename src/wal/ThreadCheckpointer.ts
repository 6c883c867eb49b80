/**
 * Checkpoints on a thread, with a connection of its own there, so that the event loop never waits for the disk because of
 * one.
 *
 * All databases of a process share the thread (`CheckpointThread`) and take turns on it. When it has failed twice,
 * checkpoints run inline, on the connection of the program; so does the TRUNCATE of a program that ends before the thread has
 * started, when the WAL is short. Releases the thread before the main connection closes.
 */
import { Effect, Layer, Option } from "effect"
import { Database } from "../sqlite/Database.ts"
import { about } from "../sqlite/DatabaseName.ts"
import { insideTransaction } from "../sqlite/SafeClient.ts"
import { say, UnsafeSqliteError, verdict } from "../sqlite/SqliteVersion.ts"
import { type Checkpoint, type CheckpointError, type CheckpointMode, notTried, whole } from "./Checkpoint.ts"
import { Checkpointer, framesOf, runOn } from "./Checkpointer.ts"
import * as CheckpointSpan from "./CheckpointSpan.ts"
import { CheckpointThread } from "./CheckpointThread.ts"

/** Frames that a TRUNCATE copies inline within 10 to 16 ms; the thread would take about 400 ms to load its modules. */
const mostInline = 1000

const make = Effect.fnUntraced(function* (database: Database["Service"]) {
  const named = about(database.file)
  if (verdict(database.version) === "Unsafe") return yield* new UnsafeSqliteError({ version: database.version })
  yield* say(database.version, database.file)
  const inline = runOn(database.sql)
  const frames = framesOf(database.sql, database.version)
  const isShort = Effect.map(
    frames,
    Option.exists(({ checkpointed, log }) => log - checkpointed <= mostInline),
  )
  const thread = yield* (yield* CheckpointThread).attach(database.opened)
  const run = CheckpointSpan.traced(
    database.file,
    Effect.fnUntraced(function* (mode: CheckpointMode): Effect.fn.Return<Checkpoint, CheckpointError> {
      if (yield* insideTransaction(database.sql)) return notTried(mode, "LockedInTransaction")
      if (mode === "TRUNCATE" && (yield* thread.isStarting) && (yield* isShort)) return yield* inline(mode)
      const answer = yield* thread.run(mode)
      return answer._tag === "Some" ? answer.value : yield* inline(mode)
    }),
  )
  return Checkpointer.of({
    run: (mode) => named(whole(run(mode), mode, database.lockHolders)),
    withTurn: thread.withTurn,
    frames: named(frames),
    lengthen: thread.lengthen,
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
