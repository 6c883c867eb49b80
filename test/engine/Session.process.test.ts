import * as fs from "node:fs"
import * as path from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Option, Schema, Scope } from "effect"
import * as EngineConfig from "../../src/engine/EngineConfig.ts"
import * as EngineProgram from "../../src/engine/EngineProgram.ts"
import * as Halt from "../../src/engine/Halt.ts"
import * as HaltReason from "../../src/engine/HaltReason.ts"
import { PreflightError } from "../../src/engine/Preflight.ts"
import * as Session from "../../src/engine/Session.ts"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import { Fdatasync } from "../../src/sqlite/WalSync.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"

describe("a session whose disk fails a sync", () => {
  it.live("halts with an ERROR, attempts every step, and says which failed", () =>
    Effect.gen(function* () {
      let isBroken = false
      const disk = Layer.succeed(Fdatasync, () => Effect.suspend(() => (isBroken ? Effect.fail("EIO") : Effect.void)))
      const config = yield* EngineConfig.load({
        source: "test",
        yaml: "",
        overrides: {
          engine: { database: yield* TemporaryDatabase.file, wal_checkpoint_thread: false, integrity_check: "off" },
        },
      })
      const program = Layer.succeed(EngineProgram.EngineProgram, { tick: () => Effect.succeed(EngineProgram.noHalt) })
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
      const write = yield* Effect.exit(inside(StateManager.StateManager.use((state) => state.set("a", "1"))))
      expect(Exit.isFailure(write)).toBe(true)
      const { detail, reason } = yield* inside(Halt.Halt.use(({ awaitRequest }) => awaitRequest))
      expect(reason).toEqual(Option.some("unhandled_exception"))
      expect(detail).toContain("EIO")
      const [line] = yield* inside(LogCapture.logged("durability lost"))
      expect([line?.level, line?.cause]).toEqual(["Error", expect.stringContaining("EIO")])

      yield* Scope.close(scope, Exit.void)
      const names = (event: string) =>
        Effect.map(inside(LogCapture.logged(event)), (lines) => lines.map(({ fields }) => fields["step"]))
      expect(yield* names("shutdown step failed")).toEqual(["halt.reason", "close session", "engine_status HALTED"])
      expect(yield* names("shutdown step")).toEqual([
        "stop ticking",
        "stop wal_checkpoint loop",
        "drain writes",
        "wal_checkpoint truncate",
        "restore autocheckpoint",
        "close database",
        "release lease",
      ])
      const failures = yield* inside(Shutdown.Shutdown.use(({ failures: all }) => all))
      expect(failures).toEqual(["halt.reason", "close session", "engine_status HALTED"])
    }).pipe(Effect.scoped),
  )
})

describe("a session of another program", () => {
  const Station = EngineConfig.make({
    sections: { alarm: Schema.Struct({ low: EngineConfig.withDefault(Schema.Finite, 0), high: Schema.Finite }) },
    invariants: ({ alarm }) => (alarm.low < alarm.high ? [] : [`expected alarm.low to be below ${alarm.high}`]),
  })
  const reasons = HaltReason.define({
    sensor_lost: { exitCode: 4, isClean: false },
    season_over: { exitCode: 0, isClean: true },
  })

  /** Runs a session until its first tick halts it, and answers how it ended, and which files it left. */
  const run = Effect.fnUntraced(function* (tick: EngineProgram.TickResult, high = 1) {
    const database = yield* TemporaryDatabase.file
    const config = yield* Station.load({
      source: "test",
      yaml: `alarm: { high: ${high} }`,
      overrides: { engine: { database, wal_checkpoint_thread: false, integrity_check: "off" } },
    })
    const program = Layer.succeed(EngineProgram.EngineProgram, {
      tick: () => Effect.succeed(tick),
      haltReasons: reasons,
    })
    return yield* Effect.gen(function* () {
      const session = Session.layer({ config, invariants: Station.invariants, parentSessionId: Option.none(), program })
      const halted = Effect.andThen(
        Layer.build(session),
        Halt.Halt.use(({ awaitRequest }) => awaitRequest),
      )
      const exit = yield* Effect.exit(Effect.scoped(halted))
      const reason = Option.getOrThrow(yield* Halt.Halt.use(({ settled }) => settled))
      const exitCode = HaltReason.exitCodeOf(yield* Halt.Halt.use((halt) => halt.reasons))(reason)
      const files = fs.readdirSync(path.dirname(database)).map((name) => name.replace(/\d{8}T\d+Z.*/, "stamp"))
      return { exit, reason, exitCode, files: files.toSorted() }
    }).pipe(Effect.provide(Layer.mergeAll(Halt.layer, Shutdown.layer(), LogCapture.layer)))
  })

  it.live("that ended as its program meant it has a last backup", () =>
    Effect.gen(function* () {
      const { exitCode, files, reason } = yield* run(reasons.haltWith("season_over", "October"))
      expect({ exitCode, reason }).toEqual({ exitCode: 0, reason: "season_over" })
      expect(files).toEqual(["test.db", "test.db.post.stamp"])
    }).pipe(Effect.scoped),
  )

  it.live("that did not has none, and the exit code of its reason", () =>
    Effect.gen(function* () {
      const { exitCode, files, reason } = yield* run(reasons.haltWith("sensor_lost", "no answer"))
      expect({ exitCode, reason }).toEqual({ exitCode: 4, reason: "sensor_lost" })
      expect(files).toEqual(["test.db"])
    }).pipe(Effect.scoped),
  )

  it.live("whose invariants do not hold is refused before its first tick", () =>
    Effect.gen(function* () {
      const { exit, files, reason } = yield* run(reasons.haltWith("season_over", "October"), -1)
      expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toEqual(
        new PreflightError({ problems: ["expected alarm.low to be below -1"] }),
      )
      expect(reason).toBe("config_mismatch")
      expect(files).toEqual(["test.db"])
    }).pipe(Effect.scoped),
  )
})
