/** The configuration of an engine whose program is none that ships: what is said of one section holds for those of any program. */
import { describe, expect, it } from "@effect/vitest"
import { inspect } from "node:util"
import { Effect, Exit, Redacted, Result, Schema } from "effect"
import { EngineConfigError, type ConfigSources } from "../../src/engine/EngineConfig.ts"
import * as EngineConfig from "../../src/engine/EngineConfig.ts"

const { withDefault } = EngineConfig

/** A program that measures: a key that must be given, keys with defaults, a list, and a section whose name begins like another's. */
const Station = EngineConfig.make({
  sections: {
    sensor: Schema.Struct({
      url: Schema.NonEmptyString,
      unit: withDefault(Schema.Literals(["celsius", "kelvin"]), "celsius"),
      rooms: withDefault(Schema.Array(Schema.String), ["attic"]),
    }),
    sensor_alarm: Schema.Struct({ above: withDefault(Schema.Finite, 40), below: withDefault(Schema.Finite, -20) }),
  },
  invariants: ({ engine, sensor_alarm }) => [
    ...(sensor_alarm.below < sensor_alarm.above
      ? []
      : ["expected sensor_alarm.below to be less than sensor_alarm.above"]),
    ...(engine.tick_interval_seconds <= 3600 ? [] : ["expected a tick an hour at least"]),
  ],
})

const url = "sensor: { url: 'http://roof' }\n"

const loading = (sources: Partial<ConfigSources>) => Station.load({ source: "station.yaml", yaml: "", ...sources })

/** The problems as the lines of the message, in no order; fails the test when the configuration is not refused. */
const problemsOf = Effect.fnUntraced(function* (
  sources: Partial<ConfigSources>,
  load: (sources: ConfigSources) => Effect.Effect<unknown, EngineConfigError> = Station.load,
) {
  const result = yield* Effect.result(load({ source: "station.yaml", yaml: "", ...sources }))
  if (Result.isSuccess(result)) throw new Error(`expected a refusal, got ${JSON.stringify(result.success)}`)
  return result.failure.problems.map(({ path, message }) => `${path}: ${message}`).toSorted()
})

describe("an engine alone", () => {
  it.effect("has the sections engine and postgres, whole without a word", () =>
    Effect.gen(function* () {
      const config = yield* EngineConfig.load({ source: "nothing", yaml: "" })
      expect(Object.keys(config)).toEqual(["engine", "postgres"])
      expect([config.engine.database, config.engine.duration_seconds]).toEqual(["data/seawall.db", 7200])
      expect(config).toEqual(yield* Schema.decodeEffect(EngineConfig.EngineConfig)({}))
    }),
  )

  for (const section of ["strategy", "order_size", "risk", "paper", "sensor"]) {
    it.effect(`knows no section ${section}, and no variable of it`, () =>
      Effect.gen(function* () {
        const name = `SEAWALL_${section.toUpperCase()}_SEED`
        expect(
          yield* problemsOf({ yaml: `${section}:\n  seed: 1\n`, env: { [name]: "2" } }, EngineConfig.load),
        ).toEqual([`${name}: unknown variable, got "2"`, `${section}: unknown key, got {"seed":1}`])
      }),
    )
  }
})

describe("the URL of a server", () => {
  const secret = "postgres://engine:a-secret-of-ours@db/engine"

  it.effect("comes from its variable, and is not shown with the configuration", () =>
    Effect.gen(function* () {
      const config = yield* EngineConfig.load({ source: "env", yaml: "", env: { SEAWALL_POSTGRES_URL: secret } })
      expect(Redacted.value(config.postgres.url)).toBe(secret)
      expect(`${JSON.stringify(config)} ${inspect(config, { depth: 9 })}`).not.toContain("a-secret")
    }),
  )

  for (const [what, sources] of [
    ["of another type", { yaml: `postgres: { url: ["${secret}"] }` }],
    ["that is misspelt", { env: { SEAWALL_POSTGRES_URI: secret } }],
    ["whose section is misspelt", { yaml: `postgres: { ur: "${secret}" }` }],
    ["that is all of its section", { yaml: `postgres: "${secret}"` }],
  ] as const) {
    it.effect(`${what} is refused without being shown`, () =>
      Effect.gen(function* () {
        const problems = yield* problemsOf(sources, EngineConfig.load)
        expect(problems.join()).toMatch(/postgres/i)
        expect(problems.join()).not.toContain("a-secret")
      }),
    )
  }
})

describe("the sections of a program", () => {
  it.effect("are read beside engine, each key with its type and its default", () =>
    Effect.gen(function* () {
      const config = yield* loading({ yaml: `${url}sensor_alarm: { above: 30 }\nengine: { database: station.db }\n` })
      const { sensor, sensor_alarm }: { sensor: { url: string; rooms: ReadonlyArray<string> }; sensor_alarm: object } =
        config
      expect(sensor).toEqual({ url: "http://roof", unit: "celsius", rooms: ["attic"] })
      expect(sensor_alarm).toEqual({ above: 30, below: -20 })
      expect([config.engine.database, config.engine.backups]).toEqual(["station.db", 10])
    }),
  )

  it.effect("tell every problem of all sections at once, engine included", () =>
    Effect.gen(function* () {
      const yaml = `
engine: { durability: maybe, tik: 3 }
sensor: { unit: rankine, rooms: [1] }
sensor_alarm: { above: hot, beyond: 1 }
paper: { seed: 1 }
`
      const env = { SEAWALL_SENSOR_ALARM_BELOW: "cold", SEAWALL_SENSOR_NAME: "x", SEAWALL_PAPER_SEED: "1" }
      const overrides = { engine: { duration_seconds: -2 } }
      expect(yield* problemsOf({ yaml, env, overrides })).toEqual([
        'SEAWALL_PAPER_SEED: unknown variable, got "1"',
        'SEAWALL_SENSOR_NAME: unknown variable, got "x"',
        'engine.durability: Expected "durable" | "full" | "normal", got "maybe"',
        "engine.duration_seconds (given as a flag): Expected a value greater than or equal to 0, got -2",
        "engine.tik: unknown key, got 3",
        'paper: unknown key, got {"seed":1}',
        "sensor.rooms.0: Expected string, got 1",
        'sensor.unit: Expected "celsius" | "kelvin", got "rankine"',
        "sensor.url: Missing key",
        'sensor_alarm.above: Expected number, got "hot"',
        'sensor_alarm.below (SEAWALL_SENSOR_ALARM_BELOW): Expected number, got "cold"',
        "sensor_alarm.beyond: unknown key, got 1",
      ])
    }),
  )

  for (const yaml of ["", "sensor:\n", "sensor: {}\n", "engine: {}\n"]) {
    it.effect(`name a key that must be given, also when the file is ${JSON.stringify(yaml)}`, () =>
      Effect.gen(function* () {
        expect(yield* problemsOf({ yaml })).toEqual(["sensor.url: Missing key"])
      }),
    )
  }

  it.effect("have variables, whatever their names begin with", () =>
    Effect.gen(function* () {
      const env = {
        SEAWALL_SENSOR_URL: "123",
        SEAWALL_SENSOR_UNIT: "kelvin",
        SEAWALL_SENSOR_ROOMS: "[hall, attic]",
        SEAWALL_SENSOR_ALARM_ABOVE: "5.5",
        SEAWALL_ENGINE_BACKUPS: "3",
      }
      const { engine, sensor, sensor_alarm } = yield* loading({ yaml: `${url}sensor_alarm: { above: 1 }\n`, env })
      expect(sensor).toEqual({ url: "123", unit: "kelvin", rooms: ["hall", "attic"] })
      expect([sensor_alarm.above, engine.backups]).toEqual([5.5, 3])
    }),
  )

  it.effect("may not be one called engine", () =>
    Effect.gen(function* () {
      const engine = Schema.Struct({ mine: withDefault(Schema.Int, 1) })
      // @ts-expect-error the section is the engine's
      const Own = EngineConfig.make({ sections: { engine } })
      const config = yield* Own.load({ source: "own", yaml: "" })
      expect(config.engine).toEqual((yield* EngineConfig.load({ source: "own", yaml: "" })).engine)
    }),
  )

  it.effect("are refused a variable that names two of their keys, and only that", () =>
    Effect.gen(function* () {
      const key = withDefault(Schema.Int, 1)
      const { load } = EngineConfig.make({
        sections: { a: Schema.Struct({ b_c: key, d: key }), a_b: Schema.Struct({ c: key }) },
      })
      const env = { SEAWALL_A_B_C: "2", SEAWALL_A_D: "3" }
      expect(yield* problemsOf({ env }, load)).toEqual(["SEAWALL_A_B_C: names a.b_c and a_b.c; set them in the file"])
      const config = yield* load({ source: "own", yaml: "a: { b_c: 4 }\na_b: { c: 5 }", env: { SEAWALL_A_D: "3" } })
      expect([config.a, config.a_b]).toEqual([{ b_c: 4, d: 3 }, { c: 5 }])
    }),
  )
})

describe("the invariants of a program", () => {
  it.effect("are not asked by load: a refusal of theirs is stored, by the preflight", () =>
    Effect.gen(function* () {
      const config = yield* loading({
        yaml: `${url}sensor_alarm: { below: 50 }\nengine: { tick_interval_seconds: 3601 }\n`,
      })
      expect(Station.invariants(config)).toEqual([
        "expected sensor_alarm.below to be less than sensor_alarm.above",
        "expected a tick an hour at least",
      ])
      expect(Station.invariants(yield* loading({ yaml: url }))).toEqual([])
    }),
  )

  it("are none when the program brings none", () => {
    const { invariants, schema } = EngineConfig.make({ sections: {} })
    expect(invariants(Schema.decodeSync(schema)({}))).toEqual([])
  })
})

describe("the schema of a configuration", () => {
  it.effect("decodes and encodes it without a file, and refuses what a file would", () =>
    Effect.gen(function* () {
      const written = { sensor: { url: "http://roof" }, sensor_alarm: { above: 1 } }
      const config = yield* Schema.decodeEffect(Station.schema)(written)
      expect(yield* Schema.decodeEffect(Station.schema)(yield* Schema.encodeEffect(Station.schema)(config))).toEqual(
        config,
      )
      // @ts-expect-error a degree is a number
      const wrong = yield* Effect.exit(Schema.decodeEffect(Station.schema)({ sensor_alarm: { above: "1" } }))
      expect(Exit.isFailure(wrong)).toBe(true)
    }),
  )
})

describe("a configuration that is meant to hurt", () => {
  const letters = [..."abcdefghij"]
  const unfolding = letters
    .map(
      (name, level) =>
        `${name}: &${name} [${Array(10)
          .fill(level === 0 ? "x" : `*${letters[level - 1]}`)
          .join(",")}]`,
    )
    .join("\n")
  const lines = (count: number, line: (n: number) => string) =>
    Array.from({ length: count }, (_, n) => line(n)).join("\n")

  it.effect.each([
    ["aliases that unfold to ten thousand million", unfolding],
    ["the same as the value of a key", `${unfolding}\nengine:\n  tick_interval_seconds: *j`],
    ["the same as a section", `${unfolding}\nengine: *j`],
    ["ten thousand keys that are unknown", lines(10_000, (n) => `k${n}: 1`)],
    ["a name of a hundred thousand characters", `engine:\n  database: ${"x".repeat(100_000)}`],
    ["a key of as many", `${"x".repeat(100_000)}: 1`],
    ["a list of a hundred thousand levels", "[".repeat(100_000)],
    ["more text than a configuration has", "#".repeat(1_000_000)],
  ])("is refused in few words: %s", ([, yaml = ""]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(EngineConfig.load({ source: "config.yaml", yaml }))
      expect(error._tag).toBe("EngineConfigError")
      expect(error.message.length).toBeLessThan(20_000)
      expect(error.message.split("\n").length).toBeLessThan(60)
    }),
  )
})
