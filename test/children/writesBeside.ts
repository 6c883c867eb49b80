/**
 * A process for `strace`: writes through the writer and by plain statements, and says on standard output which it does, so
 * that the system calls between two of its words belong to the first.
 */
import { Effect, Layer, Logger } from "effect"
import { SqlClient } from "effect/sql"
import * as fs from "node:fs"
import * as Database from "../../src/sqlite/Database.ts"
import { Writer } from "../../src/sql/Writer.ts"

const say = (word: string) => Effect.sync(() => fs.writeSync(1, `${word}\n`))

const program = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const writer = yield* Writer
  yield* sql`CREATE TABLE t (a)`
  const insert = "INSERT INTO t (a) VALUES (1)"
  for (let round = 0; round < 3; round++) {
    yield* say("writer")
    yield* Effect.all([writer.execute(insert), writer.execute(insert)], { concurrency: "unbounded" })
    yield* say("plain")
    yield* sql.unsafe(insert)
    yield* say("transaction")
    yield* sql.withTransaction(sql.unsafe(insert))
  }
  yield* say("end")
})

await Effect.runPromise(
  Effect.provide(program, Layer.provideMerge(Database.layer({ filename: process.argv[2] ?? "" }), Logger.layer([]))),
)
