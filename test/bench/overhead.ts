/**
 * What a write costs over a raw prepared statement, and where the time goes: the same upsert on each floor, one caller, at
 * NORMAL, so that the disk does not hide it. Prints microseconds as one JSON line. Run by `bench.ts`.
 */
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Effect, Layer, Logger } from "effect"
import { Reactivity } from "effect/reactivity"
import * as fs from "node:fs"
import { performance } from "node:perf_hooks"
import { DatabaseSync } from "node:sqlite"
import * as Database from "../../src/sqlite/Database.ts"
import { Writer } from "../../src/sql/Writer.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import { median } from "./figures.ts"

const file = process.argv[2] ?? ""
const seconds = Number(process.argv[3] ?? 1)
const rounds = Number(process.argv[4] ?? 3)
const upsert =
  "INSERT INTO engine_state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"

type Write = (key: string, value: string) => Effect.Effect<unknown, unknown>

const timed = Effect.fnUntraced(function* (write: Write) {
  const start = performance.now()
  let n = 0
  while (performance.now() - start < seconds * 1000) {
    yield* write(`key ${n % 100}`, `value ${n}`)
    n++
  }
  return ((performance.now() - start) * 1000) / n
})

/** Each floor on a fresh database, with SQLite's own autocheckpoint as everywhere else. */
const floors: Readonly<Record<string, Effect.Effect<number, unknown>>> = {
  "raw prepared statement": Effect.suspend(() => {
    const database = new DatabaseSync(file)
    database.exec("PRAGMA synchronous = NORMAL")
    const statement = database.prepare(upsert)
    const start = performance.now()
    let n = 0
    for (; performance.now() - start < seconds * 1000; n++) statement.run(`key ${n % 100}`, `value ${n}`)
    const micros = ((performance.now() - start) * 1000) / n
    database.close()
    return Effect.succeed(micros)
  }),
  "driver's connection": Effect.gen(function* () {
    const client = yield* SqliteClient.make({ filename: file })
    yield* client.unsafe("PRAGMA synchronous = NORMAL")
    const connection = yield* client.reserve
    return yield* timed((key, value) => connection.execute(upsert, [key, value], undefined))
  }).pipe(Effect.scoped, Effect.provide(Reactivity.layer)),
  "sql.unsafe": Database.Database.use(({ sql }) => timed((key, value) => sql.unsafe(upsert, [key, value]))).pipe(
    Effect.provide(Layer.provideMerge(Database.layer({ filename: file, durability: "normal" }), Logger.layer([]))),
  ),
  "sql.withTransaction": Database.Database.use(({ sql }) =>
    timed((key, value) => sql.withTransaction(sql.unsafe(upsert, [key, value]))),
  ).pipe(
    Effect.provide(Layer.provideMerge(Database.layer({ filename: file, durability: "normal" }), Logger.layer([]))),
  ),
  "Writer.execute": Writer.use((writer) => timed((key, value) => writer.execute(upsert, [key, value]))).pipe(
    Effect.provide(Layer.provideMerge(Database.layer({ filename: file, durability: "normal" }), Logger.layer([]))),
  ),
  "StateManager.set": StateManager.StateManager.use((state) => timed((key, value) => state.set(key, value))).pipe(
    Effect.provide(
      StateManager.layer().pipe(
        Layer.provideMerge(Database.layer({ filename: file, durability: "normal" })),
        Layer.provideMerge(Logger.layer([])),
      ),
    ),
  ),
}

const results = new Map<string, Array<number>>()
for (let round = 0; round < rounds; round++) {
  for (const [name, floor] of Object.entries(floors)) {
    for (const suffix of ["", "-wal", "-shm"]) fs.rmSync(`${file}${suffix}`, { force: true })
    if (name !== "StateManager.set") {
      const creating = new DatabaseSync(file)
      creating.exec("PRAGMA journal_mode = WAL; CREATE TABLE engine_state (key TEXT PRIMARY KEY, value TEXT)")
      creating.close()
    }
    results.set(name, [...(results.get(name) ?? []), await Effect.runPromise(floor)])
  }
}
process.stdout.write(`${JSON.stringify([...results].map(([name, micros]) => [name, median(micros)]))}\n`)
