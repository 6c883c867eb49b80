/**
 * How long the log's file stays once the log starts anew: SQLite cuts what is above its limit off with the first commit of the
 * next log. https://www.sqlite.org/pragma.html#pragma_journal_size_limit
 */
import { Effect, FileSystem, Ref } from "effect"
import type { SqlClient } from "effect/sql"
import type { DatabaseFile } from "../files/DatabaseFile.ts"
import { Trusted } from "./StatementRefused.ts"

/**
 * 32 MiB: twice the log that 4000 frames of the default page size make, so that in normal running the file is reused
 * (which syncs faster than growing it) and after an incident the first commit of the next log cuts it back.
 */
export const limit = 32 * 1024 * 1024

/** 4 MiB: cutting a file takes about a millisecond for so much, on the thread that commits (and 40 ms for 250 MB at once). */
const cutAtOnce = 4 * 1024 * 1024

/** Sets the limit so that the next cut is a small one, however long the file is now. The connection has `limit` before. */
export const cutGently = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, { wal }: DatabaseFile) {
  const fs = yield* FileSystem.FileSystem
  const current = yield* Ref.make(limit)
  return Effect.gen(function* () {
    const size = yield* fs.stat(wal).pipe(
      Effect.map((info) => Number(info.size)),
      Effect.orElseSucceed(() => 0),
    )
    const wanted = Math.max(limit, size - cutAtOnce)
    if ((yield* Ref.get(current)) === wanted) return
    yield* sql
      .unsafe(`PRAGMA journal_size_limit = ${wanted}`)
      .pipe(Effect.provideService(Trusted, true), Effect.withTracerEnabled(false))
    yield* Ref.set(current, wanted)
  })
})
