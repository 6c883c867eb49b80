/**
 * A write-ahead log in virtual time, with a checkpointer on a pretended thread: commits make it longer, checkpoints copy
 * it, a pinned reader keeps it, and the first commit after a complete checkpoint restarts it. The database is real, so
 * that its permit, its gate and its commits are; what would wait for the real disk is not.
 */
import { Clock, Context, Effect, identity, Layer, Option, Ref } from "effect"
import { SqlClient } from "effect/sql"
import type { LockHolder } from "../../src/processes/LockTable.ts"
import * as Database from "../../src/sqlite/Database.ts"
import type * as Checkpoint from "../../src/wal/Checkpoint.ts"
import * as CheckpointRun from "../../src/wal/CheckpointRun.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"

export interface Log {
  readonly length: number
  readonly copied: number
  /** Frames from here on are kept by a reader. */
  readonly pinnedAt: Option.Option<number>
  readonly longest: number
}

/** How the next runs behave; copying takes time, whatever else happens. */
export interface Behaviour {
  readonly millisPerThousandFrames: number
  readonly next: () => "copies" | "is slow" | "fails" | "dies" | "is busy" | "hangs"
}

export interface Run {
  readonly mode: Checkpoint.CheckpointMode
  readonly start: number
  readonly end: Option.Option<number>
}

export class SimulatedLog extends Context.Service<
  SimulatedLog,
  {
    readonly log: Effect.Effect<Log>
    readonly runs: Effect.Effect<ReadonlyArray<Run>>
    /** One commit of so many frames, through the permit. */
    readonly commit: (frames: number) => Effect.Effect<void>
    readonly pin: Effect.Effect<void>
    readonly unpin: Effect.Effect<void>
  }
>()("test/SimulatedLog") {}

export const pinnedReader: LockHolder = { pid: 4711, command: "reporter", lock: "read1" }

/** Replaces what waits for the real disk. */
const pretended = Layer.effect(
  Database.Database,
  Effect.map(Database.Database, (database) => ({
    ...database,
    lockHolders: Effect.succeedSome([pinnedReader]),
  })),
).pipe(Layer.provideMerge(TemporaryDatabase.layer({ durability: "normal" })))

export const layer = (behaviour: Behaviour) =>
  Layer.effectContext(
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const log = yield* Ref.make<Log>({ length: 0, copied: 0, pinnedAt: Option.none(), longest: 0 })
      const runs = yield* Ref.make<ReadonlyArray<Run>>([])
      yield* Effect.orDie(sql`CREATE TABLE t (a)`)

      const grow = (frames: number) =>
        Ref.update(log, (now): Log => {
          const restarts = now.copied === now.length && Option.isNone(now.pinnedAt)
          const length = (restarts ? 0 : now.length) + frames
          return { ...now, copied: restarts ? 0 : now.copied, length, longest: Math.max(now.longest, length) }
        })
      const commit = (frames: number) =>
        Effect.orDie(Effect.andThen(sql`INSERT INTO t (a) VALUES (1)`, grow(frames)).pipe(sql.withTransaction))

      const copy = Effect.fnUntraced(function* (mode: Checkpoint.CheckpointMode) {
        const before = yield* Ref.get(log)
        const upTo = Option.getOrElse(before.pinnedAt, () => before.length)
        // A TRUNCATE takes no time: at the end of a test the clock is not moved for it.
        const millis = (Math.max(0, upTo - before.copied) / 1000) * behaviour.millisPerThousandFrames
        if (mode === "PASSIVE") yield* Effect.sleep(`${millis} millis`)
        const after = yield* Ref.updateAndGet(log, (now): Log => ({ ...now, copied: Math.max(now.copied, upTo) }))
        if (mode === "PASSIVE") return { busy: 0, log: before.length, checkpointed: Math.min(upTo, before.length) }
        if (after.copied < after.length || Option.isSome(after.pinnedAt)) {
          return { busy: 1, log: after.length, checkpointed: after.copied }
        }
        yield* Ref.set(log, { ...after, length: 0, copied: 0 })
        return { busy: 0, log: 0, checkpointed: 0 }
      })
      const answer = Effect.fnUntraced(function* (mode: Checkpoint.CheckpointMode) {
        switch (behaviour.next()) {
          case "copies":
            return yield* copy(mode)
          case "is slow": // longer than a closing guard waits
            yield* Effect.sleep("7 seconds")
            return yield* copy(mode)
          case "is busy":
            return { busy: 1, log: -1, checkpointed: -1 }
          case "fails":
            return yield* Effect.fail(Object.assign(new Error("disk I/O error"), { errcode: 10 }))
          case "dies":
            return yield* Effect.die(new Error("no such thing"))
          case "hangs":
            return yield* Effect.never
        }
      })
      const run = Effect.fnUntraced(function* (mode: Checkpoint.CheckpointMode) {
        const index = (yield* Ref.get(runs)).length
        const start = yield* Clock.currentTimeMillis
        yield* Ref.update(runs, (all) => [...all, { mode, start, end: Option.none() }])
        const note = Effect.flatMap(Clock.currentTimeMillis, (end) =>
          Ref.update(runs, (all) => all.with(index, { mode, start, end: Option.some(end) })),
        )
        return yield* CheckpointRun.run(mode, { checkpoint: answer(mode), writerBusy: Effect.succeed(false) }).pipe(
          Effect.ensuring(note),
        )
      })
      const frames = Effect.map(Ref.get(log), ({ copied, length }) =>
        Option.some({ log: length, checkpointed: copied }),
      )
      return Context.make(Checkpointer.Checkpointer, {
        run: (mode) => CheckpointRun.whole(run(mode), mode, Effect.succeedSome([pinnedReader])),
        frames,
        withTurn: identity,
        lengthen: () => Effect.succeedNone,
        concurrent: Effect.succeed(true),
      }).pipe(
        Context.add(SimulatedLog, {
          log: Ref.get(log),
          runs: Ref.get(runs),
          commit,
          pin: Ref.update(log, (now): Log => ({ ...now, pinnedAt: Option.some(now.length) })),
          unpin: Ref.update(log, (now): Log => ({ ...now, pinnedAt: Option.none() })),
        }),
      )
    }),
  ).pipe(Layer.provideMerge(pretended))
