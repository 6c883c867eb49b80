/**
 * The database files that this process has open, by device and inode: whoever reads files as bytes asks here first,
 * because POSIX drops all of a process's locks on a file when any descriptor for it is closed.
 * https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
 *
 * Knows what Seawall opened, on every system; a connection of somebody else's it does not know. Touches nothing but `stat`.
 */
import { Effect, type Scope } from "effect"
import { constVoid } from "effect/Function"
import { type DatabaseFile, type Identity, look } from "../files/DatabaseFile.ts"

interface Entry {
  readonly file: string
  /** Not yet known of a file that is only now created. */
  identity: string | undefined
}

/** One for each registration, so that a file counts until the last of them has ended. */
const entries = new Set<Entry>()

/** A file that counts as open here. */
export interface Registration {
  /** Which file it is, of one that was created only now. */
  readonly identify: (identity: Identity) => void
  /** Its connection stays open until the process ends, and so does the file count. */
  readonly keep: () => void
}

/**
 * The file counts as open here until the scope closes. Call it before the connection is opened, in the scope that closes
 * after the connection: there is then no moment at which it is open and does not count. `lastOut` runs when nothing that is known
 * here has the file open any more.
 */
export const register = (
  file: string,
  lastOut: (identity: Identity) => void = constVoid,
): Effect.Effect<Registration, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const entry: Entry = { file, identity: look(file)?.identity }
      entries.add(entry)
      let isKept = false
      return {
        entry,
        isKept: () => isKept,
        keep: () => void (isKept = true),
        identify: (identity: Identity) => void (entry.identity = identity),
      }
    }),
    ({ entry, isKept }) =>
      Effect.sync(() => {
        if (isKept()) return
        const { identity } = entry
        entries.delete(entry)
        const isLast = identity !== undefined && [...entries].every((other) => identityOf(other) !== identity)
        if (isLast) lastOut(identity)
      }),
  )

const identityOf = (entry: Entry) => (entry.identity ??= look(entry.file)?.identity)

/** Whether this process has it open, by whatever path it was opened. */
export const isOpen = (file: string): Effect.Effect<boolean> =>
  Effect.sync(() => {
    const wanted = look(file)?.identity
    for (const entry of entries) {
      if (wanted !== undefined && identityOf(entry) === wanted) return true
    }
    return false
  })

/** Another path under which this process has that very file open: SQLite would keep a second WAL for it. */
export const otherNameOf = ({ found, path }: DatabaseFile): string | undefined => {
  if (found === undefined) return undefined
  for (const entry of entries) {
    if (identityOf(entry) === found.identity && entry.file !== path) return entry.file
  }
  return undefined
}
