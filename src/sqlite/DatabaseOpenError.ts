/**
 * Why a database could not be opened: one error, a closed set of reasons, and for each a sentence that says what to do.
 */
import { Option, Schema } from "effect"
import * as SystemError from "../files/SystemError.ts"
import { codeOf, messageOf, reasonOf, type NativeReason } from "./NativeError.ts"

/**
 * - `FolderMissing`, `FileMissing`: nothing was to be created (`create`, `readonly`).
 * - `NotAFile`: a folder or the like, or a path that leads through a file.
 * - `NoPermission`: for the file, its folder, or its WAL, which may be another user's; also what SQLite calls CANTOPEN without
 *   the system saying more.
 * - `PathTooLong`: for SQLite, or for the system, with the suffixes that SQLite adds.
 * - `NoDescriptor`: the process may open no more files.
 * - `WalWithoutDatabase`: the database is gone, and its WAL, named in `detail`, is there: SQLite would create an empty database
 *   and throw the WAL away.
 * - `MountPoint`: the file itself is mounted there, so that its WAL would lie elsewhere than that of the same file outside.
 * - `OpenUnderOtherName`: this process has the file open under another name, in `detail`: there would be two WALs for one file.
 * - `OtherFile`: another process, in `detail`, has another file, a deleted one, or another WAL open as this database, and SQLite
 *   would mix the two.
 * - `SeveralNames`: the file has hard links, and is to be copied or checkpointed (`requireWal`): which WAL is its own cannot
 *   be known.
 * - `NotADatabase`, `Corrupt`: what SQLite said of its first pages; no check has looked further (`Integrity`).
 * - `Locked`: still so at the end of the busy timeout.
 * - `ReadOnlyFileSystem`: the file system, or the file, and it was to be written.
 * - `NotWal`: not in WAL mode, where that is a condition (`requireWal`, `Database.layerClient`).
 * - `WalRefused`: `:memory:`, a URI, or a database that SQLite left in another mode.
 * - `NetworkFileSystem`: and that was not allowed.
 * - `Replaced`: another file got its name while it was opened.
 * - `PragmaRefused`: a setting, named in `detail`, read back as something else.
 * - `Unknown`: none of these; `detail` and `cause` say what.
 */
export const OpenReason = Schema.Literals([
  "FolderMissing",
  "FileMissing",
  "NotAFile",
  "NoPermission",
  "NotADatabase",
  "Corrupt",
  "Locked",
  "ReadOnlyFileSystem",
  "DiskFull",
  "PathTooLong",
  "NoDescriptor",
  "WalWithoutDatabase",
  "MountPoint",
  "OpenUnderOtherName",
  "OtherFile",
  "SeveralNames",
  "NotWal",
  "WalRefused",
  "NetworkFileSystem",
  "Replaced",
  "PragmaRefused",
  "Unknown",
])
export type OpenReason = typeof OpenReason.Type

const advice: Readonly<Record<OpenReason, string>> = {
  FolderMissing: "its folder does not exist; create the folder or correct the path",
  FileMissing: "the file does not exist; correct the path, or create the database first",
  NotAFile: "the path is not a regular file; name a database file",
  NoPermission:
    "permission denied; the process must be able to read and write the file, and to create files in its folder",
  NotADatabase: "the file is not a SQLite database; correct the path (the file was left as it is)",
  Corrupt: "the database is damaged; stop writing to it and restore a backup",
  Locked: "another process has it locked; stop that process, or raise the busy timeout",
  ReadOnlyFileSystem:
    "the file system or the file is read-only; mount it writable, move the database, or open it read-only",
  DiskFull: "the disk is full; free some space and try again",
  PathTooLong: "its path is too long; move it to a folder with a shorter path, or give it a shorter name",
  NoDescriptor: "the process has as many files open as it may; raise the limit (ulimit -n), or close some",
  WalWithoutDatabase:
    "the file does not exist, but its WAL does, and holds commits; put the database back beside it, or move the WAL away",
  MountPoint:
    "the file itself is a mount point, and its WAL would lie on another file system; mount the folder that holds it instead",
  OpenUnderOtherName: "this process has it open under another name; use one name for one database",
  OtherFile:
    "another process has another file, or another WAL, open as this database; stop that process first, then try again",
  SeveralNames:
    "the file has several names (hard links), and which of their WALs is its own cannot be known; remove the other names",
  NotWal:
    "it is not in WAL mode, and has no WAL to keep short; set PRAGMA journal_mode = WAL in the program that owns it",
  WalRefused: "it cannot be put in WAL mode; use a local file on a file system with shared memory, not :memory:",
  NetworkFileSystem:
    "it lies on a network file system, where WAL mode corrupts; move it to a local disk, or allow it explicitly",
  Replaced: "another file got its name while it was opened; nothing was written, try again",
  PragmaRefused: "SQLite did not accept a setting; check the options and the SQLite version",
  Unknown: "the error is none of the usual ones",
}

/** A database that could not be opened. `reason` is what to act on; `cause` is what SQLite or the system said. */
export class DatabaseOpenError extends Schema.TaggedError<DatabaseOpenError>()("DatabaseOpenError", {
  file: Schema.String,
  reason: OpenReason,
  /** What SQLite or the system said, or what was found; may be empty. */
  detail: Schema.String,
  cause: Schema.optionalKey(Schema.Defect()),
}) {
  override get message() {
    return `cannot open ${this.file}: ${advice[this.reason]}${this.detail === "" ? "" : ` (${this.detail})`}`
  }
}

/** What the system says. @internal */
export const systemReason = (error: unknown): OpenReason => {
  switch (SystemError.codeOf(error)) {
    case "EACCES":
    case "EPERM":
      return "NoPermission"
    case "EROFS":
      return "ReadOnlyFileSystem"
    case "ENOSPC":
    case "EDQUOT":
      return "DiskFull"
    case "ENOTDIR":
    case "EEXIST":
      return "NotAFile"
    case "ENAMETOOLONG":
      return "PathTooLong"
    case "EMFILE":
    case "ENFILE":
      return "NoDescriptor"
    default:
      return "Unknown"
  }
}

/** The reason, and in `detail` what it does not say by itself.
 * @internal
 */
export const systemFailure = (error: unknown) => {
  const reason = systemReason(error)
  return { reason, detail: reason === "Unknown" ? SystemError.wordsOf(error) : "" }
}

/** SHMOPEN, SHMSIZE, SHMLOCK and SHMMAP: a file system without shared memory. https://www.sqlite.org/rescode.html#ioerr_shmmap */
const noSharedMemory: ReadonlySet<number> = new Set([4618, 4874, 5130, 5386])

const byNativeReason: Readonly<Record<NativeReason, OpenReason>> = {
  Busy: "Locked",
  Locked: "Locked",
  ReadOnly: "ReadOnlyFileSystem",
  Io: "Unknown",
  Corrupt: "Corrupt",
  Full: "DiskFull",
  CannotOpen: "NoPermission",
  NotADatabase: "NotADatabase",
  NoPermission: "NoPermission",
  NoMemory: "Unknown",
  Constraint: "Unknown",
  Unknown: "Unknown",
}

/** Any failure or defect of the driver while it opens, as the typed error. @internal */
export const fromNative = (file: string, cause: unknown): DatabaseOpenError => {
  const reason = Option.match(codeOf(cause), {
    onNone: () => systemReason(cause),
    onSome: (code) => (noSharedMemory.has(code) ? "WalRefused" : byNativeReason[reasonOf(cause)]),
  })
  return new DatabaseOpenError({ file, reason, detail: messageOf(cause), cause })
}
