import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Option, Scope } from "effect"
import * as EngineConfig from "../../src/engine/EngineConfig.ts"
import { EngineProgram, goOn } from "../../src/engine/EngineProgram.ts"
import { Halt } from "../../src/engine/Halt.ts"
import * as Session from "../../src/engine/Session.ts"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import { Fdatasync } from "../../src/sqlite/LogSync.ts"
import { StateManager } from "../../src/state/StateManager.ts"
import { temporaryFile } from "../../src/testing/TemporaryDatabase.ts"
import { LogCapture, logged } from "../../src/testing/LogCapture.ts"

describe("a session whose disk fails a sync", () => {
  it.live("halts with an ERROR, attempts every step, and says which failed", () =>
    Effect.gen(function* () {
      let isBroken = false
      const disk = Layer.succeed(Fdatasync, () => Effect.suspend(() => (isBroken ? Effect.fail("EIO") : Effect.void)))
      const config = yield* EngineConfig.load({
        source: "test",
        yaml: "",
        overrides: {
          engine: { database: yield* temporaryFile, wal_checkpoint_thread: false, integrity_check: "off" },
        },
      })
      const program = Layer.succeed(EngineProgram, { tick: () => Effect.succeed(goOn) })
      const scope = yield* Scope.make()
      const context = yield* Session.layer({ config, parentSessionId: Option.none(), program }).pipe(
        Layer.provideMerge(Halt.layer),
        Layer.provideMerge(Shutdown.layer()),
        Layer.provideMerge(LogCapture.layer),
        Layer.provide(disk),
        Layer.buildWithScope(scope),
      )
      const inside = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideContext(self, context)
      isBroken = true
      const write = yield* Effect.exit(inside(StateManager.use((state) => state.set("a", "1"))))
      expect(Exit.isFailure(write)).toBe(true)
      const { detail, reason } = yield* inside(Halt.use(({ awaitRequest }) => awaitRequest))
      expect(reason).toEqual(Option.some("unhandled_exception"))
      expect(detail).toContain("EIO")
      const [line] = yield* inside(logged("durability lost"))
      expect([line?.level, line?.cause]).toEqual(["Error", expect.stringContaining("EIO")])

      yield* Scope.close(scope, Exit.void)
      const names = (event: string) =>
        Effect.map(inside(logged(event)), (lines) => lines.map(({ fields }) => fields["step"]))
      expect(yield* names("shutdown step failed")).toEqual(["halt.reason", "close session", "engine_status HALTED"])
      expect(yield* names("shutdown step")).toEqual([
        "stop ticking",
        "stop wal_checkpoint loop",
        "drain writes",
        "wal_checkpoint truncate",
        "restore autocheckpoint",
        "close database",
      ])
      const failures = yield* inside(Shutdown.Shutdown.use(({ failures: all }) => all))
      expect(failures).toEqual(["halt.reason", "close session", "engine_status HALTED"])
    }).pipe(Effect.scoped),
  )
})
