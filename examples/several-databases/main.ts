/**
 * Two guarded databases in one program: orders, which must survive a power cut, and prices, of which the last second may be lost. One thread
 * checkpoints both; each has its own writer, guard and log lines.
 *
 * Run it with `node main.ts`; it writes for a second and prints what each database holds.
 */
import { Console, Context, Effect, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import { GuardedDatabase, Shutdown, WalGuard, Writer } from "seawall"

/** What a program needs of one database. A class each, so that the types tell them apart. */
interface Store {
  readonly sql: SqlClient.SqlClient
  readonly writer: Writer.Writer["Service"]
  readonly guard: WalGuard.WalGuard["Service"]
}

const store = Effect.gen(function* () {
  const [sql, writer, guard] = [yield* SqlClient.SqlClient, yield* Writer.Writer, yield* WalGuard.WalGuard]
  return { sql, writer, guard } satisfies Store
})

class Orders extends Context.Service<Orders, Store>()("example/Orders") {
  static readonly layer = Layer.effect(Orders, store).pipe(
    Layer.provide(GuardedDatabase.layer({ filename: "orders.db", durability: "durable" })),
  )
}

class Prices extends Context.Service<Prices, Store>()("example/Prices") {
  static readonly layer = Layer.effect(Prices, store).pipe(
    Layer.provide(GuardedDatabase.layer({ filename: "prices.db", durability: "normal", maxFrames: 1000 })),
  )
}

const program = Effect.gen(function* () {
  const [orders, prices] = [yield* Orders, yield* Prices]
  yield* prices.sql`CREATE TABLE IF NOT EXISTS prices (at INTEGER PRIMARY KEY, price REAL NOT NULL)`
  yield* orders.sql`CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, price REAL NOT NULL)`

  const quote = (n: number) => prices.writer.sql`INSERT INTO prices (price) VALUES (${100 + (n % 7)})`
  const order = (n: number) => orders.writer.sql`INSERT INTO orders (price) VALUES (${100 + (n % 7)})`
  yield* Effect.forEach(
    Array.from({ length: 1000 }, (_, n) => n),
    quote,
    { concurrency: 50, discard: true },
  )
  yield* Effect.forEach(
    Array.from({ length: 100 }, (_, n) => n),
    order,
    { concurrency: 50, discard: true },
  )

  for (const [name, { guard, sql }] of [
    ["orders", orders],
    ["prices", prices],
  ] as const) {
    const [row] = yield* sql<{ rows: number }>`SELECT count(*) AS rows FROM ${sql(name)}`
    const { exposureSeconds } = yield* guard.status
    const lost = Option.getOrElse(exposureSeconds, () => 0)
    yield* Console.log(`${name}: ${row?.rows} rows; a power cut now would lose ${lost.toFixed(1)} s`)
  }
})

const databases = Layer.provide(Layer.merge(Orders.layer, Prices.layer), Shutdown.layer())

void Effect.runPromise(Effect.provide(program, databases))
