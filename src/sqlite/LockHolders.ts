/**
 * Who holds which lock of a database's log: the other processes with a lock on its `-shm`, from `/proc/locks` (Linux).
 *
 * Reading `/proc/locks` and `stat` touch no file of SQLite. A mark in `-shm` is no proof of a live reader; the lock is.
 * Locks of other PID namespaces may be invisible, so an empty answer is "unknown", never "nobody".
 * https://www.sqlite.org/walformat.html#wal_locks
 */
import { Effect, FileSystem, Option } from "effect"
import { holdersIn, type LockHolder } from "./LockTable.ts"

/** The processes that hold a lock of this database's log now, without this one. This process must have it open. */
export const lockHolders = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const shm = yield* Effect.option(fs.stat(`${file}-shm`))
  const inode = Option.flatMap(shm, ({ ino }) => ino)
  if (Option.isNone(inode)) return []
  const table = yield* Effect.orElseSucceed(fs.readFileString("/proc/locks"), () => "")
  return yield* Effect.forEach(holdersIn(table, String(inode.value), process.pid), (holder) =>
    Effect.map(
      Effect.orElseSucceed(fs.readFileString(`/proc/${holder.pid}/comm`), () => "unknown"),
      (command): LockHolder => ({ ...holder, command: command.trim() }),
    ),
  )
})
