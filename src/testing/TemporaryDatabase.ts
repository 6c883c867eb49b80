/** Databases in folders of their own, which go away with the scope: real SQLite files for tests in virtual time. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Context, Effect, FileSystem, Layer } from "effect"
import * as Database from "../sqlite/Database.ts"
import { DatabaseControl } from "../sqlite/DatabaseControl.ts"
import { Fdatasync } from "../sqlite/WalSync.ts"

/** A new folder, removed when the scope closes. */
export const folder = FileSystem.FileSystem.use((fs) => fs.makeTempDirectoryScoped({ prefix: "seawall-" })).pipe(
  Effect.provide(NodeFileSystem.layer),
)

/** A path in a new folder; nothing is there yet. */
export const file = Effect.map(folder, (folder) => `${folder}/test.db`)

/** Log syncs off the event loop that do nothing, at once: in virtual time nothing may wait for a real disk. */
export const quickDisk: Layer.Layer<never> = Layer.succeed(Fdatasync, () => Effect.void)

/** A database that waits for nothing real on a guard's behalf: its file needs no sync, and no other process has it open. */
export const alone = <A, E, R>(database: Layer.Layer<A | Database.Database | DatabaseControl, E, R>) =>
  Layer.effectContext(
    Effect.gen(function* () {
      const quiet = { others: Effect.succeedSome([]), lockHolders: Effect.succeedSome([]) }
      return Context.make(Database.Database, { ...(yield* Database.Database), ...quiet }).pipe(
        Context.add(DatabaseControl, { ...(yield* DatabaseControl), syncFile: Effect.void }),
      )
    }),
  ).pipe(Layer.provideMerge(database))

/**
 * `Database.layer` on a file in a folder of its own and on a quick disk, with these options; closed, it is removed. Whatever a
 * guard asks of it is answered at once, and it never sees another process.
 */
export const layer = (options: Partial<Database.DatabaseOptions> = {}) =>
  Layer.unwrap(Effect.map(file, (filename) => Database.layer({ filename, ...options }))).pipe(
    Layer.provide(quickDisk),
    alone,
  )
