/**
 * The engine as a singleton of an Effect Cluster, for programs that run one already: the cluster says where it runs, and the fence of its
 * store, as without a cluster, that what an earlier one still writes is refused.
 *
 * A bare `Singleton` whose effect fails or dies ends for good, without a line, and its runner keeps the shard. This one says why
 * (ERROR), closes in order, waits and starts again. When its shard goes to another runner, it closes before it starts there.
 * The tables of the cluster belong in another schema than the engine's, where every table is fenced.
 * Where there is no cluster, `Session.layerPostgres` with its own lock takes over sooner, and needs no port.
 */
import { Cause, Clock, Duration, Effect, Exit, Layer, Option } from "effect"
import type { ShardingConfig } from "effect/cluster/ShardingConfig"
import type { Sharding } from "effect/cluster/Sharding"
import * as Singleton from "effect/cluster/Singleton"
import type { EngineConfig } from "../engine/EngineConfig.ts"
import * as Halt from "../engine/Halt.ts"
import * as Session from "../engine/Session.ts"
import { wasNotMeant } from "../engine/SessionParts.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import { ofSeawall } from "../sqlite/DatabaseName.ts"

/** What runs, and how its end and its next start are bounded. */
export interface ClusterEngineOptions<E, Config extends EngineConfig> extends Session.SessionOptions<E, Config> {
  /** The name of the singleton; two engines of a cluster, in two schemas, need two. Default `seawall/engine`. */
  readonly name?: string
  /** The shards that it belongs to; default `default`. */
  readonly shardGroup?: string
  /** For all closing steps of one run together; default 10 s, `Shutdown.defaultBudget`. */
  readonly budget?: Duration.Input
}

/** 1 s, doubled with each run that ends at once, and at most 30 s: a server that is down is not asked more often. */
const firstPause = Duration.seconds(1)
const longestPause = Duration.seconds(30)

/**
 * Settings of a cluster of few machines in one place, for `ShardingConfig` and `NodeClusterSocket`: another runner takes over about
 * 3 s after one was killed or frozen, where the defaults take about 30. Each is a part of that:
 * - `shardLockExpiration`, 3 s (default 35): after which a runner that is not heard has lost its shards.
 * - `shardLockRefreshInterval`, 1 s (10): how often it is heard.
 * - `refreshAssignmentsInterval`, 0.5 s (3): how often the others look.
 * - `runnerHealthCheckInterval`, 1 s (60): how often a runner that died is looked for. Its ping gives up after 2.5 s, the floor of all this.
 * - `entityMessagePollInterval`, 1 s (10): for entities, which the engine does not need.
 */
export const tuned = {
  shardLockExpiration: Duration.seconds(3),
  shardLockRefreshInterval: Duration.seconds(1),
  refreshAssignmentsInterval: Duration.millis(500),
  runnerHealthCheckInterval: Duration.seconds(1),
  entityMessagePollInterval: Duration.seconds(1),
} as const satisfies Partial<ShardingConfig["Service"]>

/**
 * Runs the engine on one runner of the cluster in the context, on the server of the configuration, whatever `engine.store` says. A run that fails, dies
 * or loses its lease is followed by another. One that ended on purpose (its duration, a reason of the program) is not, on no runner
 * that was there then: it waits, with one WARNING, until a runner is started.
 */
export const layer = <E, Config extends EngineConfig>(
  options: ClusterEngineOptions<E, Config>,
): Layer.Layer<never, never, Sharding> => {
  const { budget, name = "seawall/engine", shardGroup } = options
  return Layer.unwrap(
    Effect.map(Clock.currentTimeMillis, (startedAt) =>
      Singleton.make(
        name,
        forever(run({ ...options, startedAt }).pipe(Effect.provide(foundation(budget), { local: true }))),
        { shardGroup },
      ),
    ),
  )
}

const foundation = (budget: Duration.Input | undefined) => Layer.merge(Halt.layer, Shutdown.layer({ budget }))

/** One session, until it is asked to halt: also closed when the cluster takes the singleton away. */
const run = <E, Config extends EngineConfig>({
  startedAt,
  ...options
}: ClusterEngineOptions<E, Config> & { readonly startedAt: number }) =>
  Effect.gen(function* () {
    const halt = yield* Halt.Halt
    const session = Session.layerPostgres(options, {
      elected: true,
      takesOver: (last) => last.endedAt < startedAt || wasNotMeant(last),
    })
    yield* Effect.scoped(Effect.raceFirst(Effect.andThen(Layer.build(session), Effect.never), halt.awaitRequest)).pipe(
      Effect.ensuring(
        Effect.flatMap(halt.settled, (settled) =>
          Option.isNone(settled)
            ? Effect.void
            : Effect.annotateLogs(Effect.logInfo("session ended"), { halt_reason: settled.value }),
        ),
      ),
    )
  })

/** Runs it again and again, with a pause that grows while it ends at once. Nothing but an interruption ends it. */
const forever = <E, R>(self: Effect.Effect<void, E, R>): Effect.Effect<never, never, R> =>
  Effect.gen(function* () {
    let pause = firstPause
    for (;;) {
      const start = yield* Clock.currentTimeMillis
      const exit = yield* Effect.exit(self)
      const ran = Duration.millis((yield* Clock.currentTimeMillis) - start)
      pause = Duration.isGreaterThan(ran, longestPause) ? firstPause : pause
      const again_seconds = Duration.toSeconds(pause)
      if (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) {
        yield* Effect.annotateLogs(Effect.logError("engine failed", exit.cause), { again_seconds })
      }
      yield* Effect.sleep(pause)
      pause = Duration.min(Duration.times(pause, 2), longestPause)
    }
  }).pipe(ofSeawall)
