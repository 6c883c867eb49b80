/** Databases in temporary folders that go away with the test's scope. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, FileSystem, Layer } from "effect"
import { Database, type DatabaseOptions } from "../../src/sqlite/Database.ts"
import { Fdatasync } from "../../src/sqlite/LogSync.ts"

/** A new folder, removed when the scope closes. */
export const temporaryFolder = FileSystem.FileSystem.use((fs) =>
  fs.makeTempDirectoryScoped({ prefix: "seawall-" }),
).pipe(Effect.provide(NodeFileSystem.layer))

/** A path in a new folder; nothing is there yet. */
export const temporaryFile = Effect.map(temporaryFolder, (folder) => `${folder}/test.db`)

/** A disk that syncs at once: in virtual time nothing may wait for the real one. */
export const quickDisk = Layer.succeed(Fdatasync, () => Effect.void)

/** A database in a folder of its own, on a quick disk. */
export const temporaryDatabase = (options: Partial<DatabaseOptions> = {}) =>
  Layer.unwrap(Effect.map(temporaryFile, (file) => Database.layer({ file, ...options }))).pipe(Layer.provide(quickDisk))

/** The names in a folder. */
export const list = (folder: string) =>
  FileSystem.FileSystem.use((fs) => fs.readDirectory(folder)).pipe(Effect.provide(NodeFileSystem.layer))

/** The size of a file in bytes; 0 when it is not there. */
export const sizeOf = (file: string) =>
  FileSystem.FileSystem.use((fs) => fs.stat(file)).pipe(
    Effect.map(({ size }) => Number(size)),
    Effect.orElseSucceed(() => 0),
    Effect.provide(NodeFileSystem.layer),
  )
