/** Databases in folders of their own, which go away with the scope: real SQLite files for tests in virtual time. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, FileSystem, Layer } from "effect"
import { Database, type DatabaseOptions } from "../sqlite/Database.ts"
import { Fdatasync } from "../sqlite/LogSync.ts"

/** A new folder, removed when the scope closes. */
export const temporaryFolder = FileSystem.FileSystem.use((fs) =>
  fs.makeTempDirectoryScoped({ prefix: "seawall-" }),
).pipe(Effect.provide(NodeFileSystem.layer))

/** A path in a new folder; nothing is there yet. */
export const temporaryFile = Effect.map(temporaryFolder, (folder) => `${folder}/test.db`)

/** Log syncs off the event loop that do nothing, at once: in virtual time nothing may wait for a real disk. */
export const quickDisk: Layer.Layer<never> = Layer.succeed(Fdatasync, () => Effect.void)

/** A database that waits for nothing real on a guard's behalf: its file needs no sync, and nobody else has it open. @internal */
export const alone = <A, E, R>(database: Layer.Layer<A | Database, E, R>) =>
  Layer.effect(
    Database,
    Effect.map(Database, (real) => ({
      ...real,
      syncFile: Effect.void,
      others: Effect.succeedSome([]),
      lockHolders: Effect.succeedSome([]),
    })),
  ).pipe(Layer.provideMerge(database))

/**
 * `Database.layer` on a file in a folder of its own and on a quick disk, with these options; closed, it is removed. Whatever a
 * guard asks of it is answered at once, and it never sees another process.
 */
export const temporaryDatabase = (options: Partial<DatabaseOptions> = {}) =>
  Layer.unwrap(Effect.map(temporaryFile, (file) => Database.layer({ file, ...options }))).pipe(
    Layer.provide(quickDisk),
    alone,
  )
