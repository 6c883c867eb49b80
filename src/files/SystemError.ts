/**
 * What the system says of a file, in plain words: Node gives a code, and the file system of Effect the call that it made, which tells an
 * operator nothing. https://man7.org/linux/man-pages/man3/errno.3.html
 */
import * as Predicate from "effect/Predicate"

/** How deep one error may wrap another. */
const mostCauses = 8

/** The code, such as ENOSPC, in the error itself or in what it wraps. */
export const codeOf = (error: unknown, depth = mostCauses): string | undefined => {
  if (depth === 0) return undefined
  if (Predicate.hasProperty(error, "code") && typeof error.code === "string" && /^E[A-Z0-9]+$/.test(error.code)) {
    return error.code
  }
  for (const key of ["reason", "cause"] as const) {
    const code = Predicate.hasProperty(error, key) ? codeOf(error[key], depth - 1) : undefined
    if (code !== undefined) return code
  }
  return undefined
}

export const isPermission = (error: unknown): boolean => ["EACCES", "EPERM"].includes(codeOf(error) ?? "")

const words: Readonly<Record<string, string>> = {
  EACCES: "no permission",
  EPERM: "no permission",
  EROFS: "the file system is read-only",
  ENOSPC: "the disk is full",
  EDQUOT: "the quota of the disk is used up",
  EFBIG: "the file would be larger than the system allows",
  ENAMETOOLONG: "the name or its path is too long",
  EMFILE: "this process has as many files open as it may (ulimit -n)",
  ENFILE: "the system has as many files open as it can",
  ENOENT: "no such file or folder",
  ENOTDIR: "a part of the path is no folder",
  EISDIR: "it is a folder",
  EEXIST: "there is a file of that name already",
  ELOOP: "its symbolic links lead in a circle",
  EIO: "the disk could not be read or written",
  EBUSY: "it is in use",
  EXDEV: "it lies on another file system",
  ESTALE: "it is gone from the server of its file system",
}

const deepest = (error: unknown, depth = mostCauses): string => {
  const below = depth > 0 && Predicate.hasProperty(error, "cause") ? error.cause : undefined
  if (below instanceof Error && below.message !== "") return deepest(below, depth - 1)
  return error instanceof Error ? error.message : String(error)
}

const isOfSystem = (error: unknown) =>
  Predicate.isTagged(error, "PlatformError") || Predicate.hasProperty(error, "errno")

/** Why the system refused; of what is no error of the system, what it says itself. */
export const wordsOf = (error: unknown): string => {
  if (!isOfSystem(error)) return error instanceof Error ? error.message : String(error)
  const code = codeOf(error)
  return code === undefined ? deepest(error) : (words[code] ?? code)
}
