/** Writes to a table `t`, by many callers. */
import { Effect, Metric } from "effect"
import { SqlClient } from "effect/sql"
import { Writer } from "../../src/sql/Writer.ts"
import { settle } from "./ScriptedDisk.ts"

/** Twice the same `a` is refused. */
export const table = SqlClient.SqlClient.use(
  (sql) => sql`CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a INTEGER UNIQUE NOT NULL)`,
)

export const rows = SqlClient.SqlClient.use((sql) =>
  Effect.map(sql.unsafe("SELECT a FROM t ORDER BY id").values, (all) => all.flat()),
)

export const insert = (a: number | null) => Writer.use((writer) => writer.execute("INSERT INTO t (a) VALUES (?)", [a]))
export const plain = (a: number) => SqlClient.SqlClient.use((sql) => sql.unsafe("INSERT INTO t (a) VALUES (?)", [a]))

export const together = <A, E, R>(...writes: ReadonlyArray<Effect.Effect<A, E, R>>) =>
  Effect.all(writes, { concurrency: "unbounded" })
export const outcomes = <A, E, R>(...writes: ReadonlyArray<Effect.Effect<A, E, R>>) =>
  together(...writes.map(Effect.exit))

/** Asks, and lets it come as far as it can. */
export const fork = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.tap(Effect.forkChild(self, { startImmediately: true }), settle)

/** How many transactions of the writer there were, and of how many writes. */
export const batches = Effect.map(Metric.snapshot, (metrics) => {
  const found = metrics.find(({ id }) => id === "seawall_write_batch_size")
  return found?.type === "Histogram"
    ? { count: found.state.count, sum: found.state.sum, max: found.state.max }
    : undefined
})

export const countingBatches = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.provideService(self, Metric.MetricRegistry, new Map())
