/**
 * Who has a database open, seen from a process that has not: the processes with a descriptor on it or a lock on its log,
 * those locks, and since when each of them runs (Linux; nothing elsewhere); and the refusal of what somebody has open.
 *
 * Only `stat` and `/proc` are used. Processes of other PID namespaces, and those of other users that have not used the log
 * yet, may be invisible, so an empty answer is "unknown", never "nobody". https://www.sqlite.org/walformat.html#wal_locks
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, FileSystem, Option, Schema } from "effect"
import { connectedIn, locksIn, type WalLock } from "../LockTable.ts"
import { processName } from "../ProcessName.ts"
import { openedBy } from "../Sidecars.ts"

export interface Opener {
  readonly pid: number
  /** As it was started, of at most 200 characters; the kernel's name of a process is often that of a thread. */
  readonly command: string
  readonly locks: ReadonlyArray<WalLock>
  /** When the process started, in milliseconds since 1970; it may have opened the file later. */
  readonly runningSince: Option.Option<number>
}

const longestCommand = 200

/** Clock ticks per second of the times in `/proc`, fixed in Linux' interface for programs. */
const ticksPerSecond = 100

/** The 22nd word of `/proc/PID/stat`; the second is a name in parentheses that may hold anything. */
const startTicks = (stat: string) => Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19])

export const openers = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const read = (path: string) => Effect.orElseSucceed(fs.readFileString(path), () => "")
  const seen = yield* openedBy(file)
  const shm = yield* Effect.option(fs.stat(`${file}-shm`))
  const inode = Option.flatMap(shm, ({ ino }) => ino)
  const table = yield* read("/proc/locks")
  const connected = Option.match(inode, { onNone: () => [], onSome: (it) => connectedIn(table, String(it)) })
  const unseen = connected.filter((pid) => pid !== process.pid && seen.every((process) => process.pid !== pid))
  if (seen.length + unseen.length === 0) return []
  const named = yield* Effect.forEach(unseen, (pid) =>
    Effect.map(read(`/proc/${pid}/comm`), (comm) => ({ pid, command: comm.trim() || "unknown" })),
  )
  const bootSeconds = Number(/^btime (\d+)$/m.exec(yield* read("/proc/stat"))?.[1])
  return yield* Effect.forEach(
    [...seen, ...named],
    Effect.fnUntraced(function* ({ command, pid }) {
      const started = (bootSeconds + startTicks(yield* read(`/proc/${pid}/stat`)) / ticksPerSecond) * 1000
      const words = (yield* read(`/proc/${pid}/cmdline`)).replaceAll(/[\s\p{Cc}]+/gu, " ").trim()
      return {
        pid,
        command: words === "" ? command : words.slice(0, longestCommand),
        locks: Option.match(inode, { onNone: () => [], onSome: (it) => locksIn(table, String(it), pid) }),
        runningSince: Number.isFinite(started) ? Option.some(Math.round(started)) : Option.none(),
      } satisfies Opener
    }),
  )
})

/** A database that somebody has open, or that was not closed. */
export class NotAtRestError extends Schema.TaggedError<NotAtRestError>()("NotAtRestError", {
  file: Schema.String,
  reason: Schema.Literals(["Open", "LogLeft"]),
  /** The processes that have it open, or the log. */
  what: Schema.Array(Schema.String),
}) {
  override get message() {
    const what = this.what.join(", ")
    return this.reason === "Open"
      ? `${this.file} is open in ${what}; end it first (nothing was changed)`
      : `${what} holds what is not in ${this.file} yet, because its last user did not close it; what opens the database for writing next takes it over (nothing was changed)`
  }
}

/** Fails while another process has the file open, as far as that can be seen. */
export const ensureNotOpen = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const others = yield* openers(yield* Effect.orElseSucceed(fs.realPath(file), () => file))
  if (others.length === 0) return
  return yield* new NotAtRestError({
    file,
    reason: "Open",
    what: others.map((it) => processName(it)),
  })
}, Effect.provide(NodeFileSystem.layer))
