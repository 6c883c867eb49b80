/** A disk whose syncs of the WAL are decided by the test: they wait, fail or succeed on demand. */
import { Context, Deferred, Effect, Layer } from "effect"
import * as Database from "../../src/sqlite/Database.ts"
import { Fdatasync } from "../../src/sqlite/WalSync.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"

export class ScriptedDisk extends Context.Service<
  ScriptedDisk,
  {
    /** How many syncs have started. */
    readonly started: () => number
    /** Lets the sync in flight end, and waits until the next one that is needed has started or none is. */
    readonly succeed: Effect.Effect<void>
    readonly fail: Effect.Effect<void>
  }
>()("test/ScriptedDisk") {}

/** Enough turns of the event loop foreverything that can go on to have gone on. */
export const settle = Effect.forEach(Array.from({ length: 20 }), () => Effect.yieldNow, { discard: true })

/** The disk alone. */
export const scriptedDisk = Layer.effectContext(
  Effect.sync(() => {
    const inFlight: Array<Deferred.Deferred<void, string>> = []
    let started = 0
    const end = (how: Effect.Effect<void, string>) =>
      Effect.suspend(() => {
        const sync = inFlight.shift()
        return sync === undefined
          ? Effect.die(new Error("no sync is in flight"))
          : Effect.andThen(Deferred.complete(sync, how), settle)
      })
    return Context.make(ScriptedDisk, {
      started: () => started,
      succeed: end(Effect.void),
      fail: end(Effect.fail("EIO: i/o error, fdatasync")),
    }).pipe(
      Context.add(Fdatasync, () =>
        Effect.suspend(() => {
          started++
          const sync = Deferred.makeUnsafe<void, string>()
          inFlight.push(sync)
          return Deferred.await(sync)
        }),
      ),
    )
  }),
)

/** A database in a folder of its own, on such a disk. */
export const scriptedDatabase = (options: Partial<Database.DatabaseOptions> = {}) =>
  Layer.unwrap(Effect.map(TemporaryDatabase.file, (file) => Database.layer({ filename: file, ...options }))).pipe(
    Layer.provideMerge(scriptedDisk),
  )
