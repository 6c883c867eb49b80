/**
 * Syncs a database's main file from the thread pool, without SQLite and without the event loop.
 *
 * A checkpoint that a writer overtook has not synced the database; the one that catches up pays for all of them. Syncing
 * in between spreads that. It decides nothing: SQLite still syncs whatever it relies on, on its own descriptor.
 *
 * The descriptor is opened on the main thread, used for nothing but syncing, shared by all who ask for the same file
 * (device and inode), and never closed while the process lives: closing any descriptor of a file drops every lock that
 * the process holds on it. https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
 */
import { Effect, Schema } from "effect"
import * as fs from "node:fs"

/** A file that could not be synced: what was written to it may be lost in a power cut. */
export class FileSyncError extends Schema.TaggedError<FileSyncError>()("FileSyncError", {
  file: Schema.String,
  cause: Schema.Defect(),
}) {
  override get message() {
    return `cannot sync ${this.file}: ${this.cause instanceof Error ? this.cause.message : String(this.cause)}`
  }
}

const descriptors = new Map<string, number>()

const descriptorOf = (file: string): number => {
  const { dev, ino } = fs.statSync(file, { bigint: true })
  const key = `${dev}:${ino}`
  const known = descriptors.get(key)
  if (known !== undefined) return known
  const opened = fs.openSync(file, "r")
  descriptors.set(key, opened)
  return opened
}

/** Everything written to the file before this starts is on disk when it succeeds. */
export const sync = (file: string): Effect.Effect<void, FileSyncError> =>
  Effect.try({ try: () => descriptorOf(file), catch: (cause) => new FileSyncError({ file, cause }) }).pipe(
    Effect.flatMap((descriptor) =>
      Effect.callback<void, FileSyncError>((resume) => {
        fs.fsync(descriptor, (cause) => {
          resume(cause === null ? Effect.void : Effect.fail(new FileSyncError({ file, cause })))
        })
      }),
    ),
  )
