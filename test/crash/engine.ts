/**
 * The engine that is killed: fibers write numbered rows through the writer, a thread checkpoints every 20 ms and whenever
 * the WAL is a little longer, and each acknowledgement is said on standard output as soon as it is there. SIGTERM ends it
 * as it should end: what was asked for is finished, and everything is closed.
 *
 * Row n stands in `t` with its own checksum, and `total` says how many there are: both move in one transaction, so that
 * half of a write can be seen. Its options are below.
 */
import { Effect, Layer, Logger, Option } from "effect"
import { SqlClient } from "effect/sql"
import { createHash } from "node:crypto"
import { parseArgs } from "node:util"
import * as Backup from "../../src/sqlite/copies/Backup.ts"
import * as Database from "../../src/sqlite/Database.ts"
import { Durability } from "../../src/sql/Durability.ts"
import { Writer } from "../../src/sql/Writer.ts"
import * as Checkpointer from "../../src/wal/Checkpointer.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import { randomOf } from "../support/random.ts"
import { say } from "./say.ts"

const { positionals, values } = parseArgs({
  allowPositionals: true, // the database file
  options: {
    durability: { type: "string", default: "durable" },
    seed: { type: "string", default: "1" },
    /** How many; 0 = until it is ended. */
    writes: { type: "string", default: "0" },
    /** Between two writes of one caller: up to twice so many milliseconds, at random; 0 = none. */
    pause: { type: "string", default: "0" },
    /** The guard's `maxFrames`. */
    frames: { type: "string", default: "200" },
    /** Made before and after all of it. */
    backups: { type: "boolean", default: false },
    /** Others beside the callers, each of whose writes fails, is interrupted or is refused, in every way that there is. */
    noise: { type: "boolean", default: false },
  },
})
const [file = ""] = positionals
const random = randomOf(Number(values.seed))
const writes = Number(values.writes)
const pause = Number(values.pause)
const callers = 8

const ending = new AbortController()
process.once("SIGTERM", () => ending.abort())

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
  const last = writes === 0 ? Infinity : before + writes
  const caller = Effect.gen(function* () {
    while (next <= last && !ending.signal.aborted) {
      // The writer keeps the order of asking, and nothing happens between the number and the asking.
      const n = next++
      yield* writer.transaction(
        Effect.gen(function* () {
          yield* sql`INSERT INTO t (n, text) VALUES (${n}, ${payload(n)})`
          yield* sql`UPDATE total SET n = n + 1`
        }),
      )
      yield* say(`ack ${n}`)
      if (pause > 0) yield* Effect.sleep(random(2 * pause))
    }
  })
  /** A row that must never be there, and what takes it away again. */
  let stray = 0
  const add = Effect.suspend(() => sql`INSERT INTO t (n, text) VALUES (${--stray}, 'stray')`)
  const rollsBack = sql`INSERT OR ROLLBACK INTO t (n, text) VALUES (1, 'again')`
  const ways: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
    writer.transaction(Effect.andThen(add, rollsBack)),
    writer.transaction(Effect.andThen(add, Effect.andThen(Effect.ignore(rollsBack), add))),
    writer.transaction(Effect.andThen(add, sql.withTransaction(sql.withTransaction(rollsBack)))),
    writer.transaction(Effect.andThen(add, sql.unsafe(";COMMIT"))),
    writer.transaction(Effect.andThen(add, Effect.die("bug"))),
    Effect.timeout(writer.transaction(Effect.andThen(add, Effect.never)), "2 millis"),
    Effect.timeout(sql.withTransaction(Effect.andThen(add, Effect.never)), "2 millis"),
    sql.withTransaction(Effect.andThen(add, Effect.andThen(Effect.ignore(rollsBack), add))),
    sql.withTransaction(Effect.andThen(add, sql.unsafe("/**/END"))),
    writer.execute("INSERT OR ROLLBACK INTO t (n, text) VALUES (1, 'again')"),
    writer.execute(";ROLLBACK"),
    sql.unsafe(";BEGIN"),
    Effect.scoped(
      Effect.flatMap(sql.reserve, (connection) =>
        Effect.andThen(
          connection.executeUnprepared("BEGIN", [], undefined),
          connection.executeUnprepared(`INSERT INTO t (n, text) VALUES (${--stray}, 'stray')`, [], undefined),
        ),
      ),
    ),
  ]
  const noise = Effect.suspend(() => Effect.exit(ways[random(ways.length)]!)).pipe(
    Effect.andThen(Effect.suspend(() => Effect.sleep(random(6)))),
    Effect.forever,
  )
  const hasRows = Effect.map(sql`SELECT 1 FROM t WHERE n = 1`, (rows) => rows.length > 0)
  const noisy = Effect.sleep("1 millis").pipe(
    Effect.andThen(hasRows),
    Effect.repeat({ until: (there) => there }),
    Effect.andThen(Effect.all([noise, noise, noise], { concurrency: 3 })),
  )
  if (values.noise) yield* Effect.forkChild(noisy)
  const guard = yield* WalGuard.WalGuard
  yield* Effect.repeat(Effect.andThen(Effect.sleep("5 millis"), guard.last), { until: Option.isSome }) // the thread is up
  yield* say("ready")
  yield* Effect.all(
    Array.from({ length: callers }, () => caller),
    { concurrency: "unbounded" },
  )
  yield* say("closing")
})

const around = values.backups
  ? Backup.aroundSession().pipe(Layer.provide(Backup.layer({ file, keep: 2 })))
  : Layer.empty
const layers = WalGuard.layer({ interval: "20 millis", maxFrames: Number(values.frames) }).pipe(
  Layer.provideMerge(Checkpointer.layerThread()),
  Layer.provideMerge(around),
  Layer.provideMerge(
    Database.layer({
      filename: file,
      durability: Durability.literals.find((it) => it === values.durability) ?? "durable",
    }),
  ),
  Layer.provideMerge(Logger.layer([])),
)
await Effect.runPromise(Effect.provide(program, layers))
