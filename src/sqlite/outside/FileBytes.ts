/**
 * Reads one of SQLite's files as bytes. Takes no lock.
 *
 * Only for a process that holds no SQLite connection to the file: POSIX drops all of a process's locks on a file when any
 * descriptor for it is closed.
 * https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
 */
import { Effect, FileSystem, Option, Schema } from "effect"
import * as SystemError from "../../files/SystemError.ts"

/** `NotAFile`: a folder, a pipe or the like. `Unreadable`: permissions or the disk; `cause` says which. */
export class FileBytesError extends Schema.TaggedError<FileBytesError>()("FileBytesError", {
  file: Schema.String,
  reason: Schema.Literals(["NotAFile", "Unreadable"]),
  cause: Schema.optionalKey(Schema.Defect()),
}) {
  override get message() {
    return this.reason === "NotAFile"
      ? `${this.file} is no regular file; give the path of a database`
      : `${this.file} could not be read; check that this user may read it, and its disk: ${SystemError.wordsOf(this.cause)}`
  }
}

export interface FileBytes {
  /** In bytes, when it was opened. */
  readonly size: number
  /** Reads on, until the buffer is full or the file ends. Returns how many bytes were read. */
  readonly readInto: (buffer: Uint8Array) => Effect.Effect<number, FileBytesError>
}

/** Opens a file until the scope closes. None when there is no such file. */
export const open = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const unreadable = (cause: unknown) => new FileBytesError({ file, reason: "Unreadable", cause })
  const opened = Effect.gen(function* () {
    // Looked at first, because opening a pipe waits for its other end.
    const { size, type } = yield* fs.stat(file)
    if (type !== "File") return yield* new FileBytesError({ file, reason: "NotAFile" })
    const handle = yield* fs.open(file, { flag: "r" })
    const readInto = Effect.fnUntraced(function* (buffer: Uint8Array) {
      let filled = 0
      while (filled < buffer.length) {
        const read = yield* Effect.mapError(handle.read(buffer.subarray(filled)), unreadable)
        if (read === 0) break
        filled += read
      }
      return filled
    })
    return Option.some<FileBytes>({ size: Number(size), readInto })
  })
  return yield* opened.pipe(
    Effect.catchReason("PlatformError", "NotFound", () => Effect.succeedNone),
    Effect.catchTag("PlatformError", (cause) => Effect.fail(unreadable(cause))),
  )
})
