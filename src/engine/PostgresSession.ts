/**
 * The life cycle of an engine on PostgreSQL, as one chain of layers: the same as on SQLite without what guards a WAL, and with a
 * lease below it that is waited for and can be lost.
 *
 * It waits until it leads, and then recovers the session before it, unless there was no leader when it came. What it was about to write when it
 * lost the lease is refused, by its connections; its end writes nothing then, and the next leader ends its row.
 */
import { Cause, Duration, Effect, Layer, Option } from "effect"
import * as Lease from "../lease/Lease.ts"
import * as Leadership from "../postgres/Leadership.ts"
import * as PostgresDatabase from "../postgres/PostgresDatabase.ts"
import type { PostgresOptions } from "../postgres/PostgresOptions.ts"
import { reasonOf } from "../state/StateError.ts"
import * as StateManager from "../state/StateManager.ts"
import * as Ending from "./Ending.ts"
import type { EngineConfig } from "./EngineConfig.ts"
import * as Halt from "./Halt.ts"
import * as Preflight from "./Preflight.ts"
import { type Election, haltWhenLeaseIsLost, type SessionOptions, top, wasNotMeant } from "./SessionParts.ts"

/** The server of a configuration. */
export const optionsOf = ({ engine, postgres }: EngineConfig): PostgresOptions => ({
  url: postgres.url,
  schema: postgres.schema,
  lease: Duration.seconds(postgres.lease_seconds),
  maxConnections: postgres.max_connections,
  durability: engine.durability,
})

/** The session that is recovered: the last one, of the leader before, else the one that was asked for. */
const recovered = (asked: Option.Option<number>) =>
  Effect.gen(function* () {
    const { waited } = yield* Lease.Lease
    if (!waited) return asked
    const state = yield* StateManager.StateManager
    return Option.map(yield* state.lastSession, ({ sessionId }) => sessionId)
  })

/** A start that fails because another leads by then ends like any session that loses its lease. */
const losing = <A, E, R>(self: Layer.Layer<A, E, R>) =>
  Layer.catchCause(self, (cause) =>
    Layer.unwrap(
      Effect.gen(function* () {
        const { lose } = yield* Lease.Lease
        const error = Cause.squash(cause)
        if (!Lease.isLoss(reasonOf(error))) return Layer.effectDiscard(Effect.failCause(cause))
        yield* lose(error instanceof Error ? error.message : String(error))
        return Layer.effectDiscard(Effect.never)
      }),
    ),
  ) as Layer.Layer<A, E, R | Lease.Lease>

/** Waits, leads, and starts all of it. Fails as the first part that cannot start. */
export const layer = <E, Config extends EngineConfig>(
  options: SessionOptions<E, Config>,
  { elected = false, takesOver = wasNotMeant }: Election = {},
) => {
  const { config } = options
  const server = optionsOf(config)
  const session = Layer.unwrap(
    Effect.map(recovered(options.parentSessionId), (parentSessionId) =>
      top({ ...options, parentSessionId }).pipe(
        Layer.provideMerge(Preflight.layer({ ...options, config, parentSessionId })),
      ),
    ),
  )
  const leadership = Layer.unwrap(
    Effect.map(
      Halt.Halt.use(({ round }) => round),
      (round) =>
        Leadership.layer({
          ...server,
          elected,
          again: round > 0,
          standby: config.engine.standby,
          takesOver,
        }),
    ),
  )
  return session.pipe(
    Layer.provideMerge(StateManager.layer()),
    Layer.provideMerge(Ending.belowWriter()),
    Layer.provideMerge(PostgresDatabase.layer(server)),
    losing,
    Layer.provideMerge(haltWhenLeaseIsLost({ again: config.engine.standby || elected })),
    Layer.provideMerge(leadership),
  )
}
