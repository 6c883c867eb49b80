/**
 * What Seawall knows of versions of SQLite: the one verdict on the WAL-reset bug, for the layers, the commands and the doctor.
 *
 * From 3.7.0 to 3.51.2 two connections that write and checkpoint in the same instant can corrupt the database. Fixed in
 * 3.51.3 and in the backports 3.50.7 and 3.44.6. A single connection cannot meet it, and two rarely do: a checkpoint has to end,
 * another to start at once, and a commit to start the WAL again while that runs. https://www.sqlite.org/wal.html#walresetbug
 *
 * The decision: Seawall adds no connection of its own with such a version (`UnsafeSqliteError`). Where two processes may write,
 * of which one has it, that is a warning; where at most one is seen, a notice.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, Option } from "effect"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import * as Processes from "../processes/Processes.ts"
import { namesOf } from "../processes/ProcessName.ts"

/** SQLite's own page on the WAL-reset bug. */
export const walResetBug = "https://www.sqlite.org/wal.html#walresetbug"

/** What to tell the user of an unsafe version. */
export const safeVersions = "3.51.3 or later, 3.50.7 or later in 3.50, 3.44.6 or later in 3.44"

/** How a program sees which SQLite it has, and gets a safe one. */
export const howToGet = {
  Python: `python3 -c "import sqlite3; print(sqlite3.sqlite_version)" tells; update the system's SQLite, or pip install "apsw>=3.51.3"`,
  Node: `node -p process.versions.sqlite tells; Node 22.22.3, 24.15.0, 25.9.0 or later of each`,
  Go: `SELECT sqlite_version() tells; go get modernc.org/sqlite@v1.49.1 or later`,
  shell: `sqlite3 --version tells; https://www.sqlite.org/download.html`,
} as const

export const advice = `use SQLite ${safeVersions} (${Object.entries(howToGet)
  .map(([language, how]) => `${language}: ${how}`)
  .join("; ")}); ${walResetBug}`

export const bugOf = (version: string) =>
  `SQLite ${version} has the WAL-reset bug: two connections that write and checkpoint in the same instant can, rarely, corrupt the database`

/** `Withdrawn`: holds the fix, but was withdrawn by its makers for other reasons. */
export type Verdict = "Safe" | "Withdrawn" | "Unsafe"

export const verdict = (version: string): Verdict => {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number)
  if (major !== 3) return major > 3 ? "Safe" : "Unsafe"
  if (minor === 52 && patch === 0) return "Withdrawn"
  const fixed =
    minor > 51 || (minor === 51 && patch >= 3) || (minor === 50 && patch >= 7) || (minor === 44 && patch >= 6)
  return fixed ? "Safe" : "Unsafe"
}

/** The risk of a version, and what to do about it. */
interface Risk {
  readonly severity: "warning" | "notice"
  readonly message: string
  readonly remedy: string
}

/**
 * The verdict in words; none of a safe version. `writers` are all processes that may write or checkpoint and are seen, with
 * the asking process, if it does so itself.
 */
export const riskOf = (version: string, writers: number): Option.Option<Risk> => {
  switch (verdict(version)) {
    case "Safe":
      return Option.none()
    case "Withdrawn":
      return Option.some({
        severity: "notice",
        message: `SQLite ${version} was withdrawn by its makers; it has the fix of the WAL-reset bug`,
        remedy: advice,
      })
    case "Unsafe":
      return Option.some(
        writers >= 2
          ? {
              severity: "warning",
              message: bugOf(version),
              remedy: `${advice}; until then only its own program should checkpoint this database`,
            }
          : { severity: "notice", message: `${bugOf(version)}; a single connection cannot`, remedy: advice },
      )
  }
}

/** The processes among these that may write the database, or checkpoint it. */
export const writersOf = (processes: ReadonlyArray<Processes.Process>): ReadonlyArray<Processes.Process> =>
  processes.filter((it) => Processes.isUsing(it) && it.mayWrite)

/** Says in the log what is to be said of a version, in a process that itself checkpoints this database. */
export const say = Effect.fnUntraced(function* (version: string, file: string) {
  if (verdict(version) === "Safe") return
  const others = Option.map(yield* Processes.using(DatabaseFile.resolve(file)), writersOf)
  const beside = Option.getOrElse(others, () => [])
  const risk = riskOf(version, 1 + beside.length)
  if (Option.isNone(risk)) return
  const { message, remedy, severity } = risk.value
  const notice = verdict(version) === "Unsafe" ? "sqlite version unsafe" : "sqlite version withdrawn"
  const line = severity === "warning" ? Effect.logWarning("sqlite version unsafe") : Effect.logInfo(notice)
  yield* Effect.annotateLogs(line, {
    version,
    danger: message,
    others: Option.match(others, { onNone: () => "unknown", onSome: (them) => namesOf(them) || "none" }),
    advice: remedy,
  })
}, Effect.provide(NodeFileSystem.layer))

/** Whether `wal_checkpoint(NOOP)` exists, from 3.51.0 on; before that, an unknown word silently runs PASSIVE. */
export const hasNoop = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  return major > 3 || (major === 3 && minor >= 51)
}
