/**
 * The database files that this process has open, by device and inode: whoever reads files as bytes asks here first,
 * because POSIX drops all of a process's locks on a file when any descriptor for it is closed.
 * https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
 *
 * Knows what Seawall opened, on every system; a connection of somebody else's it does not know. Touches nothing but `stat`.
 */
import { Effect, type Scope } from "effect"
import * as fs from "node:fs"

interface Entry {
  readonly file: string
  /** Not yet known of a file that is only now created. */
  identity: string | undefined
}

/** One for each registration, so that a file counts until the last of them has ended. */
const entries = new Set<Entry>()

const identityOf = (file: string): string | undefined => {
  const found = fs.statSync(file, { bigint: true, throwIfNoEntry: false })
  return found === undefined ? undefined : `${found.dev}:${found.ino}`
}

/** What is at this path now; undefined when nothing is, or nothing that can be seen. */
const seenAt = (file: string): Effect.Effect<string | undefined> =>
  Effect.orElseSucceed(
    Effect.try(() => identityOf(file)),
    () => undefined,
  )

/**
 * The file counts as open here until the scope closes. Call it before the connection is opened, in the scope that closes
 * after the connection: there is then no moment at which it is open and does not count.
 */
export const register = (file: string): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.map(seenAt(file), (identity) => {
        const entry: Entry = { file, identity }
        entries.add(entry)
        return entry
      }),
      (entry) => Effect.sync(() => entries.delete(entry)),
    ),
  )

/** Whether this process has it open, by whatever path it was opened. */
export const isOpen = Effect.fnUntraced(function* (file: string) {
  const wanted = yield* seenAt(file)
  for (const entry of entries) {
    entry.identity ??= yield* seenAt(entry.file)
    if (wanted !== undefined && entry.identity === wanted) return true
  }
  return false
})
