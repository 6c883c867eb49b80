/**
 * The facts of a database, seen from outside and gathered once for all that ask: what its files say as bytes, how large they are,
 * who has it open, and whether an engine runs on it. Opens nothing of it with SQLite, takes no lock of it and writes nothing.
 *
 * Only for a process that holds no SQLite connection to the database (see `FileBytes`), which it refuses; of a connection that
 * Seawall did not open it knows on Linux alone, in WAL mode. A reader that uses SQLite comes after this.
 */
import { Effect, FileSystem, Option, Path, Result, Schedule } from "effect"
import * as Lease from "../lease/Lease.ts"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import { ensureNotOpenHere, type OpenHereError } from "../processes/OpenFiles.ts"
import { ensureSameFile, type OtherFileError } from "../processes/OtherFile.ts"
import * as Processes from "../processes/Processes.ts"
import * as DatabaseHeader from "../sqlite/outside/DatabaseHeader.ts"
import * as FileBytes from "../sqlite/outside/FileBytes.ts"
import * as WalFile from "../sqlite/outside/WalFile.ts"
import * as WalIndex from "../sqlite/outside/WalIndex.ts"
import * as NetworkFileSystem from "../sqlite/NetworkFileSystem.ts"

/** No database, one that cannot be read, one that is open here, or a name that another process has for another file. */
export type FactsError = DatabaseHeader.DatabaseHeaderError | OpenHereError | OtherFileError

/** The contents of a file, or why it could not be read; none when it does not exist. */
type Read<A> = Result.Result<Option.Option<A>, FileBytes.FileBytesError>

export interface Facts {
  /** As it was given: for what is said, and for commands. */
  readonly file: string
  /** Which file that is, and what stands beside it. */
  readonly target: DatabaseFile.DatabaseFile
  readonly bytes: number
  /** In milliseconds since 1970: when the database file was last written. */
  readonly changedAt: Option.Option<number>
  /** The same of the database or its WAL, whichever is later; 0 when that is not known. */
  readonly modifiedAt: number
  /** None of an empty file. */
  readonly header: Option.Option<DatabaseHeader.DatabaseHeader>
  /** The size of `-wal`, which may be 0; none when it does not exist. */
  readonly walBytes: Option.Option<number>
  /** The size of `-shm`; none when it does not exist. */
  readonly indexBytes: Option.Option<number>
  /** A rollback journal that the next user of the database plays back. */
  readonly hasHotJournal: boolean
  /** As it was before the WAL was read, and after. */
  readonly index: Read<WalIndex.WalIndex>
  readonly laterIndex: Read<WalIndex.WalIndex>
  /** The WAL frame by frame, when `gather` was asked for it. */
  readonly wal: Read<WalFile.WalFile>
  readonly walHeader: Read<WalFile.WalHeader>
  /** The network file system that it lies on. */
  readonly network: Option.Option<string>
  /** The processes that use it, as this user and this PID namespace see them; none where no process can be seen (no Linux). */
  readonly processes: Option.Option<ReadonlyArray<Processes.Process>>
  /** The processes that have another, or a deleted, file of this name open; some of them use it, too. */
  readonly strangers: Option.Option<ReadonlyArray<Processes.Process>>
  /** All of them, in the order of the system. */
  readonly everyProcess: Option.Option<ReadonlyArray<Processes.Process>>
  /** Whether an engine runs on it, maybe in a container whose processes cannot be seen. */
  readonly lease: Lease.Occupancy
  /** How many names the file has. */
  readonly links: number
  /** Whether the file itself is mounted there. */
  readonly isMountPoint: boolean
}

/** Whether a process is seen to use it. */
export const isUsed = ({ processes }: Pick<Facts, "processes">): boolean =>
  Option.exists(processes, (them) => them.length > 0)

/** Whether a process is seen to use it, or an engine has its lease. */
export const isOpen = (facts: Pick<Facts, "processes" | "lease">): boolean =>
  facts.lease._tag === "Held" || isUsed(facts)

/** No process uses it, and that could be seen. */
export const isAtRest = (facts: Pick<Facts, "processes" | "lease">): boolean =>
  Option.isSome(facts.processes) && !isOpen(facts)

/** The index, when SQLite would trust it. */
export const valid = (index: Read<WalIndex.WalIndex>): Option.Option<WalIndex.WalIndex> =>
  Option.filter(Option.flatten(Result.getSuccess(index)), ({ state }) => state === "Valid")

/** The size of the WAL, which may not exist. */
export const walSize = ({ walBytes }: Pick<Facts, "walBytes">): number => Option.getOrElse(walBytes, () => 0)

/** A writer changes the two copies one after the other, within microseconds: so often it is read again, so much later. */
const again = Schedule.max([Schedule.recurs(4), Schedule.spaced("5 millis")])

const readIndex = ({ shm }: DatabaseFile.DatabaseFile) =>
  WalIndex.read(shm).pipe(
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

export interface GatherOptions {
  /**
   * When the WAL is read frame by frame, which takes as long as it is long: `always`, or `whenLeft`, when no process is seen to
   * use the database, so that its index says nothing.
   */
  readonly wal: "always" | "whenLeft"
}

/** Fails when the file is no database, when it cannot be read, or when reading it would do harm. */
export const gather = Effect.fn("Facts.gather")(function* (file: string, options: GatherOptions) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const target = DatabaseFile.resolve(file)
  yield* ensureNotOpenHere(target)
  if (target.found === undefined) yield* ensureSameFile(target)
  const header = yield* DatabaseHeader.read(file)
  const before = yield* Processes.using(target)
  const index = yield* readIndex(target)
  const isRead = options.wal === "always" || !isUsed({ processes: used(before) })
  const wal = isRead ? yield* Effect.result(WalFile.read(target.wal)) : Result.succeed(Option.none())
  const laterIndex = isRead ? yield* readIndex(target) : index
  // A process that came or went meanwhile counts: what is said about a database at rest must not be said about another.
  const after = isRead ? yield* Processes.using(target) : before
  const everyProcess = Option.exists(after, (them) => them.length > 0) ? after : before
  const info = (name: string) => Effect.option(fs.stat(name))
  const [main, log, shm] = [yield* info(target.path), yield* info(target.wal), yield* info(target.shm)]
  const sizeOf = Option.map(({ size }: FileSystem.File.Info) => Number(size))
  const changedOf = Option.flatMap(({ mtime }: FileSystem.File.Info) => Option.map(mtime, (at) => at.getTime()))
  return {
    file,
    target,
    bytes: Option.getOrElse(sizeOf(main), () => 0),
    changedAt: changedOf(main),
    modifiedAt: Math.max(0, ...[main, log].flatMap((it) => Option.toArray(changedOf(it)))),
    header,
    walBytes: sizeOf(log),
    indexBytes: sizeOf(shm),
    hasHotJournal: yield* Effect.orElseSucceed(isHotJournal(target.journal), () => false),
    index,
    laterIndex,
    wal,
    walHeader: isRead
      ? Result.map(
          wal,
          Option.flatMap((it) => it.header),
        )
      : yield* Effect.result(WalFile.readHeader(target.wal)),
    network: Option.flatMap(yield* NetworkFileSystem.detect(path.dirname(target.path)), ({ kind, type }) =>
      kind === "network" ? Option.some(type) : Option.none(),
    ),
    processes: used(everyProcess),
    strangers: Option.map(everyProcess, (them) => them.filter(Processes.hasOther)),
    everyProcess,
    lease: yield* Lease.holderOf(file),
    links: target.found?.links ?? 1,
    isMountPoint: DatabaseFile.isMountPointIn(
      yield* Effect.orElseSucceed(fs.readFileString("/proc/self/mountinfo"), () => ""),
      target.path,
    ),
  } satisfies Facts
})
