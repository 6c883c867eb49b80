/** Options that no program can mean, of every layer that takes a number, a time or a name: each is refused by its name, before anything starts. */
import { describe, expect, it } from "@effect/vitest"
import { type Duration, Effect, Exit, Layer, Option } from "effect"
import * as Dashboard from "../../src/dashboard/Dashboard.ts"
import * as LiveLog from "../../src/dashboard/LiveLog.ts"
import * as Engine from "../../src/engine/Engine.ts"
import * as EngineConfig from "../../src/engine/EngineConfig.ts"
import * as EngineProgram from "../../src/engine/EngineProgram.ts"
import * as Halt from "../../src/engine/Halt.ts"
import * as Session from "../../src/engine/Session.ts"
import { OptionError } from "../../src/options/OptionError.ts"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import * as Backup from "../../src/sqlite/copies/Backup.ts"
import * as Database from "../../src/sqlite/Database.ts"
import { DatabaseOpenError } from "../../src/sqlite/DatabaseOpenError.ts"
import * as StateManager from "../../src/state/StateManager.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as GuardedDatabase from "../../src/wal/GuardedDatabase.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"

const noTimes: ReadonlyArray<unknown> = ["bogus", Number.NaN, "1 fortnight"]
const noCounts: ReadonlyArray<unknown> = [Number.NaN, 1.5, Number.POSITIVE_INFINITY]
const tooShort: ReadonlyArray<unknown> = [1e-300, "10 micros"]

const program = Layer.succeed(EngineProgram.EngineProgram, { tick: () => Effect.succeed(EngineProgram.noHalt) })
const config = EngineConfig.load({ source: "test", yaml: "" })

const engine = (options: Partial<Engine.EngineOptions>) =>
  Engine.layer({ tickInterval: "1 second", duration: 0, parentSessionId: Option.none(), ...options }).pipe(
    Layer.provide([StateManager.layer(), program, Halt.layer]),
    Layer.provide(TemporaryDatabase.layer()),
  )

const guard = (options: WalGuard.WalGuardOptions) =>
  Layer.unwrap(Effect.map(TemporaryDatabase.file, (filename) => GuardedDatabase.layer({ filename, ...options })))

const session = (speed: number) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const it = yield* config
      const database = yield* TemporaryDatabase.file
      const options = { config: { ...it, engine: { ...it.engine, database } }, parentSessionId: Option.none(), program }
      return Layer.provide(Session.layerSqlite({ ...options, speed }), Halt.layer)
    }),
  )

const built = <A, E>(layer: Layer.Layer<A, E>): Effect.Effect<unknown, unknown> => Effect.scoped(Layer.build(layer))

/** A layer with one option, and what that must not be. The types do not let most of it in. */
const cases: ReadonlyArray<
  readonly [option: string, wrong: ReadonlyArray<unknown>, build: (value: never) => Effect.Effect<unknown, unknown>]
> = [
  ["interval", [...noTimes, ...tooShort], (interval: Duration.Input) => built(guard({ interval }))],
  ["maxFrames", [...noCounts, -1], (maxFrames: number) => built(guard({ maxFrames }))],
  ["tickInterval", [...noTimes, ...tooShort], (tickInterval: Duration.Input) => built(engine({ tickInterval }))],
  ["duration", [...noTimes, -5], (duration: Duration.Input) => built(engine({ duration }))],
  ["speed", [Number.NaN, 0, -1], (speed: number) => built(session(speed))],
  ["budget", [...noTimes, -1], (budget: Duration.Input) => built(Shutdown.layer({ budget }))],
  ["keep", noCounts, (keep: number) => built(Backup.layer({ file: "app.db", keep }))],
  ["host", ["", " "], (host: string) => built(dashboard({ host }))],
  ["names", ["", " "], (name: string) => built(dashboard({ names: ["app", name] }))],
  ["port", [...noCounts, -1, 65_536], (port: number) => built(dashboard({ port }))],
]

const dashboard = (options: Dashboard.DashboardOptions) =>
  Dashboard.layerDatabases({ databases: [], ...options }).pipe(Layer.provide(LiveLog.layer))

describe("an option", () => {
  for (const [option, values, build] of cases) {
    it.effect(`${option} that makes no sense is refused by its name, with its value`, () =>
      Effect.gen(function* () {
        for (const value of values) {
          const error = yield* Effect.flip(build(value as never))
          expect(error).toBeInstanceOf(OptionError)
          expect(error).toMatchObject({ option })
          expect(String((error as OptionError).message)).toMatch(new RegExp(`^expected ${option} to be .+, got .+$`))
        }
      }),
    )
  }

  it.effect("of a database is refused as what cannot be opened", () =>
    Effect.gen(function* () {
      const filename = yield* TemporaryDatabase.file
      for (const options of [{ busyTimeout: "bogus" }, { busyTimeout: Number.NaN }, { cacheSize: Number.NaN }]) {
        const opening = Layer.build(Database.layer({ filename, ...options } as Database.DatabaseOptions))
        expect(yield* Effect.flip(Effect.scoped(opening))).toBeInstanceOf(DatabaseOpenError)
      }
    }),
  )

  it.effect("that is changed later is refused too, and the guard goes on as before", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(guard({ interval: "1 minute" }))
      const { setInterval } = yield* Effect.provideContext(WalGuard.WalGuard, context)
      const exit = yield* Effect.exit(setInterval("bogus" as never))
      expect(Exit.isFailure(exit)).toBe(true)
      expect(yield* Effect.flip(setInterval(Number.NaN))).toMatchObject({ option: "interval" })
    }).pipe(Effect.scoped),
  )
})
