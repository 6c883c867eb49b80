/** What a test looks at in a folder. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, FileSystem } from "effect"

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
