// @effect-diagnostics globalErrorInEffectFailure:off -- what a program fails with is its own
import * as NodeClusterSocket from "@effect/platform-node/NodeClusterSocket"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Layer, Logger, Option, Ref } from "effect"
import { MessageStorage, RunnerAddress, ShardingConfig, SqlRunnerStorage } from "effect/cluster"
import * as ClusterEngine from "../../src/cluster/ClusterEngine.ts"
import * as EngineConfig from "../../src/engine/EngineConfig.ts"
import * as EngineProgram from "../../src/engine/EngineProgram.ts"
import * as HaltReason from "../../src/engine/HaltReason.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import { onOwnPostgres } from "../support/onPostgres.ts"
import { freePort } from "../support/ports.ts"

const reasons = HaltReason.define({ sold_out: { exitCode: 0, isClean: true } })

onOwnPostgres("an engine in a cluster", (server) => {
  /** A runner, and what resolves when this was logged by it. */
  const runner = Effect.fnUntraced(function* (program: Layer.Layer<EngineProgram.EngineProgram, Error>, event: string) {
    const url = server().url()
    const config = yield* EngineConfig.load({
      source: "test",
      yaml: "",
      env: { SEAWALL_POSTGRES_URL: url, SEAWALL_ENGINE_TICK_INTERVAL_SECONDS: "0.01" },
    })
    const port = yield* Effect.promise(freePort)
    const shardingConfig = {
      ...ClusterEngine.tuned,
      runnerAddress: Option.some(RunnerAddress.make("127.0.0.1", port)),
    }
    const runners = Layer.orDie(SqlRunnerStorage.layer).pipe(
      Layer.provide(ShardingConfig.layer(shardingConfig)),
      Layer.provide(PgClient.layer({ url: config.postgres.url })),
    )
    const said = yield* Deferred.make<void>()
    const listening = Logger.layer(
      [
        Logger.make<unknown, void>(({ message }) => {
          if ([message].flat().includes(event)) Deferred.doneUnsafe(said, Effect.void)
        }),
      ],
      { mergeWithExisting: true },
    )
    const context = yield* Layer.build(
      ClusterEngine.layer({ config, program, parentSessionId: Option.none() }).pipe(
        Layer.provide(NodeClusterSocket.layer({ storage: "byo", shardingConfig })),
        Layer.provide(Layer.merge(MessageStorage.layerNoop, runners)),
        Layer.provide(listening),
        Layer.provideMerge(LogCapture.layer),
      ),
    )
    return {
      said: Deferred.await(said),
      logged: (text: string) => Effect.provideContext(LogCapture.logged(text), context),
    }
  })

  it.live(
    "starts again when a run fails, with an ERROR, and not when it came to its own end",
    () =>
      Effect.gen(function* () {
        const runs = yield* Ref.make(0)
        const program = Layer.effect(
          EngineProgram.EngineProgram,
          Effect.gen(function* () {
            const run = yield* Ref.updateAndGet(runs, (n) => n + 1)
            if (run === 1) return yield* Effect.fail(new Error("no market"))
            return {
              haltReasons: reasons,
              tick: () => Effect.succeed(reasons.haltWith("sold_out", "nothing is left")),
            }
          }),
        )
        const overByItself = "not taken over: the engine ended on purpose"
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { logged, said } = yield* runner(program, overByItself)
            yield* said
            const failed = yield* logged("engine failed")
            expect(failed.map(({ level }) => level)).toEqual(["Error"])
            expect(failed[0]?.cause).toContain("no market")
            expect(failed[0]?.fields).toMatchObject({ again_seconds: 1, logger: "seawall" })
            expect((yield* logged(overByItself)).map(({ fields, level }) => [level, fields["halt_reason"]])).toEqual([
              ["Warn", "sold_out"],
            ])
            expect(yield* Ref.get(runs)).toBe(2)
          }),
        )
        // One that is started later starts the engine again.
        const { said } = yield* runner(program, "engine running")
        yield* said
        expect(yield* Ref.get(runs)).toBe(3)
      }).pipe(Effect.scoped),
    60_000,
  )
})

describe("its settings", () => {
  it("are some of those of a cluster, each shorter than its default", () => {
    for (const [name, value] of Object.entries(ClusterEngine.tuned)) {
      const byDefault = ShardingConfig.defaults[name as keyof typeof ClusterEngine.tuned]
      expect(Duration.toMillis(value)).toBeLessThan(Duration.toMillis(Duration.fromInputUnsafe(byDefault)))
    }
  })
})
