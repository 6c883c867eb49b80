/**
 * What the examinations of a database share, gathered once: what its files say as bytes, how large they are, and who has
 * it open. Opens nothing with SQLite, takes no lock and writes nothing.
 *
 * The index of the log is read before and after the log: what both say held while the log was read, whoever writes to it.
 * Only for a process that holds no SQLite connection to the database (see `FileBytes`).
 */
import { Effect, FileSystem, Option, Path, Result, Schedule } from "effect"
import { Lease, type Occupancy } from "../engine/Lease.ts"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import * as Processes from "../processes/Processes.ts"
import * as DatabaseHeader from "../sqlite/outside/DatabaseHeader.ts"
import * as FileBytes from "../sqlite/outside/FileBytes.ts"
import * as LogFile from "../sqlite/outside/LogFile.ts"
import * as LogIndex from "../sqlite/outside/LogIndex.ts"
import * as NetworkFileSystem from "../sqlite/NetworkFileSystem.ts"

export interface Facts {
  /** As it was given: for what is said, and for commands. */
  readonly file: string
  /** Which file that is, and what stands beside it. */
  readonly target: DatabaseFile.DatabaseFile
  readonly bytes: number
  /** In milliseconds since 1970: when the database or its log was last written. */
  readonly modifiedAt: number
  /** None of an empty file. */
  readonly header: Option.Option<DatabaseHeader.DatabaseHeader>
  /** The size of `-wal`, which may be 0; none when it does not exist. */
  readonly logBytes: Option.Option<number>
  readonly hasIndex: boolean
  /** A rollback journal that the next user of the database plays back. */
  readonly hasHotJournal: boolean
  readonly log: Result.Result<Option.Option<LogFile.LogFile>, FileBytes.FileBytesError>
  /** As it was before the log was read, and after. */
  readonly index: Result.Result<Option.Option<LogIndex.LogIndex>, FileBytes.FileBytesError>
  readonly laterIndex: Result.Result<Option.Option<LogIndex.LogIndex>, FileBytes.FileBytesError>
  /** The network file system that it lies on. */
  readonly network: Option.Option<string>
  /** The processes that use it, as this user and this PID namespace see them; none where no process can be seen (no Linux). */
  readonly processes: Option.Option<ReadonlyArray<Processes.Process>>
  /** Whether an engine runs on it, maybe in a container whose processes cannot be seen. */
  readonly lease: Occupancy
  /** The processes that have another, or a deleted, file of this name open; none where no process can be seen. */
  readonly strangers: Option.Option<ReadonlyArray<Processes.Process>>
  /** How many names the file has. */
  readonly links: number
  /** Whether the file itself is mounted there. */
  readonly isMountPoint: boolean
}

/** Whether a process is seen to use it, or an engine has its lease. */
export const isOpen = ({ lease, processes }: Pick<Facts, "processes"> & Partial<Pick<Facts, "lease">>): boolean =>
  lease?._tag === "Held" || Option.exists(processes, (them) => them.length > 0)

/** No process uses it, and that could be seen. */
export const isAtRest = (facts: Facts): boolean => Option.isSome(facts.processes) && !isOpen(facts)

/** The index, when SQLite would trust it. */
export const validIndex = ({ index }: Facts): Option.Option<LogIndex.LogIndex> =>
  Option.filter(Option.flatten(Result.getSuccess(index)), ({ state }) => state === "Valid")

/** A writer changes the two copies one after the other, within microseconds: so often it is read again, so much later. */
const again = Schedule.max([Schedule.recurs(4), Schedule.spaced("5 millis")])

const readIndex = ({ shm }: DatabaseFile.DatabaseFile) =>
  LogIndex.read(shm).pipe(
    Effect.repeat({
      schedule: again,
      until: Option.match({
        onNone: () => true,
        onSome: ({ state }) => state !== "CopiesDiffer" && state !== "BadChecksum",
      }),
    }),
    Effect.result,
  )

const used = Option.map((them: ReadonlyArray<Processes.Process>) => them.filter(Processes.isUsing))

/** The processes that use the database now; none where no process can be seen. */
export const processesOf = (file: DatabaseFile.DatabaseFile) => Effect.map(Processes.using(file), used)

/** A journal that was ended has no first byte (`journal_mode = PERSIST`), or no bytes at all. */
const isHotJournal = Effect.fnUntraced(function* (journal: string) {
  const opened = yield* FileBytes.open(journal)
  if (Option.isNone(opened)) return false
  const first = new Uint8Array(1)
  return (yield* opened.value.readInto(first)) === 1 && first[0] !== 0
}, Effect.scoped)

/** Fails when the file is no database, or cannot be read. */
export const gather = Effect.fn("Facts.gather")(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const header = yield* DatabaseHeader.read(file)
  const target = DatabaseFile.resolve(file)
  const info = (name: string) => Effect.option(fs.stat(name))
  const seen = yield* Processes.using(target)
  const before = used(seen)
  const index = yield* readIndex(target)
  const log = yield* Effect.result(LogFile.read(target.wal))
  const laterIndex = yield* readIndex(target)
  const after = yield* processesOf(target)
  const [main, wal, shm] = [yield* info(target.path), yield* info(target.wal), yield* info(target.shm)]
  const modified = [main, wal].flatMap((it) => Option.toArray(Option.flatMap(it, ({ mtime }) => mtime)))
  return {
    file,
    target,
    bytes: Option.match(main, { onNone: () => 0, onSome: ({ size }) => Number(size) }),
    modifiedAt: Math.max(0, ...modified.map((date) => date.getTime())),
    header,
    logBytes: Option.map(wal, ({ size }) => Number(size)),
    hasIndex: Option.isSome(shm),
    hasHotJournal: yield* Effect.orElseSucceed(isHotJournal(target.journal), () => false),
    log,
    index,
    laterIndex,
    network: Option.flatMap(yield* NetworkFileSystem.detect(path.dirname(target.path)), ({ kind, type }) =>
      kind === "network" ? Option.some(type) : Option.none(),
    ),
    // A process that came or went meanwhile counts: what is said about a database at rest must not be said about another.
    processes: isOpen({ processes: after }) ? after : before,
    lease: yield* Lease.holderOf(file),
    strangers: Option.map(seen, (them) => them.filter(Processes.hasOther)),
    links: target.found?.links ?? 1,
    isMountPoint: DatabaseFile.isMountPointIn(
      yield* Effect.orElseSucceed(fs.readFileString("/proc/self/mountinfo"), () => ""),
      target.path,
    ),
  } satisfies Facts
})
