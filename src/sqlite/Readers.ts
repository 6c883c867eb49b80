/**
 * Who holds a snapshot of a database: the processes with a read lock on its `-shm`, from `/proc/locks` (Linux).
 *
 * Reading `/proc/locks` and `stat` touch no file of SQLite. A mark in `-shm` is no proof of a live reader; the lock is.
 * Locks of other PID namespaces may be invisible, so an empty answer is "unknown", never "nobody".
 * https://www.sqlite.org/walformat.html#wal_locks
 */
import { Effect, FileSystem, Option, Schema } from "effect"

/** A process that reads. `slot` is its read mark (0 to 4): in slot 0 it reads the database file alone. */
export const Reader = Schema.Struct({ pid: Schema.Int, command: Schema.String, slot: Schema.Int })
export type Reader = typeof Reader.Type

/** Lock bytes of the `-shm` file: READ0 to READ4, and the one that everybody who has it open holds. */
const read0 = 123
const readSlots = 5
const deadMansSwitch = 128

interface Lock {
  readonly pid: number
  readonly file: string
  readonly inode: string
  readonly start: number
  readonly end: number
}

const parse = (line: string): ReadonlyArray<Lock> => {
  const found = /^\d+: POSIX +\S+ +(?:READ|WRITE) +(\d+) +([\da-f]+:[\da-f]+:(\d+)) +(\d+) +(\d+)$/.exec(line)
  if (found === null) return []
  const [, pid = "", file = "", inode = "", start = "", end = ""] = found
  return [{ pid: Number(pid), file, inode, start: Number(start), end: Number(end) }]
}

/**
 * The readers in a table of locks, without this process. The file is recognised by this process's own line, because
 * `major:minor` there is not what `stat` says on every file system. Neighbouring locks of a process are one line.
 */
export const readersIn = (table: string, inode: string, self: number): ReadonlyArray<Omit<Reader, "command">> => {
  const locks = table.split("\n").flatMap(parse)
  const covers = ({ start, end }: Lock, byte: number) => start <= byte && byte <= end
  const own = locks.find((lock) => lock.pid === self && lock.inode === inode && covers(lock, deadMansSwitch))
  if (own === undefined) return []
  const slots = Array.from({ length: readSlots }, (_, slot) => slot)
  const found = locks
    .filter((lock) => lock.file === own.file && lock.pid !== self)
    .flatMap((lock) => slots.filter((slot) => covers(lock, read0 + slot)).map((slot) => ({ pid: lock.pid, slot })))
  // The table is no snapshot: a lock can be in it twice when others come and go while it is read.
  return [...new Map(found.map((reader) => [`${reader.pid} ${reader.slot}`, reader])).values()]
}

/** The processes that read this database now, without this one. This process must have it open. */
export const readers = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const shm = yield* Effect.option(fs.stat(`${file}-shm`))
  const inode = Option.flatMap(shm, ({ ino }) => ino)
  if (Option.isNone(inode)) return []
  const table = yield* Effect.orElseSucceed(fs.readFileString("/proc/locks"), () => "")
  return yield* Effect.forEach(readersIn(table, String(inode.value), process.pid), (reader) =>
    Effect.map(
      Effect.orElseSucceed(fs.readFileString(`/proc/${reader.pid}/comm`), () => "unknown"),
      (command): Reader => ({ ...reader, command: command.trim() }),
    ),
  )
})
