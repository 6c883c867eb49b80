/**
 * The processes that use a database, as `/proc` shows them (Linux), and the one way to name a process.
 *
 * Files are compared by device and inode, not by name: a process may know the file by another name, and may have another
 * file, or one that was deleted, under this name. `using` walks all of `/proc`, once for all that ask at about the same time;
 * `lockHolders` reads the table of locks alone, and suits a guard that asks often. Nothing here opens a file of the database.
 * Processes of other PID namespaces are invisible, and so are other users' processes until they use the WAL.
 */
import { Effect, FileSystem, Option } from "effect"
import { clean } from "../files/Printable.ts"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import { type Descriptor, descriptorsOf, mountsOf, soughtOf, type Wanted } from "./Descriptors.ts"
import {
  connected,
  holdersIn,
  type Line,
  linesOf,
  type LockHolder,
  locksOf,
  type Table,
  tableOf,
  type WalLock,
} from "./LockTable.ts"
import * as SharedWalk from "./SharedWalk.ts"

/** A process that uses a database, or another file of its name. */
export interface Process {
  readonly pid: number
  /** Its command line without control characters, at most 200 characters; else the kernel's name of it, else `unknown`. */
  readonly command: string
  /** Its command line, word by word; empty when it cannot be seen. */
  readonly words: ReadonlyArray<string>
  /** Locks on the WAL. */
  readonly locks: ReadonlyArray<WalLock>
  /** Whether it has the database open for writing; yes when that cannot be seen. */
  readonly mayWrite: boolean
  /** When the process started, in milliseconds since 1970; it may have opened the file later. */
  readonly runningSince: Option.Option<number>
  /**
   * What it has open. The first that is true:
   * - `deleted`: a deleted `-wal` or `-shm` of the database, which it goes on to use, or a deleted file of the database's name.
   * - `elsewhere`: the database by another name (a hard link, or a name from before), whose WAL is another one.
   * - `this`: the database itself, by whatever name, or a lock of its WAL.
   * - `another`: a file of the database's name that is another one. It does not use this database.
   * - `unknown`: a lock of a file that cannot be compared, and may be the index of this database's WAL.
   */
  readonly has: "this" | "another" | "elsewhere" | "deleted" | "unknown"
}

/** Whether a process uses the database, or may use it. */
export const isUsing = ({ has }: Process): boolean => has !== "another"

/** Whether a process has another file, or another WAL, open as this database: what it writes does not reach this one. */
export const hasOther = ({ has }: Process): boolean => has === "another" || has === "deleted" || has === "elsewhere"

/** What each process that was looked at has of each database. */
type Seen = ReadonlyMap<number, Option.Option<ReadonlyMap<Wanted, ReadonlyArray<Descriptor>>>>

/** @internal */
export interface Locks {
  readonly certain: ReadonlyArray<Line>
  readonly unknown: ReadonlyArray<Line>
}

/**
 * An uncertain entry of the table becomes certain through a process that has both a line and a descriptor of the index. What is
 * left may be a lock of this file only where the descriptors of its holder cannot be seen. @internal
 */
export const settle = (
  { certain, uncertain }: ReturnType<typeof linesOf>,
  hasIndex: (pid: number) => Option.Option<boolean>,
): Locks => {
  const named = uncertain.filter(({ pid }) => Option.contains(hasIndex(pid), true))
  const only = named.filter((line) => named.every(({ file, pid }) => pid !== line.pid || file === line.file))
  const files = new Set(only.map(({ file }) => file))
  return files.size > 0
    ? { certain: [...certain, ...uncertain.filter(({ file }) => files.has(file))], unknown: [] }
    : { certain, unknown: uncertain.filter(({ pid }) => Option.isNone(hasIndex(pid))) }
}

const hasOf = (pid: number, descriptors: ReadonlyArray<Descriptor>, locks: Locks): Option.Option<Process["has"]> => {
  const has = (of: Descriptor["of"]) => descriptors.some((one) => one.of === of)
  if (has("deleted sidecar") || (has("deleted") && !has("database"))) return Option.some("deleted")
  if (has("elsewhere")) return Option.some("elsewhere")
  if (has("database") || connected(locks.certain).includes(pid)) return Option.some("this")
  if (has("another")) return Option.some("another")
  return connected(locks.unknown).includes(pid) ? Option.some("unknown") : Option.none()
}

const longestCommand = 200

/** Clock ticks per second of the times in `/proc`, fixed in Linux' interface for programs. */
const ticksPerSecond = 100

/** The 22nd word of `/proc/PID/stat`; the second is a name in parentheses that may hold anything. */
const startTicks = (stat: string) => Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19])

const read = (name: string) =>
  FileSystem.FileSystem.use((fs) => Effect.orElseSucceed(fs.readFileString(name), () => ""))

const cleaned = (text: string) => clean(text).slice(0, longestCommand)

/** The kernel's name of a process is often that of a thread, so the command line comes first. */
const commandOf = Effect.fnUntraced(function* (pid: number) {
  const line = yield* read(`/proc/${pid}/cmdline`)
  const command = cleaned(line) || cleaned(yield* read(`/proc/${pid}/comm`)) || "unknown"
  return { command, words: line.split("\0").filter((word) => word !== "") }
})

/** What a process is, whatever it has open. */
const processOf = Effect.fnUntraced(function* (pid: number, bootSeconds: number) {
  const started = (bootSeconds + startTicks(yield* read(`/proc/${pid}/stat`)) / ticksPerSecond) * 1000
  const runningSince = Number.isFinite(started) ? Option.some(Math.round(started)) : Option.none()
  return { pid, ...(yield* commandOf(pid)), runningSince }
})

/** The users of one database, among the processes that were seen. */
const usersOf = (wanted: Wanted, table: Table, seen: Seen) => {
  const lines = linesOf(wanted.index === undefined ? "" : table, wanted.index ?? "", process.pid)
  const ofPid = (pid: number) =>
    Option.map(Option.flatten(Option.fromNullishOr(seen.get(pid))), (its) => its.get(wanted) ?? [])
  const locks = settle(lines, (pid) => Option.map(ofPid(pid), (them) => them.some(({ of }) => of === "index")))
  return [...seen.keys()].flatMap((pid) => {
    const descriptors = Option.getOrElse(ofPid(pid), () => [])
    const has = hasOf(pid, descriptors, locks)
    if (Option.isNone(has)) return []
    const flags = descriptors.filter(({ of }) => of === "database")
    return [
      {
        pid,
        locks: locksOf(has.value === "unknown" ? locks.unknown : locks.certain, pid),
        mayWrite: flags.length === 0 || flags.some(({ mayWrite }) => mayWrite),
        has: has.value,
      },
    ]
  })
}

interface Question {
  readonly file: DatabaseFile.DatabaseFile
  /** Whether this process is looked at, too: it may have thousands of descriptors. */
  readonly orThis: boolean
}

const walk = Effect.fnUntraced(function* (questions: ReadonlyArray<Question>) {
  const fs = yield* FileSystem.FileSystem
  const files = questions.map(({ file }) => file)
  const sought = soughtOf(files, yield* mountsOf("self"))
  const table = tableOf(yield* read("/proc/locks"))
  const names = yield* Effect.orElseSucceed(fs.readDirectory("/proc"), () => [])
  const locking = sought.all.flatMap(({ index }) => table.get(index?.split(":")[1] ?? "") ?? [])
  const pids = new Set([...names.filter((name) => /^\d+$/.test(name)).map(Number), ...locking.map(({ pid }) => pid)])
  // A line that is uncertain may become certain by what this process has open.
  const isUncertain = ({ index }: Wanted) => linesOf(table, index ?? "", process.pid).uncertain.length > 0
  if (!questions.some(({ orThis }) => orThis) && !sought.all.some(isUncertain)) pids.delete(process.pid)
  const seen: Seen = new Map(
    yield* Effect.forEach(pids, (pid) =>
      Effect.map(descriptorsOf(sought, pid), (descriptors) => [pid, descriptors] as const),
    ),
  )
  const users = sought.all.map((wanted) => usersOf(wanted, table, seen))
  const bootSeconds = Number(/^btime (\d+)$/m.exec(yield* read("/proc/stat"))?.[1])
  const known = new Map(
    yield* Effect.forEach(new Set(users.flat().map(({ pid }) => pid)), (pid) =>
      Effect.map(processOf(pid, bootSeconds), (it) => [pid, it] as const),
    ),
  )
  return users.map((its) =>
    its.flatMap(({ pid, ...use }): ReadonlyArray<Process> => {
      const it = known.get(pid)
      return it === undefined ? [] : [{ ...it, ...use }]
    }),
  )
})

const shared = SharedWalk.make(walk)

const all = Effect.fnUntraced(function* (question: Question) {
  const fs = yield* FileSystem.FileSystem
  const isSeen = yield* Effect.orElseSucceed(fs.exists("/proc/self/fd"), () => false)
  return isSeen ? Option.some(yield* shared(question)) : Option.none()
})

/**
 * The other processes that have the file that is under this path now, another one of its name, or a lock of its WAL. None
 * where no process can be seen; an empty answer means that no process can be seen to use it, and there is no stronger one.
 */
export const using = (
  file: DatabaseFile.DatabaseFile,
): Effect.Effect<Option.Option<ReadonlyArray<Process>>, never, FileSystem.FileSystem> =>
  Effect.map(
    all({ file, orThis: false }),
    Option.map((them) => them.filter(({ pid }) => pid !== process.pid)),
  )

/** The same with this process. */
export const usingOrThis = (
  file: DatabaseFile.DatabaseFile,
): Effect.Effect<Option.Option<ReadonlyArray<Process>>, never, FileSystem.FileSystem> => all({ file, orThis: true })

/**
 * The other processes that hold a lock of the WAL now. None when the locks cannot be seen, or cannot be told from those of
 * another file, which does not happen to a process that is connected itself. A mark in `-shm` proves no reader; the lock does.
 */
export const lockHolders = Effect.fnUntraced(function* (file: DatabaseFile.DatabaseFile) {
  const index = DatabaseFile.look(file.shm)?.identity
  if (index === undefined) return Option.none()
  const holders = holdersIn(yield* read("/proc/locks"), index, process.pid)
  if (Option.isNone(holders)) return Option.none()
  const pids = [...new Set(holders.value.map(({ pid }) => pid))]
  const commands = new Map(
    yield* Effect.forEach(pids, (pid) => Effect.map(commandOf(pid), ({ command }) => [pid, command] as const)),
  )
  return Option.some(
    holders.value.map(({ lock, pid }): LockHolder => ({ pid, command: commands.get(pid) ?? "unknown", lock })),
  )
})
