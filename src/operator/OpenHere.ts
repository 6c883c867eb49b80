/**
 * Refuses to look at a database that this process has open itself: to read its files as bytes means to close them again,
 * which drops all locks of the process. https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
 */
import { Effect, FileSystem, Schema } from "effect"
import * as OpenFiles from "../sqlite/OpenFiles.ts"

/** Asked for in a process that has the database open: nothing was touched. */
export class OpenHereError extends Schema.TaggedError<OpenHereError>()("OpenHereError", { file: Schema.String }) {
  override get message() {
    return `this process has ${this.file} open itself, and a look at the files would drop its locks; look from another process`
  }
}

/** A connection that Seawall did not open is found by its log's index, which whoever is connected to a log has open (Linux). */
const hasIndexOpen = Effect.fnUntraced(function* (target: string) {
  const fs = yield* FileSystem.FileSystem
  const descriptors = yield* Effect.orElseSucceed(fs.readDirectory("/proc/self/fd"), () => [])
  for (const descriptor of descriptors) {
    const link = yield* Effect.orElseSucceed(fs.readLink(`/proc/self/fd/${descriptor}`), () => "")
    if (link === `${target}-shm`) return true
  }
  return false
})

/** Succeeds when the files may be read as bytes. */
export const refuse = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const target = yield* Effect.orElseSucceed(fs.realPath(file), () => file)
  if ((yield* OpenFiles.isOpen(target)) || (yield* hasIndexOpen(target))) return yield* new OpenHereError({ file })
})
