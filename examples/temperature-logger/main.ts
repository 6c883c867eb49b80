/**
 * A temperature logger: an engine that has nothing to do with trading. It reads a sensor once a tick, keeps the readings in a
 * table of its own, and halts when the sensor is lost or too hot.
 *
 * Run it with `node main.ts`; settings are in `config.yaml`, or variables such as `SEAWALL_SENSOR_FILE=/tmp/degrees`.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, FileSystem, Layer, Option, Ref, Schema } from "effect"
import { Dashboard, LiveLog } from "seawall/dashboard"
import { Engine, EngineConfig, EngineProgram, HaltReason, Session, StateManager, Tables } from "seawall/engine"

const { withDefault } = EngineConfig

/** Its settings, beside the section `engine`. */
const Config = EngineConfig.make({
  sections: {
    sensor: Schema.Struct({
      /** A file that holds one number. */
      file: Schema.NonEmptyString,
      /** How much of it is one degree. */
      per_degree: withDefault(Schema.Finite.check(Schema.isGreaterThan(0)), 1),
      /** So many readings in a row may fail. */
      patience: withDefault(Schema.Int.check(Schema.isGreaterThan(0)), 3),
    }),
    alarm: Schema.Struct({
      lowest: withDefault(Schema.Finite, -40),
      highest: withDefault(Schema.Finite, 60),
    }),
    /** 0 = any free port. */
    page: Schema.Struct({ port: withDefault(Schema.Int, 8501) }),
  },
  invariants: ({ alarm: { highest, lowest } }) =>
    lowest < highest ? [] : [`expected alarm.lowest to be less than alarm.highest (${highest}), got ${lowest}`],
})
type Config = typeof Config.schema.Type

/** Why it halts, and what a supervisor is told. */
const reasons = HaltReason.define({
  sensor_lost: { exitCode: 4, isClean: false },
  temperature_alarm: { exitCode: 5, isClean: true },
})

/** Its table. A step that was released is never changed; a new one gets the next number. */
const migrations: StateManager.Migrations = {
  "0001_readings": Effect.gen(function* () {
    yield* Tables.table("readings", {
      reading_id: "INTEGER PRIMARY KEY",
      session_id: "INTEGER NOT NULL DEFAULT 0",
      degrees: "REAL NOT NULL DEFAULT 0",
    })
    yield* Tables.index({ name: "readings_by_session", on: "readings (session_id)" })
  }),
}

const keys = { last: "temperature.last", readings: "temperature.readings" }

/** What it does. Memory moves only after the transaction has. */
const makeProgram = Effect.fnUntraced(function* ({ alarm, sensor }: Config) {
  const state = yield* StateManager.StateManager
  const fs = yield* FileSystem.FileSystem
  yield* state.migrate("temperature", migrations)
  const last = yield* Ref.make(Option.none<number>())
  const readings = yield* Ref.make(yield* state.getInt(keys.readings))
  const misses = yield* Ref.make(0)

  const measure = fs.readFileString(sensor.file).pipe(
    Effect.map((text) => (text.trim() === "" ? Number.NaN : Number(text) / sensor.per_degree)),
    Effect.filterOrFail(Number.isFinite, () => new Error(`${sensor.file} holds no number`)),
  )

  const record = Effect.fnUntraced(function* (sessionId: number, degrees: number) {
    const count = (yield* Ref.get(readings)) + 1
    yield* state.transaction("record", ({ set, sql }) =>
      Effect.gen(function* () {
        yield* sql`INSERT INTO readings ${sql.insert({ session_id: sessionId, degrees })}`
        yield* set(keys.last, String(degrees))
        yield* set(keys.readings, String(count))
      }),
    )
    yield* Ref.set(readings, count)
    yield* Ref.set(last, Option.some(degrees))
    yield* Ref.set(misses, 0)
    if (degrees >= alarm.lowest && degrees <= alarm.highest) return EngineProgram.noHalt
    return reasons.haltWith("temperature_alarm", `${degrees} is not between ${alarm.lowest} and ${alarm.highest}`)
  })

  const miss = Effect.fnUntraced(function* (error: Error) {
    const count = yield* Ref.updateAndGet(misses, (n) => n + 1)
    yield* Effect.annotateLogs(Effect.logWarning("sensor missed"), { in_a_row: count, error: error.message })
    return count < sensor.patience ? EngineProgram.noHalt : reasons.haltWith("sensor_lost", error.message)
  })

  const figures = Effect.gen(function* () {
    const degrees = Option.map(yield* Ref.get(last), (value): EngineProgram.Figure => ({
      name: "degrees",
      value,
      unit: "°C",
    }))
    return [
      ...Option.toArray(degrees),
      { name: "readings", label: "Readings", value: yield* Ref.get(readings), unit: "" },
    ]
  })

  return EngineProgram.EngineProgram.of({
    tick: (sessionId) =>
      Effect.matchEffect(measure, { onSuccess: (degrees) => record(sessionId, degrees), onFailure: miss }),
    figures,
    title: "Temperature",
    haltReasons: reasons,
  })
})

const session = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const source = "config.yaml"
  const config = yield* Config.load({ source, yaml: yield* fs.readFileString(source), env: process.env })
  const program = Layer.effect(EngineProgram.EngineProgram, makeProgram(config)).pipe(
    Layer.provide(NodeFileSystem.layer),
  )
  return Dashboard.layerEngine({ port: config.page.port }).pipe(
    Layer.provideMerge(
      Session.layerSqlite({ config, invariants: Config.invariants, parentSessionId: Option.none(), program }),
    ),
  )
})

Engine.runMain({ session: Layer.unwrap(session).pipe(Layer.provide([LiveLog.layer, NodeFileSystem.layer])) })
