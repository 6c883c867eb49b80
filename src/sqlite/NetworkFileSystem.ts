/**
 * Tells whether a file lies on a network file system, where WAL mode is not supported and corrupts: processes on
 * different hosts share no memory. https://www.sqlite.org/wal.html#overview, point 1 of the disadvantages
 *
 * Asks `statfs`, and the mount table for what only that can tell (FUSE is one type for many). Unknown counts as local.
 */
import { Effect, FileSystem, Option } from "effect"
import { statfs } from "node:fs/promises"

/** `f_type` of statfs(2), from linux/magic.h and the file systems' own headers. */
const networkMagic: ReadonlyMap<number, string> = new Map([
  [0x6969, "nfs"],
  [0x517b, "smb"],
  [0xfe534d42, "smb2"],
  [0xff534d42, "cifs"],
  [0x01021997, "9p"],
  [0x5346414f, "afs"],
  [0x73757245, "coda"],
  [0x00c36400, "ceph"],
  [0x0bd00bd0, "lustre"],
  [0x786f4256, "vboxsf"],
])

const networkTypes: ReadonlySet<string> = new Set([
  "nfs",
  "nfs4",
  "cifs",
  "smb3",
  "smbfs",
  "9p",
  "afs",
  "ncpfs",
  "coda",
  "ceph",
  "lustre",
  "vboxsf",
  "fuse.sshfs",
  "fuse.rclone",
  "fuse.glusterfs",
  "fuse.s3fs",
  "fuse.gcsfuse",
  "fuse.ceph",
  "fuse.davfs",
  "fuse.curlftpfs",
])

/**
 * File systems that a host and its guests, or several hosts, share: each side is a system of its own, and does not see the locks
 * of the other.
 */
const sharedTypes: ReadonlySet<string> = new Set([
  "virtiofs",
  "fakeowner",
  "fuse.grpcfuse",
  "grpcfuse",
  "osxfs",
  "fuse.osxfs",
  "vmhgfs",
  "fuse.vmhgfs-fuse",
  "prl_fs",
  "juicefs",
  "fuse.juicefs",
  "ocfs2",
])

/** Spaces and their like are written as octal numbers in a mount table. */
const unescape = (text: string) =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)))

/** The type of the mount that holds the path, in the format of `/proc/mounts`: the longest mount point, the last of equals. */
export const mountType = (table: string, path: string): Option.Option<string> => {
  let best = { length: -1, type: Option.none<string>() }
  for (const line of table.split("\n")) {
    const [, at, type] = line.split(" ")
    if (at === undefined || type === undefined) continue
    const point = unescape(at)
    const below = point.endsWith("/") ? point : `${point}/`
    if ((path === point || path.startsWith(below)) && point.length >= best.length) {
      best = { length: point.length, type: Option.some(type) }
    }
  }
  return best.type
}

/** The name of the network file system that these two say the path is on. */
export const networkName = (magic: number, table: string, path: string): Option.Option<string> =>
  Option.orElse(Option.fromUndefinedOr(networkMagic.get(magic)), () =>
    Option.filter(mountType(table, path), (type) => networkTypes.has(type)),
  )

/** A file system that is not this system's alone. */
interface Elsewhere {
  readonly type: string
  /** `network`: processes on different hosts share no memory, and WAL mode corrupts. `shared`: safe for one side alone. */
  readonly kind: "network" | "shared"
}

/** What kind of file system this folder is on; none of a local one, or one that is not known. */
export const detect = Effect.fnUntraced(function* (folder: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Effect.orElseSucceed(fs.realPath(folder), () => folder)
  const magic = yield* Effect.tryPromise(() => statfs(path)).pipe(
    Effect.map(({ type }) => type >>> 0), // unsigned, whatever the platform says
    Effect.orElseSucceed(() => 0),
  )
  const table = yield* Effect.orElseSucceed(fs.readFileString("/proc/mounts"), () => "")
  const network = Option.map(networkName(magic, table, path), (type): Elsewhere => ({ type, kind: "network" }))
  return Option.orElse(network, () =>
    Option.map(
      Option.filter(mountType(table, path), (type) => sharedTypes.has(type)),
      (type): Elsewhere => ({ type, kind: "shared" }),
    ),
  )
})
