/**
 * The system's table of file locks (`/proc/locks`, Linux), and what it says about the log of a database: its locks are bytes
 * of the `-shm` file. Reading the table touches no file of SQLite.
 * https://www.sqlite.org/walformat.html#wal_locks
 */
import * as Schema from "effect/Schema"

/** The locks by their bytes in the `-shm` file. A reader in slot 0 reads the database file alone. */
const byByte = {
  120: "write",
  121: "checkpoint",
  122: "recover",
  123: "read0",
  124: "read1",
  125: "read2",
  126: "read3",
  127: "read4",
} as const

/** Held by everybody who has the database open. */
const deadMansSwitch = 128

/** A lock of a log; `read0` to `read4` are the slots of readers. */
export const WalLock = Schema.Literals(Object.values(byByte))
export type WalLock = typeof WalLock.Type

/** A process that holds a lock of a log; `command` is the kernel's name of it, of at most 15 characters. */
export const LockHolder = Schema.Struct({ pid: Schema.Int, command: Schema.String, lock: WalLock })
export type LockHolder = typeof LockHolder.Type

interface Line {
  readonly pid: number
  readonly file: string
  readonly inode: string
  readonly start: number
  readonly end: number
}

const parse = (line: string): ReadonlyArray<Line> => {
  const found = /^\d+: POSIX +\S+ +(?:READ|WRITE) +(\d+) +([\da-f]+:[\da-f]+:(\d+)) +(\d+) +(\d+)$/.exec(line)
  if (found === null) return []
  const [, pid = "", file = "", inode = "", start = "", end = ""] = found
  return [{ pid: Number(pid), file, inode, start: Number(start), end: Number(end) }]
}

const covers = ({ start, end }: Line, byte: number) => start <= byte && byte <= end

/** Neighbouring locks of a process are one line. The table is no snapshot: a lock that comes and goes can be in it twice. */
const locksOf = (lines: ReadonlyArray<Line>): ReadonlyArray<WalLock> =>
  Object.entries(byByte).flatMap(([byte, lock]) => (lines.some((line) => covers(line, Number(byte))) ? [lock] : []))

/**
 * The locks of one process that is known to have the file open: there `inode` is enough to recognise it, because hardly any
 * program has files of two file systems open that have the same number and are locked at the same bytes.
 */
export const locksIn = (table: string, inode: string, pid: number): ReadonlyArray<WalLock> =>
  locksOf(
    table
      .split("\n")
      .flatMap(parse)
      .filter((line) => line.pid === pid && line.inode === inode),
  )

/**
 * The processes that are connected to the log whose `-shm` has this number, whoever runs them: the table names also those
 * of other users, whose descriptors cannot be seen.
 */
export const connectedIn = (table: string, inode: string): ReadonlyArray<number> => {
  const lines = table.split("\n").flatMap(parse)
  return [
    ...new Set(lines.filter((line) => line.inode === inode && covers(line, deadMansSwitch)).map(({ pid }) => pid)),
  ]
}

/**
 * The holders in a table of locks, without this process. The file is recognised by this process's own line, because
 * `major:minor` there is not what `stat` says on every file system.
 */
export const holdersIn = (table: string, inode: string, self: number): ReadonlyArray<Omit<LockHolder, "command">> => {
  const lines = table.split("\n").flatMap(parse)
  const own = lines.find((line) => line.pid === self && line.inode === inode && covers(line, deadMansSwitch))
  if (own === undefined) return []
  const others = lines.filter((line) => line.file === own.file && line.pid !== self)
  return [...new Set(others.map(({ pid }) => pid))].flatMap((pid) =>
    locksOf(others.filter((line) => line.pid === pid)).map((lock) => ({ pid, lock })),
  )
}
