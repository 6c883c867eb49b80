/**
 * The `-wal` and `-shm` files beside a database, and who else has the database open.
 *
 * Only `stat` and `/proc` are used. Opening any of these files while this process has the database open would drop its
 * locks when the descriptor is closed: https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
 */
import { Effect, FileSystem, Option } from "effect"

/** The sidecars that exist now. */
export const present = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  return yield* Effect.filter([`${file}-wal`, `${file}-shm`], (path) =>
    Effect.orElseSucceed(fs.exists(path), () => false),
  )
})

/** A process that has the database open, or a lock of its log. */
export interface Process {
  readonly pid: number
  /** The kernel's name of it, of at most 15 characters; `unknown` when it has ended meanwhile. */
  readonly command: string
}

/**
 * The processes that have the file open, this one too, as far as `/proc/PID/fd` shows: nothing on other systems than Linux,
 * and not the processes of other users without the right to look at them. An empty answer therefore proves nothing.
 */
export const users = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const none = Effect.succeed<ReadonlyArray<string>>([])
  const target = yield* Effect.orElseSucceed(fs.realPath(file), () => file)
  const hasOpen = Effect.fnUntraced(function* (pid: string) {
    const descriptors = yield* Effect.catch(fs.readDirectory(`/proc/${pid}/fd`), () => none)
    for (const descriptor of descriptors) {
      const link = yield* Effect.orElseSucceed(fs.readLink(`/proc/${pid}/fd/${descriptor}`), () => "")
      if (link === target) return true
    }
    return false
  })
  const pids = (yield* Effect.catch(fs.readDirectory("/proc"), () => none)).filter((name) => /^\d+$/.test(name))
  return yield* Effect.forEach(yield* Effect.filter(pids, hasOpen), (pid) =>
    Effect.map(Effect.option(fs.readFileString(`/proc/${pid}/comm`)), (comm): Process => ({
      pid: Number(pid),
      command: Option.getOrElse(comm, () => "unknown").trim(),
    })),
  )
})

/** The same without this process. */
export const openedBy = (file: string) => Effect.map(users(file), (all) => all.filter(({ pid }) => pid !== process.pid))
