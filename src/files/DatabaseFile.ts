/**
 * Which file a database is: its names, resolved once, and what the system says of it. Code that opens, watches, copies,
 * replaces, removes or reports a database takes this value instead of a path.
 *
 * A name is not an identity: two names may be one file (links, mounts), and one name may be another file a moment later. Device
 * and inode decide. SQLite names the WAL and its index after the path that a symbolic link leads to, not after the inode.
 * Only `stat` and the mount table are read, which is safe also for a database that this process has open.
 * https://www.sqlite.org/howtocorrupt.html#_multiple_links_to_the_same_file
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as fs from "node:fs"
import * as path from "node:path"

/** Device and inode of a file, as `dev:ino`. */
export type Identity = string

/** What the system says of a file that is there. */
export interface Found {
  readonly identity: Identity
  readonly kind: "file" | "folder" | "other"
  readonly bytes: number
  /** How many names it has on its file system; SQLite makes a WAL for each of them. */
  readonly links: number
  readonly owner: number
  readonly group: number
  /** The permission bits. */
  readonly mode: number
}

export interface DatabaseFile {
  /** As the caller named it: for messages, and for commands to paste. */
  readonly given: string
  /** The absolute path without symbolic links. */
  readonly path: string
  readonly wal: string
  readonly shm: string
  readonly journal: string
  /** The file when the value was made; none when it does not exist or cannot be seen. */
  readonly found: Found | undefined
}

const kindOf = (stat: fs.BigIntStats): Found["kind"] =>
  stat.isFile() ? "file" : stat.isDirectory() ? "folder" : "other"

const stat = Option.liftThrowable((at: string) => fs.statSync(at, { bigint: true }))

/** The file at this path now; none when it does not exist, or cannot be seen. */
export const look = (at: string): Found | undefined =>
  Option.getOrUndefined(
    Option.map(stat(at), (it) => ({
      identity: `${it.dev}:${it.ino}`,
      kind: kindOf(it),
      bytes: Number(it.size),
      links: Number(it.nlink),
      owner: Number(it.uid),
      group: Number(it.gid),
      mode: Number(it.mode) & 0o7777,
    })),
  )

const ownStat = Option.liftThrowable((at: string) => fs.lstatSync(at))

/** Whether something has this name, be it a symbolic link that leads nowhere. */
export const isTaken = (at: string): boolean => Option.isSome(ownStat(at))

const identity = Option.liftThrowable((at: string) => {
  const it = fs.statSync(at, { bigint: true, throwIfNoEntry: false })
  return it === undefined ? ("gone" as const) : `${it.dev}:${it.ino}`
})

/** Which file has this name now; `unknown` when the system does not say, as a busy network or a lost permission may do. */
export const identityAt = (at: string): Identity | "gone" | "unknown" =>
  Option.getOrElse(identity(at), () => "unknown" as const)

/** The file of a descriptor that this process has open. */
export const identityOf = (descriptor: number): Identity => {
  const { dev, ino } = fs.fstatSync(descriptor, { bigint: true })
  return `${dev}:${ino}`
}

const withoutLinks = Option.liftThrowable((at: string) => fs.realpathSync.native(at))

const readLink = Option.liftThrowable((at: string) => fs.readlinkSync(at))

/** As many links as Linux follows. */
const mostLinks = 40

/** The absolute path without symbolic links, also of a file, or of what a link leads to, that does not exist yet. */
const realPath = (given: string, links = mostLinks): string => {
  const absolute = path.resolve(given)
  const inFolder = (): string => {
    const folder = Option.getOrElse(withoutLinks(path.dirname(absolute)), () => path.dirname(absolute))
    const target = links === 0 ? Option.none() : readLink(absolute)
    return Option.match(target, {
      onNone: () => path.join(folder, path.basename(absolute)),
      onSome: (to) => realPath(path.resolve(folder, to), links - 1),
    })
  }
  return Option.getOrElse(withoutLinks(absolute), inFolder)
}

/** Whether these files still have their names. */
export const areThere = ({ identity: main, path: real, shm, wal }: OpenedFiles): boolean =>
  [
    [real, main],
    [`${real}-wal`, wal],
    [`${real}-shm`, shm],
  ].every(([at = "", opened]) => opened === undefined || identityAt(at) === opened)

/** Resolves a name. Never fails: what is wrong with a path is for its user to say. */
export const resolve = (given: string): DatabaseFile => {
  const real = realPath(given)
  return {
    given,
    path: real,
    wal: `${real}-wal`,
    shm: `${real}-shm`,
    journal: `${real}-journal`,
    found: look(real),
  }
}

/**
 * Each file once, under the first of its names: two names are one file when they are links to it. `repeated` are the other names,
 * each with the one that stands for it.
 */
export const distinct = (names: Iterable<string>) => {
  const known = new Map<string, string>()
  const repeated: Array<{ readonly file: string; readonly as: string }> = []
  for (const file of new Set(names)) {
    const { found, path } = resolve(file)
    const id = found?.identity ?? path
    const as = known.get(id)
    if (as === undefined) known.set(id, file)
    else repeated.push({ file, as })
  }
  return { files: [...known.values()], repeated }
}

/** A WAL begins with a header of 32 bytes; what is longer holds frames. https://www.sqlite.org/fileformat.html#walformat */
export const walHeaderBytes = 32

/** The database that a file of this name stands beside, when that is there: a WAL, its index or a journal. */
export const besideOf = (at: string): string | undefined => {
  const database = /^(.+)-(?:wal|shm|journal)$/s.exec(path.resolve(at))?.[1]
  return database !== undefined && isTaken(database) ? database : undefined
}

/** A database and all that SQLite keeps beside it, by what their names end in. */
export const suffixes = ["", "-wal", "-shm", "-journal"] as const

/** Blanks and their like are octal numbers in a mount table. */
const unescape = (text: string) =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))

/**
 * Whether a mount table (`/proc/self/mountinfo`) has a mount at this very path, as containers do with a single file: its WAL would
 * lie on another file system.
 */
export const isMountPointIn = (table: string, real: string): boolean =>
  table.split("\n").some((line) => {
    const point = line.split(" ")[4]
    return point !== undefined && unescape(point) === real
  })

/** Which files a connection has open, by their real path and by device and inode. */
export const OpenedFiles = Schema.Struct({
  path: Schema.String,
  identity: Schema.String,
  /** None of a connection that only reads. */
  wal: Schema.optionalKey(Schema.String),
  /** The index of the WAL; none where SQLite keeps it in memory. */
  shm: Schema.optionalKey(Schema.String),
})
/** */
export type OpenedFiles = typeof OpenedFiles.Type
