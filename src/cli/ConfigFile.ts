/** The text of a configuration file. */
import { Effect, FileSystem, Stream } from "effect"
import { EngineConfigError, mostText } from "../engine/EngineConfig.ts"
import * as SystemError from "../files/SystemError.ts"

/** No more than a configuration may have: it may be a device that never ends. */
export const read = (source: string) =>
  FileSystem.FileSystem.use((fs) =>
    Stream.mkString(Stream.decodeText(fs.stream(source, { bytesToRead: 4 * mostText }))),
  ).pipe(
    Effect.mapError(
      (error) => new EngineConfigError({ source, problems: [{ path: "file", message: SystemError.wordsOf(error) }] }),
    ),
  )
