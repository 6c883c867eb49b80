/**
 * The database files that this process has open, by device and inode: code that reads files as bytes asks here first,
 * because POSIX drops all of a process's locks on a file when any descriptor for it is closed.
 * https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
 *
 * Knows what Seawall opened, on every system; a connection that Seawall did not open it knows by its index, on Linux and in
 * WAL mode alone. Touches nothing but `stat` and `/proc`.
 */
import { Effect, FileSystem, Schema, type Scope } from "effect"
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
interface Registration {
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

/** Another path under which this process has that very file open: SQLite would keep a second WAL for it. */
export const otherNameOf = ({ found, path }: DatabaseFile): string | undefined => {
  if (found === undefined) return undefined
  for (const entry of entries) {
    if (identityOf(entry) === found.identity && entry.file !== path) return entry.file
  }
  return undefined
}

/** How many registrations of this process have it open, by whatever path it was opened. */
export const timesOpen = (file: string): Effect.Effect<number> =>
  Effect.sync(() => {
    const wanted = look(file)?.identity
    return wanted === undefined ? 0 : [...entries].filter((entry) => identityOf(entry) === wanted).length
  })

/** Whether this process has it open, by whatever path it was opened. */
export const isOpen = (file: string): Effect.Effect<boolean> => Effect.map(timesOpen(file), (times) => times > 0)

/** The process that asked has the database open: nothing was touched. */
export class OpenHereError extends Schema.TaggedError<OpenHereError>()("OpenHereError", { file: Schema.String }) {
  override get message() {
    return `this process has ${this.file} open itself, and a look at the files would drop its locks; look from another process`
  }
}

/** Whether this process is connected to the WAL: a connection has the index open. */
const hasIndexOpen = Effect.fnUntraced(function* ({ shm }: DatabaseFile) {
  const fs = yield* FileSystem.FileSystem
  const index = look(shm)?.identity
  if (index === undefined) return false
  const descriptors = yield* Effect.orElseSucceed(fs.readDirectory("/proc/self/fd"), () => [])
  return descriptors.some((descriptor) => look(`/proc/self/fd/${descriptor}`)?.identity === index)
})

/** Succeeds when this process may read the files as bytes. */
export const ensureNotOpenHere = Effect.fnUntraced(function* (file: DatabaseFile) {
  if ((yield* isOpen(file.path)) || (yield* hasIndexOpen(file))) return yield* new OpenHereError({ file: file.given })
})
