/**
 * The engine that is killed: fibers write numbered rows through the writer, a thread checkpoints every 20 ms and whenever
 * the log is a little longer, and each acknowledgement is said on standard output as soon as it is there.
 *
 * Row n stands in `t` with its own checksum, and `total` says how many there are: both move in one transaction, so that
 * half of a write can be seen. `engine.ts FILE DURABILITY SEED WRITES BACKUPS`; 0 writes = until it is killed; `backups`
 * are made before and after all of it, and anything else means none.
 */
import { Effect, Layer, Logger, Option } from "effect"
import { SqlClient } from "effect/unstable/sql"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as Backup from "../../src/sqlite/Backup.ts"
import { Database } from "../../src/sqlite/Database.ts"
import { Durability } from "../../src/sqlite/Durability.ts"
import { Writer } from "../../src/sqlite/Writer.ts"
import { LatencyWindow } from "../../src/wal/LatencyWindow.ts"
import * as ThreadCheckpointer from "../../src/wal/ThreadCheckpointer.ts"
import { WalGuard } from "../../src/wal/WalGuard.ts"
import { randomOf } from "../support/random.ts"

const [, , file = "", durability = "durable", seed = "1", writes = "0", backups = ""] = process.argv
const random = randomOf(Number(seed))
const callers = 8

const patience = new Int32Array(new SharedArrayBuffer(4))

/** Synchronous, so that nothing is said late; waits while nobody reads. */
const speak = (line: string): void => {
  try {
    fs.writeSync(1, line)
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith("EAGAIN")) throw error
    Atomics.wait(patience, 0, 0, 1)
    speak(line)
  }
}
const say = (words: string) => Effect.sync(() => speak(`${words}\n`))

/** Mostly a small part of a page, now and then several pages. */
const payload = (n: number) => {
  const repeats = random(20) === 0 ? 100 + random(100) : 1 + random(10)
  return createHash("sha256").update(`${n}`).digest("hex").repeat(repeats)
}

const program = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const writer = yield* Writer
  const [{ n: before } = { n: 0 }] = yield* sql<{ n: number }>`SELECT n FROM total`
  let next = before + 1
  const last = Number(writes) === 0 ? Infinity : before + Number(writes)
  const caller = Effect.gen(function* () {
    while (next <= last) {
      // The writer keeps the order of asking, and nothing happens between the number and the asking.
      const n = next++
      yield* writer.transaction(
        Effect.gen(function* () {
          yield* sql`INSERT INTO t (n, text) VALUES (${n}, ${payload(n)})`
          yield* sql`UPDATE total SET n = n + 1`
        }),
      )
      yield* say(`ack ${n}`)
    }
  })
  const guard = yield* WalGuard
  yield* Effect.repeat(Effect.andThen(Effect.sleep("5 millis"), guard.last), { until: Option.isSome }) // the thread is up
  yield* say("ready")
  yield* Effect.all(
    Array.from({ length: callers }, () => caller),
    { concurrency: "unbounded" },
  )
  yield* say("closing")
})

const around =
  backups === "backups"
    ? Backup.aroundSession(Effect.succeed(true)).pipe(Layer.provide(Backup.Backup.layer({ file, keep: 2 })))
    : Layer.empty
const layers = WalGuard.layer({ interval: "20 millis", maxFrames: 200 }).pipe(
  Layer.provideMerge(LatencyWindow.layer),
  Layer.provideMerge(ThreadCheckpointer.layer()),
  Layer.provideMerge(around),
  Layer.provideMerge(
    Database.layer({ file, durability: Durability.literals.find((it) => it === durability) ?? "durable" }),
  ),
  Layer.provideMerge(Logger.layer([])),
)
await Effect.runPromise(Effect.provide(program, layers))
