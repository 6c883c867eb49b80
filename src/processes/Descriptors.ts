/**
 * The descriptors of a process that are about one of some databases, as `/proc/PID/fd` shows them (Linux). Compares by device
 * and inode; opens nothing. Each descriptor is read once, however many databases are sought.
 */
import { Effect, FileSystem, Option } from "effect"
import * as path from "node:path"
import * as DatabaseFile from "../files/DatabaseFile.ts"

/** One descriptor that is about the database. */
export interface Descriptor {
  readonly of: "database" | "index" | "elsewhere" | "deleted" | "deleted sidecar" | "another"
  readonly mayWrite: boolean
}

/** What the descriptors of all processes are compared with. */
export interface Wanted {
  readonly file: DatabaseFile.DatabaseFile
  readonly database: DatabaseFile.Identity | undefined
  readonly index: DatabaseFile.Identity | undefined
  /** The device of the folder: a deleted file of this name elsewhere is that of another container. */
  readonly device: string | undefined
}

/** All that one look at a process compares with. */
interface Sought {
  readonly all: ReadonlyArray<Wanted>
  /** By the names of the database, its WAL and its index. */
  readonly byName: ReadonlyMap<string, ReadonlyArray<Wanted>>
  /** By the inode numbers of the database and its index. */
  readonly byInode: ReadonlyMap<string, ReadonlyArray<Wanted>>
  /** This process's view of the file system; in another one the same name is another file. */
  readonly mounts: string
}

const deviceOf = (identity: DatabaseFile.Identity | undefined) => identity?.split(":")[0]
const inodeOf = (identity: DatabaseFile.Identity | undefined) => identity?.split(":")[1]

export const mountsOf = (pid: number | "self") =>
  Effect.flatMap(FileSystem.FileSystem, (fs) =>
    Effect.orElseSucceed(fs.readLink(`/proc/${pid}/ns/mnt`), () => "unknown"),
  )

const wantedOf = (file: DatabaseFile.DatabaseFile): Wanted => ({
  file,
  database: DatabaseFile.look(file.path)?.identity,
  index: DatabaseFile.look(file.shm)?.identity,
  device: deviceOf(DatabaseFile.look(path.dirname(file.path))?.identity),
})

const byKey = (all: ReadonlyArray<Wanted>, keysOf: (wanted: Wanted) => ReadonlyArray<string | undefined>) => {
  const found = new Map<string, Array<Wanted>>()
  for (const wanted of all) {
    for (const key of new Set(keysOf(wanted))) {
      if (key === undefined) continue
      const same = found.get(key)
      if (same === undefined) found.set(key, [wanted])
      else same.push(wanted)
    }
  }
  return found
}

/** The files that have these names now. */
export const soughtOf = (files: ReadonlyArray<DatabaseFile.DatabaseFile>, mounts: string): Sought => {
  const all = files.map(wantedOf)
  return {
    all,
    byName: byKey(all, ({ file }) => [file.path, file.wal, file.shm]),
    byInode: byKey(all, ({ database, index }) => [inodeOf(database), inodeOf(index)]),
    mounts,
  }
}

/** O_WRONLY and O_RDWR in the flags of `/proc/PID/fdinfo`, which are octal. */
const writes = (fdinfo: string) => (parseInt(/^flags:\s*(\d+)$/m.exec(fdinfo)?.[1] ?? "2", 8) & 3) !== 0

const deletedSuffix = " (deleted)"

/** The name that a file has, or had before it was deleted. */
const nameOf = (link: string) => (link.endsWith(deletedSuffix) ? link.slice(0, -deletedSuffix.length) : link)

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
  const name = nameOf(link)
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
const descriptorOf = Effect.fnUntraced(function* (sought: Sought, pid: number, { at, to }: Link, sameMounts: boolean) {
  const fs = yield* FileSystem.FileSystem
  const info = `/proc/${pid}/fdinfo/${path.basename(at)}`
  const fdinfo = yield* Effect.orElseSucceed(fs.readFileString(info), () => "")
  const inode = /^ino:\s*(\d+)$/m.exec(fdinfo)?.[1]
  const numbered = inode === undefined ? sought.all : (sought.byInode.get(inode) ?? [])
  const named = [to, nameOf(to)].flatMap((name) => sought.byName.get(name) ?? [])
  const candidates = new Set([...numbered, ...named])
  if (candidates.size === 0) return []
  const identity = DatabaseFile.look(at)?.identity
  if (identity === undefined) return []
  return [...candidates].flatMap((wanted) =>
    Option.toArray(kindOf(wanted, to, identity, sameMounts)).map((of): Of => ({
      wanted,
      descriptor: { of, mayWrite: writes(fdinfo) },
    })),
  )
})

interface Of {
  readonly wanted: Wanted
  readonly descriptor: Descriptor
}

const indexSuffix = "-shm"

/**
 * Whether one of these is the index of a WAL that the process keeps for the database under another name: the name of a hard
 * link, or one that the database had before and nothing has now.
 */
const keepsOtherWal = (wanted: Wanted, links: ReadonlyArray<Link>): boolean =>
  links.some(({ at, to }) => {
    const index = nameOf(to)
    const main = index.slice(0, -indexSuffix.length)
    if (!index.endsWith(indexSuffix) || main === wanted.file.path) return false
    const identity = DatabaseFile.look(at)?.identity
    if (identity === undefined || identity === wanted.index) return false
    const now = DatabaseFile.look(main)?.identity
    return now === wanted.database || (now === undefined && links.every((other) => other.to !== main))
  })

/** Those that are about what is sought, among those of one process; none when its descriptors cannot be seen. */
export const descriptorsOf = Effect.fnUntraced(function* (sought: Sought, pid: number) {
  const fs = yield* FileSystem.FileSystem
  const folder = `/proc/${pid}/fd`
  const names = yield* Effect.option(fs.readDirectory(folder))
  if (Option.isNone(names)) return Option.none()
  const sameMounts = (yield* mountsOf(pid)) === sought.mounts
  const all = yield* Effect.forEach(names.value, (name) =>
    Effect.map(
      Effect.orElseSucceed(fs.readLink(`${folder}/${name}`), () => ""),
      (to): Link => ({ at: `${folder}/${name}`, to }),
    ),
  )
  const links = all.filter(({ to }) => to.startsWith("/"))
  const found = Map.groupBy(
    (yield* Effect.forEach(links, (link) => descriptorOf(sought, pid, link, sameMounts))).flat(),
    ({ wanted }) => wanted,
  )
  const withElsewhere = [...found].map(([wanted, ofIt]): readonly [Wanted, ReadonlyArray<Descriptor>] => {
    const its = ofIt.map(({ descriptor }) => descriptor)
    const has = (of: Descriptor["of"]) => its.some((one) => one.of === of)
    const isElsewhere = sameMounts && has("database") && !has("index") && keepsOtherWal(wanted, links)
    return [wanted, isElsewhere ? [...its, { of: "elsewhere", mayWrite: true }] : its]
  })
  return Option.some<ReadonlyMap<Wanted, ReadonlyArray<Descriptor>>>(new Map(withElsewhere))
})
