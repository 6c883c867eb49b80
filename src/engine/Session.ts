/**
 * The life cycle of an engine, on the store that its configuration names (`engine.store`): SQLite (`SqliteSession`) or PostgreSQL
 * (`PostgresSession`, whose driver is loaded for that alone).
 *
 * It does not end by itself: its caller waits for `Halt.awaitRequest` and closes its scope. Nor does it listen
 * to signals (`Signals`), or set the budget of its end (`Shutdown`); both stand below it.
 */
import { Effect, Layer, Runtime, Schema } from "effect"
import type { SqlClient } from "effect/sql"
import type { OptionError } from "../options/OptionError.ts"
import type * as Lease from "../lease/Lease.ts"
import type { PostgresOpenError } from "../postgres/PostgresOpenError.ts"
import type { Writer } from "../sql/Writer.ts"
import type { StateError } from "../state/StateError.ts"
import type * as StateManager from "../state/StateManager.ts"
import type * as Engine from "./Engine.ts"
import type { EngineConfig } from "./EngineConfig.ts"
import type * as EngineProgram from "./EngineProgram.ts"
import type * as Halt from "./Halt.ts"
import type { PreflightError } from "./Preflight.ts"
import type { Election, SessionOptions } from "./SessionParts.ts"
import * as SqliteSession from "./SqliteSession.ts"

export type { Election, Program, Recovered, SessionOptions } from "./SessionParts.ts"

/** What a session has on either store. */
export type Services =
  | Engine.Engine
  | EngineProgram.EngineProgram
  | StateManager.StateManager
  | SqlClient.SqlClient
  | Writer
  | Lease.Lease

/** `engine.store` is `postgres`, and its driver is not installed. */
export class DriverMissing extends Schema.TaggedError<DriverMissing>()("DriverMissing", { cause: Schema.Defect() }) {
  override readonly [Runtime.errorExitCode] = 1
  override get message() {
    return "engine.store is postgres, which needs one more package: npm install @effect/sql-pg"
  }
}

/** The part of Seawall that needs the driver of PostgreSQL. */
const load = <A>(module: () => Promise<A>) =>
  Effect.tryPromise({ try: module, catch: (cause) => new DriverMissing({ cause }) })

/**
 * On SQLite, with every service of its chain. Fails as the first part that cannot start: what is above that never starts, what
 * is below closes in its order. Provides every service of the chain but `Backup`; needs `Halt`, and takes the `Shutdown` in
 * reach.
 */
export const layerSqlite = SqliteSession.layer

/** What keeps a session from starting on a server. */
export type PostgresFailure =
  | DriverMissing
  | Lease.LeaseError
  | OptionError
  | PostgresOpenError
  | PreflightError
  | StateError

/** On PostgreSQL, which waits until it leads (`engine.standby`). Its type names nothing of the driver, which may not be there. */
export const layerPostgres = <E, Config extends EngineConfig>(
  options: SessionOptions<E, Config>,
  election?: Election,
): Layer.Layer<Services, E | PostgresFailure, Halt.Halt> =>
  Layer.unwrap(
    Effect.map(
      load(() => import("./PostgresSession.ts")),
      ({ layer }) => layer(options, election),
    ),
  )

/**
 * On the store that the configuration names. Starts all of it, and fails as the first part that cannot start: what is above that
 * never starts, what is below closes in its order. Needs `Halt`, and takes the `Shutdown` in the context.
 */
export const layer = <E, Config extends EngineConfig>(options: SessionOptions<E, Config>) => {
  const sqlite = layerSqlite(options)
  const postgres = layerPostgres(options)
  type Failure = Layer.Error<typeof sqlite> | Layer.Error<typeof postgres>
  type Needs = Layer.Services<typeof sqlite> | Layer.Services<typeof postgres>
  const either: Layer.Layer<Services, Failure, Needs> = options.config.engine.store === "postgres" ? postgres : sqlite
  return either
}
