/**
 * Checkpoints on a thread, with a connection of its own there, so that the event loop never waits for the disk because of
 * one.
 *
 * All databases of a process share the thread (`CheckpointThread`) and take turns on it. When it has failed twice,
 * checkpoints run inline, on the connection of the program; so does the TRUNCATE of a program that ends before the thread has
 * started, when the WAL is short. Releases the thread before the main connection closes.
 */
import { Effect, Option } from "effect"
import type { DatabaseService } from "../sqlite/Database.ts"
import type { DatabaseControlService } from "../sqlite/DatabaseControl.ts"
import { about } from "../sqlite/DatabaseName.ts"
import { insideTransaction } from "../sqlite/SafeTransactions.ts"
import { say, verdict } from "../sqlite/SqliteVersion.ts"
import { UnsafeSqliteError } from "../sqlite/UnsafeSqliteError.ts"
import type { Checkpoint, CheckpointError, CheckpointMode } from "./Checkpoint.ts"
import { type CheckpointerService, notTried, whole } from "./CheckpointRun.ts"
import { framesOf, runOn } from "./InlineCheckpointer.ts"
import * as CheckpointSpan from "./CheckpointSpan.ts"
import { CheckpointThread } from "./CheckpointThread.ts"

/** Frames that a TRUNCATE copies inline within 10 to 16 ms; the thread would take about 400 ms to load its modules. */
const mostInline = 1000

/** Fails when this SQLite is not safe with a second connection. */
export const make = Effect.fnUntraced(function* (database: DatabaseService, control: DatabaseControlService) {
  const named = about(database.filename)
  if (verdict(database.version) === "Unsafe") return yield* new UnsafeSqliteError({ version: database.version })
  yield* say(database.version, database.filename)
  const inline = runOn(database.sql)
  const frames = framesOf(database.sql, database.version)
  const isShort = Effect.map(
    frames,
    Option.exists(({ checkpointed, log }) => log - checkpointed <= mostInline),
  )
  const thread = yield* (yield* CheckpointThread).attach(control.opened)
  const run = CheckpointSpan.traced(
    database.filename,
    Effect.fnUntraced(function* (mode: CheckpointMode): Effect.fn.Return<Checkpoint, CheckpointError> {
      if (yield* insideTransaction(database.sql)) return notTried(mode, "LockedInTransaction")
      if (mode === "TRUNCATE" && (yield* thread.isStarting) && (yield* isShort)) return yield* inline(mode)
      const answer = yield* thread.run(mode)
      return answer._tag === "Some" ? answer.value : yield* inline(mode)
    }),
  )
  return {
    run: (mode) => named(whole(run(mode), mode, database.lockHolders)),
    withTurn: thread.withTurn,
    frames: named(frames),
    lengthen: thread.lengthen,
    concurrent: thread.exists,
  } satisfies CheckpointerService
})
