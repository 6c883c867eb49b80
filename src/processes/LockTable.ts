/**
 * The system's table of file locks (`/proc/locks`, Linux), and what it says about the WAL of a database: the locks of a WAL
 * are bytes of its index, the `-shm` file. Parses text only.
 *
 * A line names a file as `major:minor:inode`. An inode number alone is no file: another file system may have the same one.
 * The device is the kernel's, which `stat` does not tell on every file system (btrfs, overlayfs).
 * https://www.sqlite.org/walformat.html#wal_locks
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Identity } from "../files/DatabaseFile.ts"

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

/** Every process that is connected to a WAL holds it. */
const deadMansSwitch = 128

/** A lock of a WAL; `read0` to `read4` are the slots of readers. */
export const WalLock = Schema.Literals(Object.values(byByte))
export type WalLock = typeof WalLock.Type

/** A process that holds a lock of a WAL; `command` is its command line, of at most 200 characters. */
export const LockHolder = Schema.Struct({ pid: Schema.Int, command: Schema.String, lock: WalLock })
export type LockHolder = typeof LockHolder.Type

/** A lock that is held. */
export interface Line {
  readonly pid: number
  /** `major:minor:inode`, as the kernel writes it. */
  readonly file: string
  readonly start: number
  readonly end: number
}

const parse = (line: string): ReadonlyArray<Line> => {
  const found = /^\d+: POSIX +\S+ +(?:READ|WRITE) +(\d+) +([\da-f]+:[\da-f]+:\d+) +(\d+) +(\d+)$/.exec(line)
  if (found === null) return []
  const [, pid = "", file = "", start = "", end = ""] = found
  return [{ pid: Number(pid), file, start: Number(start), end: Number(end) }]
}

const covers = ({ start, end }: Line, byte: number) => start <= byte && byte <= end

/** Neighbouring locks of a process are one line. The table is no snapshot: a lock that comes and goes can be in it twice. */
export const locksOf = (lines: ReadonlyArray<Line>, pid: number): ReadonlyArray<WalLock> =>
  Object.entries(byByte).flatMap(([byte, lock]) =>
    lines.some((line) => line.pid === pid && covers(line, Number(byte))) ? [lock] : [],
  )

/** The processes that are connected, whose user may be any: the table names also those whose descriptors cannot be seen. */
export const connected = (lines: ReadonlyArray<Line>): ReadonlyArray<number> => [
  ...new Set(lines.filter((line) => covers(line, deadMansSwitch)).map(({ pid }) => pid)),
]

const hex = (n: bigint) => n.toString(16).padStart(2, "0")

/** How the kernel writes a file of this identity, where it has the device that `stat` tells. The bits are those of glibc. */
const spellingOf = (identity: Identity): string => {
  const [dev = 0n, inode = 0n] = identity.split(":").map(BigInt)
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn)
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn)
  return `${hex(major)}:${hex(minor)}:${inode}`
}

/** The lines of one file in a table. */
export interface Lines {
  readonly certain: ReadonlyArray<Line>
  /** They have its inode number, on a device that cannot be compared; none of them when some are certain. */
  readonly uncertain: ReadonlyArray<Line>
}

/** The lines of a table by the inode number of their file: for one that many files are looked up in. */
export type Table = ReadonlyMap<string, ReadonlyArray<Line>>

const inodeOf = (file: string) => file.slice(file.lastIndexOf(":") + 1)

export const tableOf = (text: string): Table =>
  Map.groupBy(text.split("\n").flatMap(parse), ({ file }) => inodeOf(file))

/**
 * The file is recognised by its device where the kernel writes the one that `stat` tells, else by the line of a process that
 * is connected to it (`self`), if that process has one file of this number only.
 */
export const linesOf = (table: string | Table, identity: Identity, self: number): Lines => {
  const spelling = spellingOf(identity)
  const lines = (typeof table === "string" ? tableOf(table) : table).get(inodeOf(spelling)) ?? []
  const of = (file: string | undefined) => lines.filter((line) => line.file === file)
  const byDevice = of(spelling)
  if (byDevice.length > 0) return { certain: byDevice, uncertain: [] }
  const own = lines.filter((line) => line.pid === self && covers(line, deadMansSwitch)).map(({ file }) => file)
  const byOwnLine = new Set(own).size === 1 ? of(own[0]) : []
  return byOwnLine.length > 0 ? { certain: byOwnLine, uncertain: [] } : { certain: [], uncertain: lines }
}

/** The holders of locks without this process; none when no line is certain, for then no lock can be told from another file's. */
export const holdersIn = (
  table: string,
  identity: Identity,
  self: number,
): Option.Option<ReadonlyArray<Omit<LockHolder, "command">>> => {
  const { certain } = linesOf(table, identity, self)
  if (certain.length === 0) return Option.none()
  const pids = new Set(certain.map(({ pid }) => pid))
  pids.delete(self)
  return Option.some([...pids].flatMap((pid) => locksOf(certain, pid).map((lock) => ({ pid, lock }))))
}
