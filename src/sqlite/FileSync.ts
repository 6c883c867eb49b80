/**
 * Syncs a database's main file from the thread pool, without SQLite and without the event loop.
 *
 * A checkpoint that a writer overtook has not synced the database; the one that catches up pays for all of them. Syncing
 * in between spreads that. It decides nothing: SQLite still syncs whatever it relies on, on its own descriptor.
 *
 * The descriptor is opened on the main thread, used for nothing but syncing, shared by all who ask for the same file
 * (device and inode), and closed by the last connection to that file, after its own end: closing any descriptor of a file drops
 * every lock that the process holds on it. https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
 */
import { Effect, Schema } from "effect"
import type { Identity } from "../files/DatabaseFile.ts"
import * as SystemError from "../files/SystemError.ts"
import * as fs from "node:fs"

/** A file that could not be synced: what was written to it may be lost in a power cut. */
export class FileSyncError extends Schema.TaggedError<FileSyncError>()("FileSyncError", {
  file: Schema.String,
  cause: Schema.Defect(),
}) {
  override get message() {
    return `cannot sync ${this.file}: ${SystemError.wordsOf(this.cause)}`
  }
}

interface Syncing {
  readonly descriptor: number
  /** Syncs that have not come back: their descriptor's number must not become another file's. */
  underWay: number
  /** Nothing has the file open any more. */
  isOver: boolean
  /** A connection that Seawall does not close may outlive every one that it does. */
  isPinned: boolean
}

const files = new Map<Identity, Syncing>()

const closeIfOver = (identity: Identity, it: Syncing) => {
  if (!it.isOver || it.underWay > 0 || it.isPinned) return
  if (files.get(identity) === it) files.delete(identity)
  fs.closeSync(it.descriptor)
}

/** Closes the descriptor. Call it when this process has no connection to the file any more. */
export const release = (identity: Identity): void => {
  const it = files.get(identity)
  if (it === undefined) return
  it.isOver = true
  closeIfOver(identity, it)
}

/** A descriptor that is opened for a name is of the file that has it at that moment. */
const syncingOf = (file: string): readonly [Identity, Syncing] => {
  const { dev, ino } = fs.statSync(file, { bigint: true })
  const identity = `${dev}:${ino}`
  const known = files.get(identity)
  if (known !== undefined) {
    known.isOver = false
    return [identity, known]
  }
  const opened: Syncing = { descriptor: fs.openSync(file, "r"), underWay: 0, isOver: false, isPinned: false }
  files.set(identity, opened)
  return [identity, opened]
}

/** The descriptor stays open as long as the process: a client of the caller's own has the file open, and may keep it. */
export const pin = (file: string): Effect.Effect<void, FileSyncError> =>
  Effect.try({
    try: () => {
      syncingOf(file)[1].isPinned = true
    },
    catch: (cause) => new FileSyncError({ file, cause }),
  })

/** Everything written to the file before this starts is on disk when it succeeds. */
export const sync = (file: string): Effect.Effect<void, FileSyncError> =>
  Effect.try({ try: () => syncingOf(file), catch: (cause) => new FileSyncError({ file, cause }) }).pipe(
    Effect.flatMap(([identity, it]) =>
      Effect.callback<void, FileSyncError>((resume) => {
        it.underWay += 1
        fs.fsync(it.descriptor, (cause) => {
          it.underWay -= 1
          closeIfOver(identity, it)
          resume(cause === null ? Effect.void : Effect.fail(new FileSyncError({ file, cause })))
        })
      }),
    ),
  )
