/** What the files of a database take, and when it was last backed up: looked at rarely, and never opened. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { Effect, Option } from "effect"
import * as path from "node:path"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import * as Room from "../files/Room.ts"
import * as BackupFiles from "../sqlite/copies/BackupFiles.ts"
import type { FileFacts } from "./Snapshot.ts"

/** Sizes move slowly, and hundreds of databases may be watched. */
const looksAt = "10 seconds"

/** A folder may hold thousands of files. */
const looksForBackups = "5 minutes"

/** Asked as often as one likes. */
export const make = Effect.fnUntraced(function* (filename: string) {
  const backup = yield* BackupFiles.list(filename).pipe(
    Effect.map((all) => Option.flatMap(Option.fromUndefinedOr(all[0]), BackupFiles.madeAt)),
    Effect.provide([NodeFileSystem.layer, NodePath.layer]),
    Effect.cachedWithTTL(looksForBackups),
  )
  const look = Effect.gen(function* () {
    const { found, path: real, wal } = DatabaseFile.resolve(filename)
    const room = yield* Effect.option(Room.at(path.dirname(real)))
    return {
      database_bytes: found?.bytes ?? null,
      log_bytes: DatabaseFile.look(wal)?.bytes ?? 0,
      disk_free_bytes: Option.getOrNull(Option.map(room, ({ free }) => free)),
      last_backup_ms: Option.getOrNull(yield* backup),
    } satisfies FileFacts
  })
  return yield* Effect.cachedWithTTL(look, looksAt)
})
