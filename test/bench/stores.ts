/**
 * A tick of the paper program on each store, by one caller: SQLite with each commit synced, and PostgreSQL as it comes on the same disk,
 * in turns of half a second within one process, so that both meet the same machine.
 */
import { Effect, Layer, Logger, Option, Redacted } from "effect"
import * as path from "node:path"
import * as Lease from "../../src/lease/Lease.ts"
import * as PaperBooks from "../../src/paper/PaperBooks.ts"
import * as Leadership from "../../src/postgres/Leadership.ts"
import * as PostgresDatabase from "../../src/postgres/PostgresDatabase.ts"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import * as Database from "../../src/sqlite/Database.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import * as PostgresServer from "../support/PostgresServer.ts"
import { tick as paperTick } from "../support/paperTick.ts"
import { median, table } from "./figures.ts"
import { folder, rounds, show, values } from "./options.ts"

export interface StoresPair {
  /** Ticks a second. */
  readonly sqlite: number
  readonly postgres: number
}

const name = "a tick on each store"
const windowMillis = 500
const pairsOfRound = 8

/** With as many keys as the paper program sets. */
const tick: PaperBooks.PaperTick = {
  ...paperTick,
  state: { ...paperTick.state, "paper.spread": "0.07", "paper.fills": "2", "paper.pnl": "1", "paper.start": "150" },
}

/** Ticks a second of one window. */
const ticksOf = Effect.fnUntraced(function* (books: PaperBooks.PaperBooks["Service"]) {
  const start = performance.now()
  let count = 0
  while (performance.now() - start < windowMillis) {
    yield* books.recordTick(tick)
    count += 1
  }
  return (count / (performance.now() - start)) * 1000
})

const opened = <E>(store: Layer.Layer<StateManager.StateManager, E>) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(Layer.provideMerge(PaperBooks.layer(), store))
    const state = yield* Effect.provideContext(StateManager.StateManager, context)
    const lease = yield* Effect.provideContext(Effect.serviceOption(Lease.Lease), context)
    yield* state.openSession({ parentSessionId: Option.none(), epoch: Option.flatMap(lease, ({ epoch }) => epoch) })
    return yield* Effect.provideContext(PaperBooks.PaperBooks, context)
  })

const measured = Effect.gen(function* () {
  const server = yield* PostgresServer.makeOwn({ fsync: true })
  const url = Redacted.make(server.url())
  const filename = path.join(folder, "ticks.db")
  const sqlite = yield* opened(
    StateManager.layer().pipe(Layer.provide(Database.layer({ filename, durability: "full" }))),
  )
  const postgres = yield* opened(
    StateManager.layer().pipe(
      Layer.provide(PostgresDatabase.layer({ url })),
      Layer.provideMerge(Leadership.layer({ url })),
    ),
  )
  yield* ticksOf(sqlite)
  yield* ticksOf(postgres)
  const pairs: Array<StoresPair> = []
  for (let pair = 0; pair < pairsOfRound * rounds; pair++) {
    process.stderr.write(`${name}: pair ${pair + 1} of ${pairsOfRound * rounds}\n`)
    // Each goes first as often as the other.
    const first = yield* ticksOf(pair % 2 === 0 ? sqlite : postgres)
    const second = yield* ticksOf(pair % 2 === 0 ? postgres : sqlite)
    pairs.push(pair % 2 === 0 ? { sqlite: first, postgres: second } : { sqlite: second, postgres: first })
  }
  return pairs
}).pipe(Effect.scoped, Effect.provide(Layer.merge(Shutdown.layer(), Logger.layer([]))))

export const stores = async (): Promise<ReadonlyArray<StoresPair>> => {
  if (values.quick || !name.includes(values.only)) return []
  if (PostgresServer.missingOwn !== undefined) {
    process.stderr.write(`${PostgresServer.missingOwn}: ${name} is left out\n`)
    return []
  }
  const pairs = await Effect.runPromise(measured)
  const ratios = pairs.map(({ postgres, sqlite }) => postgres / sqlite)
  const rows = [
    ["SQLite, full", Math.round(median(pairs.map(({ sqlite }) => sqlite))), "", ""],
    [
      "PostgreSQL",
      Math.round(median(pairs.map(({ postgres }) => postgres))),
      median(ratios).toFixed(2),
      Math.min(...ratios).toFixed(2),
    ],
  ]
  show(name, `${table(["store", "ticks/s", "ratio to SQLite, median", `worst of ${pairs.length} pairs`], rows)}`)
  return pairs
}
