/**
 * Whether a database, its WAL and the index of that are still the files that were opened.
 *
 * Looks with `stat` alone: no descriptor, no lock. Once one of them was found replaced it stays so: SQLite goes on writing
 * into a file that has no name any more, and every commit succeeds and is lost.
 * https://www.sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use
 */
import { Deferred, Duration, Effect, Option } from "effect"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import { DurabilityError } from "../sql/Durability.ts"
import type { ExposureTracker } from "./Exposure.ts"
import * as Pulse from "./Pulse.ts"

/** A second: what is acknowledged into a file without a name is bounded by it. */
const lookInterval = Duration.seconds(1)

/** Intervals between two looks while nothing is committed here: nothing is acknowledged then, and hundreds of databases may be idle. */
const intervalsAtRest = 5

interface Opened extends Pick<DatabaseFile.OpenedFiles, "wal" | "shm"> {
  readonly database: DatabaseFile.DatabaseFile
  /** That of the database file when it was opened. */
  readonly identity: DatabaseFile.Identity
}

export interface Replacement {
  /** What a look has found; undefined while all is as it was. */
  readonly found: () => DurabilityError | undefined
  /** Looks now. What it finds first is an ERROR, and a failed step of the shutdown. */
  readonly look: Effect.Effect<Option.Option<DurabilityError>>
  /** Succeeds once a look has found one of them replaced. */
  readonly replaced: Effect.Effect<DurabilityError>
}

/** Looks once a second for the life of the scope; `onFound` runs before anything is said. */
export const make = Effect.fnUntraced(function* (
  { database, identity, shm, wal }: Opened,
  exposure: ExposureTracker,
  onFound: (error: DurabilityError) => void,
) {
  const { given: file } = database
  const deferred = Deferred.makeUnsafe<DurabilityError>()
  let found: DurabilityError | undefined

  const whatChanged = (): string | undefined => {
    for (const [name, opened] of [
      [database.path, identity],
      [database.wal, wal],
      [database.shm, shm],
    ] as const) {
      const now = opened === undefined ? "unknown" : DatabaseFile.identityAt(name)
      if (now === "gone") return `${name} was removed`
      if (now !== "unknown" && now !== opened) return `another file has the name ${name}`
    }
    return undefined
  }

  const look = Effect.suspend(() => {
    if (found !== undefined) return Effect.succeedSome(found)
    const changed = whatChanged()
    if (changed === undefined) return Effect.succeedNone
    const error = new DurabilityError({ reason: "Replaced", file, cause: new Error(changed) })
    found = error
    onFound(error)
    Deferred.doneUnsafe(deferred, Effect.succeed(error))
    return Effect.logError("database replaced").pipe(
      Effect.annotateLogs({
        file,
        changed,
        danger: "what was committed since may be lost; nothing more is written, acknowledged, checkpointed or closed",
        advice: `end every program that has the old file open; where ${database.wal} belonged to that, move it and ${database.shm} away before anything opens the new file, which would take it over`,
      }),
      Effect.andThen(Effect.flatMap(Shutdown.Shutdown, (shutdown) => shutdown.recordFailure("database replaced"))),
      Effect.as(Option.some(error)),
    )
  })

  const fork = Effect.runForkWith(yield* Effect.context())
  let looked = -1
  let sinceLook = 0
  yield* Pulse.every(lookInterval, () => {
    const commits = exposure.commits()
    if (++sinceLook < intervalsAtRest && commits === looked) return
    looked = commits
    sinceLook = 0
    // A fiber only for what is found.
    if (found === undefined && whatChanged() !== undefined) fork(look)
  })

  return { found: () => found, look, replaced: Deferred.await(deferred) } satisfies Replacement as Replacement
})
