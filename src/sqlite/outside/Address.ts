/**
 * Where SQLite opens a database of which this process only reads, and has no connection to it yet: the situations in which
 * a database can be, and the one place that says what SQLite is asked for in each.
 *
 * Imports single modules: the processes that use it start in a fraction of the time that all of Effect takes.
 */
import * as fs from "node:fs"
import { pathToFileURL } from "node:url"
import * as DatabaseFile from "../../files/DatabaseFile.ts"
import { connected, linesOf } from "../../processes/LockTable.ts"

/**
 * - `Open`: read like any other connection. Its locks and a journal are heeded, and it is also right for what has no WAL at
 *   all. Only beside a WAL without an index it creates a file, the index.
 * - `OpenBriefly`: a process has it open in WAL mode and must not be disturbed. The reader holds one slot and nothing
 *   else of the WAL: it sets no mark, recovers no WAL that its last process left meanwhile and creates no `-shm`. A header that it
 *   meets while it is written is the exception: SQLite then probes the writer's lock, for microseconds, and may say
 *   SQLITE_READONLY; ask again. Close it at once: a reader keeps the WAL, and a program that closes the database beside it leaves
 *   the sidecars.
 * - `AtRest`: no process has it open and no WAL is left. A plain open would create `-wal` and `-shm`, and leave them; this takes
 *   no lock, reads no WAL and creates nothing. SQLite does not notice a process that opens the database meanwhile.
 * - `WalLeft`: no process has it open, and a WAL was left with its index. The index is rebuilt in memory, and the one in the
 *   file stays as it is.
 */
export type Situation = "Open" | "OpenBriefly" | "AtRest" | "WalLeft"

/** https://www.sqlite.org/uri.html#uriimmutable, https://www.sqlite.org/wal.html#read_only_databases */
const parameter: Readonly<Record<Situation, "immutable" | "readonly_shm" | undefined>> = {
  Open: undefined,
  OpenBriefly: "readonly_shm",
  AtRest: "immutable",
  WalLeft: "readonly_shm",
}

/** `file` is the file itself: its WAL stands beside what a symbolic link leads to. */
export const urlOf = (file: string, situation: Situation): URL => {
  const url = pathToFileURL(file)
  const name = parameter[situation]
  if (name !== undefined) url.searchParams.set(name, "1")
  return url
}

/** Before there is a connection: closing a descriptor would drop its locks. */
const saysWal = (file: string) => {
  const version = new Uint8Array(1)
  const descriptor = fs.openSync(file, "r")
  fs.readSync(descriptor, version, 0, 1, 19)
  fs.closeSync(descriptor)
  return version[0] === 2
}

/** Whether a process is connected to the WAL, or may be: it holds a lock of it. Where locks cannot be seen (no Linux), a WAL is held. */
const isHeld = ({ shm, wal }: DatabaseFile.DatabaseFile) => {
  if (!fs.existsSync("/proc/locks")) return fs.existsSync(wal)
  const index = DatabaseFile.look(shm)
  if (index === undefined) return false
  const { certain, uncertain } = linesOf(fs.readFileSync("/proc/locks", "utf8"), index.identity, process.pid)
  return connected([...certain, ...uncertain]).length > 0
}

export interface Address {
  readonly url: URL
  readonly situation: Exclude<Situation, "OpenBriefly">
  readonly isWal: boolean
}

/** Looks by itself in which situation a database is, whatever state it is in. Throws what the system says of the file. */
export const address = (named: string): Address => {
  const file = DatabaseFile.resolve(named)
  const log = DatabaseFile.look(file.wal)?.bytes ?? 0
  const isWal = saysWal(file.path) || log > 0
  const as = (situation: Address["situation"]) => ({ url: urlOf(file.path, situation), situation, isWal })
  if (!isWal) return as("Open")
  const hasIndex = DatabaseFile.look(file.shm) !== undefined
  if (hasIndex && isHeld(file)) return as("Open")
  if (log === 0) return as("AtRest")
  return as(hasIndex ? "WalLeft" : "Open")
}
