/**
 * Who has a database open, seen from a process that has not: the processes with a descriptor on it, the locks that each of
 * them holds on its log, and since when it runs (Linux; nothing elsewhere).
 *
 * Only `stat` and `/proc` are used. Processes of other users and of other PID namespaces may be invisible, so an empty
 * answer is "unknown", never "nobody". https://www.sqlite.org/walformat.html#wal_locks
 */
import { Effect, FileSystem, Option } from "effect"
import { locksIn, type WalLock } from "./LockHolders.ts"
import { openedBy } from "./Sidecars.ts"

export interface Opener {
  readonly pid: number
  readonly command: string
  readonly locks: ReadonlyArray<WalLock>
  /** When the process started, in milliseconds since 1970; it may have opened the file later. */
  readonly runningSince: Option.Option<number>
}

/** Clock ticks per second of the times in `/proc`, fixed in Linux' interface for programs. */
const ticksPerSecond = 100

/** The 22nd word of `/proc/PID/stat`; the second is a name in parentheses that may hold anything. */
const startTicks = (stat: string) => Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19])

export const openers = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const read = (path: string) => Effect.orElseSucceed(fs.readFileString(path), () => "")
  const processes = yield* openedBy(file)
  if (processes.length === 0) return []
  const shm = yield* Effect.option(fs.stat(`${file}-shm`))
  const inode = Option.flatMap(shm, ({ ino }) => ino)
  const table = yield* read("/proc/locks")
  const bootSeconds = Number(/^btime (\d+)$/m.exec(yield* read("/proc/stat"))?.[1])
  return yield* Effect.forEach(
    processes,
    Effect.fnUntraced(function* ({ command, pid }) {
      const started = (bootSeconds + startTicks(yield* read(`/proc/${pid}/stat`)) / ticksPerSecond) * 1000
      return {
        pid,
        command,
        locks: Option.match(inode, { onNone: () => [], onSome: (it) => locksIn(table, String(it), pid) }),
        runningSince: Number.isFinite(started) ? Option.some(Math.round(started)) : Option.none(),
      } satisfies Opener
    }),
  )
})
