/**
 * The address under which a process that only reads opens a database, whatever state it is in, so that no file beside it is
 * written and, as a rule, none is created. Only for a process that has no connection to it yet.
 *
 * Imports single modules: the processes that use it start in a fraction of the time that all of Effect takes.
 * https://www.sqlite.org/uri.html#uriimmutable
 */
import * as fs from "node:fs"
import { pathToFileURL } from "node:url"
import { connectedIn } from "../LockTable.ts"

const sizeOf = (file: string) => fs.statSync(file, { throwIfNoEntry: false })?.size

/** Before there is a connection: closing a descriptor would drop its locks. */
const isWal = (file: string) => {
  const version = new Uint8Array(1)
  const descriptor = fs.openSync(file, "r")
  fs.readSync(descriptor, version, 0, 1, 19)
  fs.closeSync(descriptor)
  return version[0] === 2
}

/** Whether a process has the log's index open: it holds a lock on it. Where that is unknown (no Linux), a log is held. */
const isHeld = (file: string) => {
  if (!fs.existsSync("/proc/locks")) return fs.existsSync(`${file}-wal`)
  const inode = String(fs.statSync(`${file}-shm`).ino)
  return connectedIn(fs.readFileSync("/proc/locks", "utf8"), inode).length > 0
}

export interface Address {
  readonly url: URL
  /** Nobody has it open, and it is read without a lock: somebody who opens it meanwhile is not noticed by SQLite. */
  readonly isImmutable: boolean
  readonly isWal: boolean
}

/**
 * - No WAL mode: a plain open, which creates nothing and heeds locks and a journal.
 * - No log: `immutable`, because a plain open would create `-wal` and `-shm` and leave them.
 * - A log that nobody has open: `readonly_shm`, which builds the index in memory and leaves the one in the file as it is.
 * - Else a plain open. Only beside a log without an index it creates a file, the index.
 */
export const address = (named: string): Address => {
  const file = fs.realpathSync(named) // its log stands beside what a symbolic link leads to
  const url = pathToFileURL(file)
  const log = sizeOf(`${file}-wal`) ?? 0
  const wal = isWal(file) || log > 0
  const plain = { url, isImmutable: false, isWal: wal }
  if (!wal) return plain
  const index = sizeOf(`${file}-shm`)
  const held = index !== undefined && isHeld(file)
  if (held) return plain
  if (log === 0) {
    url.searchParams.set("immutable", "1")
    return { ...plain, isImmutable: true }
  }
  if (index !== undefined) url.searchParams.set("readonly_shm", "1")
  return plain
}
