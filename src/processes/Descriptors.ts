/**
 * The descriptors of a process that are about a database, as `/proc/PID/fd` shows them (Linux). Compares by device and
 * inode; opens nothing.
 */
import { Effect, FileSystem, Option } from "effect"
import * as path from "node:path"
import * as DatabaseFile from "../files/DatabaseFile.ts"

/** What is known of one descriptor that is about the database. */
export interface Descriptor {
  readonly of: "database" | "index" | "elsewhere" | "deleted" | "deleted sidecar" | "another"
  readonly mayWrite: boolean
}

/** What the descriptors of all processes are compared with. */
export interface Wanted {
  readonly file: DatabaseFile.DatabaseFile
  readonly database: DatabaseFile.Identity | undefined
  readonly index: DatabaseFile.Identity | undefined
  /** Of the folder: a deleted file of this name elsewhere is that of another container. */
  readonly device: string | undefined
  readonly inodes: ReadonlySet<string | undefined>
  /** This process's view of the file system; in another one the same name is another file. */
  readonly mounts: string
}

const deviceOf = (identity: DatabaseFile.Identity | undefined) => identity?.split(":")[0]
const inodeOf = (identity: DatabaseFile.Identity | undefined) => identity?.split(":")[1]

export const mountsOf = (pid: number | "self") =>
  Effect.flatMap(FileSystem.FileSystem, (fs) =>
    Effect.orElseSucceed(fs.readLink(`/proc/${pid}/ns/mnt`), () => "unknown"),
  )

export const wantedOf = (file: DatabaseFile.DatabaseFile, mounts: string): Wanted => {
  const database = DatabaseFile.look(file.path)?.identity
  const index = DatabaseFile.look(file.shm)?.identity
  return {
    file,
    database,
    index,
    device: deviceOf(DatabaseFile.look(path.dirname(file.path))?.identity),
    mounts,
    inodes: new Set([inodeOf(database), inodeOf(index)].filter((inode) => inode !== undefined)),
  }
}

/** O_WRONLY and O_RDWR in the flags of `/proc/PID/fdinfo`, which are octal. */
const writes = (fdinfo: string) => (parseInt(/^flags:\s*(\d+)$/m.exec(fdinfo)?.[1] ?? "2", 8) & 3) !== 0

const deletedSuffix = " (deleted)"

const kindOf = (
  { database, device, file, index }: Wanted,
  link: string,
  identity: DatabaseFile.Identity,
  sameMounts: boolean,
): Option.Option<Descriptor["of"]> => {
  if (identity === database) return Option.some("database")
  if (identity === index) return Option.some("index")
  if (!sameMounts) return Option.none()
  if (link === file.path) return Option.some("another")
  if (!link.endsWith(deletedSuffix) || deviceOf(identity) !== device) return Option.none()
  const name = link.slice(0, -deletedSuffix.length)
  if (name === file.path) return Option.some("deleted")
  return name === file.wal || name === file.shm ? Option.some("deleted sidecar") : Option.none()
}

interface Link {
  readonly at: string
  /** What the kernel says that it leads to; empty when that cannot be seen. */
  readonly to: string
}

/**
 * The text of the link and of `fdinfo` comes from memory; `stat` may ask a server that does not answer, so it is asked only
 * about a file of the right name or number. `fdinfo` has the number since Linux 5.14.
 */
const descriptorOf = Effect.fnUntraced(function* (wanted: Wanted, pid: number, { at, to }: Link, sameMounts: boolean) {
  const fs = yield* FileSystem.FileSystem
  const info = `/proc/${pid}/fdinfo/${path.basename(at)}`
  const fdinfo = yield* Effect.orElseSucceed(fs.readFileString(info), () => "")
  const inode = /^ino:\s*(\d+)$/m.exec(fdinfo)?.[1]
  const { path: name, shm, wal } = wanted.file
  const hasName = [name, wal, shm].some((one) => to === one || to === one + deletedSuffix)
  if (!hasName && inode !== undefined && !wanted.inodes.has(inode)) return Option.none()
  const identity = DatabaseFile.look(at)?.identity
  if (identity === undefined) return Option.none()
  return Option.map(kindOf(wanted, to, identity, sameMounts), (of): Descriptor => ({ of, mayWrite: writes(fdinfo) }))
})

const indexSuffix = "-shm"

/**
 * Whether one of these is the index of a WAL that the process keeps for the database under another name: the name of a hard
 * link, or one that the database had before and nothing has now.
 */
const keepsOtherWal = (wanted: Wanted, links: ReadonlyArray<Link>): boolean =>
  links.some(({ at, to }) => {
    const index = to.endsWith(deletedSuffix) ? to.slice(0, -deletedSuffix.length) : to
    const main = index.slice(0, -indexSuffix.length)
    if (!index.endsWith(indexSuffix) || main === wanted.file.path) return false
    const identity = DatabaseFile.look(at)?.identity
    if (identity === undefined || identity === wanted.index) return false
    const now = DatabaseFile.look(main)?.identity
    return now === wanted.database || (now === undefined && links.every((other) => other.to !== main))
  })

/** Of the database, among those of one process; none when its descriptors cannot be seen. */
export const descriptorsOf = Effect.fnUntraced(function* (wanted: Wanted, pid: number) {
  const fs = yield* FileSystem.FileSystem
  const folder = `/proc/${pid}/fd`
  const names = yield* Effect.option(fs.readDirectory(folder))
  if (Option.isNone(names)) return Option.none()
  const sameMounts = (yield* mountsOf(pid)) === wanted.mounts
  const all = yield* Effect.forEach(names.value, (name) =>
    Effect.map(
      Effect.orElseSucceed(fs.readLink(`${folder}/${name}`), () => ""),
      (to): Link => ({ at: `${folder}/${name}`, to }),
    ),
  )
  const links = all.filter(({ to }) => to.startsWith("/"))
  const found = (yield* Effect.forEach(links, (link) => descriptorOf(wanted, pid, link, sameMounts))).flatMap((one) =>
    Option.toArray(one),
  )
  const has = (of: Descriptor["of"]) => found.some((one) => one.of === of)
  const isElsewhere = sameMounts && has("database") && !has("index") && keepsOtherWal(wanted, links)
  return Option.some(isElsewhere ? [...found, { of: "elsewhere" as const, mayWrite: true }] : found)
})
