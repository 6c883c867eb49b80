/**
 * Looks at the path of a database before SQLite does, which would answer most of what can be wrong with a bare CANTOPEN, and
 * some of what loses data not at all. Touches nothing but folders that it may create.
 */
import { Effect, FileSystem, Option, Path, type PlatformError } from "effect"
import { type DatabaseFile, isMountPointIn, look, resolve, walHeaderBytes } from "../files/DatabaseFile.ts"
import { DatabaseOpenError, type OpenReason, systemFailure } from "./DatabaseOpenError.ts"
import * as NetworkFileSystem from "./NetworkFileSystem.ts"
import * as Room from "../files/Room.ts"
import * as OpenFiles from "../processes/OpenFiles.ts"
import { ensureSameFile } from "../processes/OtherFile.ts"

export interface PathOptions {
  readonly file: string
  readonly readOnly?: boolean
  readonly create?: boolean | undefined
  readonly allowNetworkFileSystem?: boolean | undefined
  /** Whether a file with several names is refused, as by what copies or checkpoints it; else it is a WARNING. */
  readonly oneName?: boolean
}

/** What SQLite takes for a path, in bytes, with what is added to it. https://www.sqlite.org/c3ref/open.html */
const longestPath = 512

/** What Linux, macOS and Windows take for the name of a file, in bytes, with what is added to it. */
const longestName = 255

const danger = {
  network: "WAL mode is not supported there and can corrupt the database",
  shared: "programs of the host and of the guest do not see each other's locks; let only one side open the database",
} as const

/** Makes the names of folders durable that were created, up to the first that was there. A failure is a WARNING. */
const syncFolders = Effect.fnUntraced(function* (folder: string, existing: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  for (let at = folder; ; at = path.dirname(at)) {
    yield* Effect.scoped(Effect.flatMap(fs.open(at), (opened) => opened.sync)).pipe(
      Effect.ignore({ log: "Warn", message: "folder sync failed" }),
      Effect.annotateLogs({ folder: at }),
    )
    if (at === existing || at === path.dirname(at)) return
  }
})

/** Fails for what is not the path of a file, and for what is too long with the longest suffix that is added to it. */
export const checkName = Effect.fnUntraced(function* ({ given: file, path: real }: DatabaseFile, suffix = "-journal") {
  const path = yield* Path.Path
  const refuse = (reason: OpenReason, detail = "") => new DatabaseOpenError({ file, reason, detail })
  if (file === "" || file.startsWith(":memory:") || file.startsWith("file:")) {
    return yield* refuse("WalRefused", "expected the path of a file")
  }
  const bytes = Buffer.byteLength(real)
  const most = longestPath - suffix.length
  if (bytes > most) return yield* refuse("PathTooLong", `${bytes} bytes, at most ${most} are possible`)
  const nameBytes = Buffer.byteLength(path.basename(real))
  const mostOfName = longestName - suffix.length
  if (nameBytes > mostOfName) {
    return yield* refuse("PathTooLong", `its name has ${nameBytes} bytes, at most ${mostOfName} are possible`)
  }
})

const bySystem = (file: string) => (cause: PlatformError.PlatformError) =>
  new DatabaseOpenError({ file, ...systemFailure(cause), cause })

/**
 * Fails when so many bytes are not free. SQLite would fail too, with a bare I/O error, and leave the files that it had begun.
 */
export const ensureRoom = Effect.fnUntraced(function* (file: string, folder: string, bytes: number, what: string) {
  const { free } = yield* Effect.orElseSucceed(Room.at(folder), () => ({ free: Infinity }))
  if (free >= bytes) return
  const detail = `${free} bytes are free, and ${what} takes ${bytes}`
  return yield* new DatabaseOpenError({ file, reason: "DiskFull", detail })
})

/** The first piece of the index beside a WAL, in bytes. https://www.sqlite.org/walformat.html#the_wal_index_file_format */
const firstIndex = 32_768

/** Fails where SQLite could not make the index without which a WAL is neither read nor written. */
export const ensureIndex = Effect.fnUntraced(function* (target: DatabaseFile) {
  const path = yield* Path.Path
  if ((look(target.shm)?.bytes ?? 0) >= firstIndex) return
  yield* ensureRoom(target.given, path.dirname(target.path), firstIndex, "the index of the WAL")
})

/** Creates the folder of a database, durably, when it is missing. */
export const makeFolder = Effect.fnUntraced(function* (file: string, folder: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  if (look(folder)?.kind === "folder") return
  let existing = folder
  while (look(existing) === undefined && existing !== path.dirname(existing)) existing = path.dirname(existing)
  yield* Effect.mapError(fs.makeDirectory(folder, { recursive: true }), bySystem(file))
  yield* syncFolders(folder, existing)
})

/** Succeeds with the file when SQLite may be asked to open it; creates its missing folders when that is wanted. */
export const locate = Effect.fnUntraced(function* (options: PathOptions) {
  const { file, create = true, oneName = false, readOnly = false } = options
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const refuse = (reason: OpenReason, detail = "") => new DatabaseOpenError({ file, reason, detail })
  const stat = (target: string) =>
    fs.stat(target).pipe(
      Effect.map((info) => info.type),
      Effect.catchReason("PlatformError", "NotFound", () => Effect.succeed("Missing" as const)),
      Effect.mapError(bySystem(file)),
    )

  const target = resolve(file)
  yield* checkName(target)
  const folder = path.dirname(target.path)
  const mayCreate = create && !readOnly
  if ((yield* stat(folder)) === "Missing") {
    if (!mayCreate) return yield* refuse("FolderMissing", folder)
    yield* makeFolder(file, folder)
  }
  const found = yield* stat(target.path)
  if (found === "Missing" && (look(target.wal)?.bytes ?? 0) > walHeaderBytes) {
    return yield* refuse("WalWithoutDatabase", target.wal)
  }
  if (found === "Missing" && !mayCreate) return yield* refuse("FileMissing")
  if (found !== "Missing" && found !== "File") return yield* refuse("NotAFile", `it is a ${found}`)
  if (found === "File") yield* checkFile(target, oneName)
  yield* ensureUsable(target, readOnly)
  if (!readOnly) yield* ensureIndex(target)
  const elsewhere = yield* NetworkFileSystem.detect(folder)
  if (Option.isNone(elsewhere)) return target
  const { kind, type } = elsewhere.value
  if (kind === "network" && options.allowNetworkFileSystem !== true) return yield* refuse("NetworkFileSystem", type)
  const event = kind === "network" ? "database on a network file system" : "database on a shared file system"
  yield* Effect.annotateLogs(Effect.logWarning(event), { file, type, danger: danger[kind] })
  return target
})

/** A file that is there: whether SQLite would have the WAL of this very file, and may use it. */
const checkFile = Effect.fnUntraced(function* (target: DatabaseFile, oneName: boolean) {
  const fs = yield* FileSystem.FileSystem
  const { found, given: file } = target
  const refuse = (reason: OpenReason, detail = "") => new DatabaseOpenError({ file, reason, detail })
  const mounts = yield* Effect.orElseSucceed(fs.readFileString("/proc/self/mountinfo"), () => "")
  if (isMountPointIn(mounts, target.path)) return yield* refuse("MountPoint")
  const other = OpenFiles.otherNameOf(target)
  if (other !== undefined) return yield* refuse("OpenUnderOtherName", other)
  if (found !== undefined && found.links > 1) {
    if (oneName) return yield* refuse("SeveralNames", `${found.links} hard links`)
    yield* Effect.annotateLogs(Effect.logWarning("database has several names"), {
      file,
      hard_links: found.links,
      danger: "each name has a WAL of its own: programs that use another name overwrite what this one commits",
    })
  }
})

/**
 * Fails for what this user may not use, whether it is there or would be created. Where it is to be written, also for what a process
 * has left, or has in use, beside the file or under another name of it, and may belong to another file.
 */
export const ensureUsable = Effect.fnUntraced(function* (target: DatabaseFile, readOnly: boolean) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  for (const name of [target.path, target.wal, target.shm].filter((each) => look(each) !== undefined)) {
    yield* Effect.mapError(fs.access(name, { readable: true, writable: !readOnly }), (cause) => {
      const owner = look(name)?.owner
      const { detail, reason } = systemFailure(cause)
      const whose = name === target.path ? detail : `${name} belongs to user ${owner}`
      return new DatabaseOpenError({ file: target.given, reason, detail: whose, cause })
    })
  }
  if (readOnly) return
  yield* Effect.mapError(fs.access(path.dirname(target.path), { writable: true }), bySystem(target.given))
  yield* checkOthers(target)
})

/** A database without any of that costs no walk through the processes; nor does one that this process has open already. */
const checkOthers = Effect.fnUntraced(function* (target: DatabaseFile) {
  const isUsed = look(target.wal) !== undefined || look(target.shm) !== undefined || (target.found?.links ?? 1) > 1
  if (!isUsed || (yield* OpenFiles.isOpen(target.path))) return
  yield* Effect.mapError(
    ensureSameFile(target),
    (cause) => new DatabaseOpenError({ file: target.given, reason: "OtherFile", detail: cause.processes, cause }),
  )
})
