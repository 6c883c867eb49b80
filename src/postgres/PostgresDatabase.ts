/**
 * An engine's place in PostgreSQL, for its statements and writes: `SqlClient` and `Writer`, as `Database.layer` provides them over a
 * SQLite file. Above `Leadership.layer` every write is fenced by its epoch; without one, as for a command, it waits for the row of
 * the leader and changes what it changes between two writes of the engine.
 *
 * There is no WAL of ours to guard: checkpoints, backups and the health of the disk are the server's.
 */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import * as Lease from "../lease/Lease.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import { Writer } from "../sql/Writer.ts"
import * as LeaderRow from "./LeaderRow.ts"
import { connect, prepare, sessionOf } from "./PostgresClient.ts"
import type { PostgresOpenError } from "./PostgresOpenError.ts"
import { check, type PostgresOptions } from "./PostgresOptions.ts"
import * as PostgresWriter from "./PostgresWriter.ts"

export type { PostgresOptions }

/** Which server, and whether its schema is made. */
export interface PostgresDatabaseOptions extends PostgresOptions {
  /** Whether a schema that is missing is made; default true. */
  readonly create?: boolean | undefined
}

/** Fails before it writes anything when the server is not one that an engine can be kept in. */
export const layer = (
  options: PostgresDatabaseOptions,
): Layer.Layer<SqlClient.SqlClient | PgClient.PgClient | Writer, PostgresOpenError> =>
  Layer.effectContext(make(options))

const make = Effect.fnUntraced(function* ({ create = true, ...options }: PostgresDatabaseOptions) {
  const settings = yield* check(options)
  const { maxConnections } = settings
  const epoch = Option.flatMap(yield* Effect.serviceOption(Lease.Lease), (lease) => lease.epoch)
  if (Option.isNone(epoch)) yield* prepare(settings, { create })
  const sql = yield* connect(settings, {
    name: "seawall",
    maxConnections,
    session: {
      ...sessionOf(settings),
      ...(Option.isSome(epoch) ? { [LeaderRow.epochSetting]: String(epoch.value) } : {}),
    },
  })
  const { close, writer } = yield* PostgresWriter.make(sql)
  yield* Effect.addFinalizer(() => Shutdown.contained("close writer")(Shutdown.step("close writer", close)))
  return Context.make(SqlClient.SqlClient, sql).pipe(Context.add(PgClient.PgClient, sql), Context.add(Writer, writer))
})
