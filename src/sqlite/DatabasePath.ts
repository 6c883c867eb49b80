/**
 * Looks at the path of a database before SQLite does, which would answer most of what can be wrong with a bare CANTOPEN.
 * Touches nothing but folders that it may create.
 */
import { Effect, FileSystem, Option, Path, type PlatformError } from "effect"
import { DatabaseOpenError, type OpenReason } from "./DatabaseOpenError.ts"
import * as NetworkFileSystem from "./NetworkFileSystem.ts"

export interface PathOptions {
  readonly file: string
  readonly readOnly?: boolean
  readonly create?: boolean
  readonly allowNetworkFileSystem?: boolean
}

/** Node gives the system's own code; the platform's error keeps it in its cause. */
const systemReason = (error: PlatformError.PlatformError): OpenReason => {
  const cause = error.reason.cause
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  switch (code) {
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
    default:
      return "Unknown"
  }
}

/** Succeeds when SQLite may be asked to open the file; creates its missing folders when that is wanted. */
export const locate = Effect.fnUntraced(function* (options: PathOptions) {
  const { file, create = true, readOnly = false } = options
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const refuse = (reason: OpenReason, detail = "") => new DatabaseOpenError({ file, reason, detail })
  const bySystem = (cause: PlatformError.PlatformError) =>
    new DatabaseOpenError({ file, reason: systemReason(cause), detail: cause.message, cause })
  const stat = (target: string) =>
    fs.stat(target).pipe(
      Effect.map((info) => info.type),
      Effect.catchReason("PlatformError", "NotFound", () => Effect.succeed("Missing" as const)),
      Effect.mapError(bySystem),
    )

  if (file === "" || file.startsWith(":memory:") || file.startsWith("file:")) {
    return yield* refuse("WalRefused", "expected the path of a file")
  }
  const folder = path.dirname(path.resolve(file))
  const mayCreate = create && !readOnly
  if ((yield* stat(folder)) === "Missing") {
    if (!mayCreate) return yield* refuse("FolderMissing", folder)
    yield* Effect.mapError(fs.makeDirectory(folder, { recursive: true }), bySystem)
  }
  const found = yield* stat(file)
  if (found === "Missing" && !mayCreate) return yield* refuse("FileMissing")
  if (found !== "Missing" && found !== "File") return yield* refuse("NotAFile", `it is a ${found}`)
  if (found === "File") {
    yield* Effect.mapError(fs.access(file, { readable: true, writable: !readOnly }), bySystem)
  }
  if (!readOnly) yield* Effect.mapError(fs.access(folder, { writable: true }), bySystem)
  const network = yield* NetworkFileSystem.detect(folder)
  if (Option.isNone(network)) return
  if (options.allowNetworkFileSystem !== true) return yield* refuse("NetworkFileSystem", network.value)
  yield* Effect.annotateLogs(Effect.logWarning("database on a network file system"), {
    file,
    type: network.value,
    danger: "WAL mode is not supported there and can corrupt the database",
  })
})
