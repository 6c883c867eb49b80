import { fileURLToPath } from "node:url"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import { Effect, FileSystem, Result, Runtime, Schema } from "effect"
import { Yaml } from "effect/encoding"
import { EngineConfigError, type ConfigSources } from "../../src/engine/EngineConfig.ts"
import { PaperConfig } from "../../src/paper/PaperConfig.ts"
import { slice } from "../support/slice.ts"

const loading = (sources: Partial<ConfigSources>) => PaperConfig.load({ source: "test.yaml", yaml: "", ...sources })

/** Fails the test when the configuration is not refused. */
const refusal = Effect.fnUntraced(function* (sources: Partial<ConfigSources>) {
  const result = yield* Effect.result(loading(sources))
  if (Result.isSuccess(result)) throw new Error(`expected a refusal, got ${JSON.stringify(result.success)}`)
  if (!(result.failure instanceof EngineConfigError))
    throw new Error(`expected a EngineConfigError, got ${String(result.failure)}`)
  return result.failure
})

/** The problems as the lines of the message, in no order. */
const problemsOf = (sources: Partial<ConfigSources>) =>
  Effect.map(refusal(sources), ({ problems }) => problems.map(({ path, message }) => `${path}: ${message}`).toSorted())

const shipped = (name: string) =>
  FileSystem.FileSystem.use((fs) =>
    fs.readFileString(fileURLToPath(new URL(`../../config/${name}`, import.meta.url))),
  ).pipe(Effect.provide(NodeFileSystem.layer))

/** Any configuration that can be loaded: negative checkpoint intervals are not kept, and JSON has no negative zero. */
const normal = (config: PaperConfig): PaperConfig => {
  const { postgres, ...rest } = JSON.parse(
    JSON.stringify({
      ...config,
      engine: {
        ...config.engine,
        wal_checkpoint_interval_seconds: Math.abs(config.engine.wal_checkpoint_interval_seconds),
      },
    }),
  ) as PaperConfig
  return { ...rest, postgres: { ...postgres, url: config.postgres.url } } // a secret, which JSON would not show
}

describe("the files that ship", () => {
  it.effect("the example names every key, with its default", () =>
    Effect.gen(function* () {
      const defaults = yield* loading({})
      const example = Yaml.parse(yield* shipped("config.example.yaml"))
      expect(example).toEqual(yield* Schema.encodeEffect(PaperConfig.schema)(defaults))
    }),
  )

  it.effect("the example loads, and changes nothing", () =>
    Effect.gen(function* () {
      const yaml = yield* shipped("config.example.yaml")
      expect(yield* loading({ yaml })).toEqual(yield* loading({}))
    }),
  )

  it.effect("config.yaml loads, and changes only how often a checkpoint is made", () =>
    Effect.gen(function* () {
      const defaults = yield* loading({})
      expect(yield* loading({ yaml: yield* shipped("config.yaml") })).toEqual({
        ...defaults,
        engine: { ...defaults.engine, wal_checkpoint_interval_seconds: 10 },
      })
    }),
  )
})

describe("a configuration file", () => {
  it.effect("that names some keys leaves the others at their defaults", () =>
    Effect.gen(function* () {
      const defaults = yield* loading({})
      const yaml = "engine:\n  tick_interval_seconds: 0.5 # half\nrisk:\n  max_xrp_exposure: -1\n"
      expect(yield* loading({ yaml })).toEqual({
        ...defaults,
        engine: { ...defaults.engine, tick_interval_seconds: 0.5 },
        risk: { ...defaults.risk, max_xrp_exposure: -1 },
      })
    }),
  )

  for (const [what, yaml] of [
    ["that is empty", ""],
    ["with comments only", "# nothing\n"],
    ["with sections that are empty", "engine:\nstrategy:\norder_size:\nrisk:\npaper:\n"],
    ["with empty mappings", "engine: {}\npaper: {}\n"],
  ] as const) {
    it.effect(`${what} means all defaults`, () =>
      Effect.gen(function* () {
        const config = yield* loading({ yaml })
        expect([config.engine.database, config.engine.wal_checkpoint_interval_seconds]).toEqual(["data/seawall.db", 60])
        expect(config).toEqual(yield* loading({}))
      }),
    )
  }

  it.effect("with a byte order mark and Windows line ends is read like any other", () =>
    Effect.gen(function* () {
      const config = yield* loading({ yaml: "\uFEFFengine:\r\n  database: a.db\r\n  duration_seconds: 0\r\n" })
      expect([config.engine.database, config.engine.duration_seconds]).toEqual(["a.db", 0])
    }),
  )

  for (const [text, seconds] of [
    ["-5", 0],
    ["-0.001", 0],
    ["0", 0],
    ["0.001", 0.001],
  ] as const) {
    it.effect(`a checkpoint interval of ${text} s is kept as ${seconds}`, () =>
      Effect.gen(function* () {
        const { engine } = yield* loading({ yaml: `engine:\n  wal_checkpoint_interval_seconds: ${text}\n` })
        expect(engine.wal_checkpoint_interval_seconds).toBe(seconds)
      }),
    )
  }

  it.effect.prop(
    "has everything that was written to it",
    [PaperConfig.schema],
    ([generated]) =>
      Effect.gen(function* () {
        const config = normal(generated)
        const yaml = JSON.stringify(yield* Schema.encodeEffect(PaperConfig.schema)(config)) // one line of JSON is YAML
        expect(yield* loading({ yaml })).toEqual(config)
      }),
    { arbitrary: { runs: slice(200) } },
  )
})

describe("a configuration that is wrong", () => {
  it.effect("says all that is wrong with it at once, each with its path and the bad value", () =>
    Effect.gen(function* () {
      const yaml = `
engine:
  database: ""
  durability: maybe
  tick_interval_seconds: -1
  duration_seconds: soon
  cache_size_kib: 1.5
  tik: 3
strategy: 5
order_size:
  base_size_rlusd: "25"
riks:
  max_xrp_exposure: 1
paper:
  - 1
`
      expect(yield* problemsOf({ yaml })).toEqual([
        "engine.cache_size_kib: Expected an integer, got 1.5",
        'engine.database: Expected a value with a length of at least 1, got ""',
        'engine.durability: Expected "durable" | "full" | "normal", got "maybe"',
        'engine.duration_seconds: Expected number, got "soon"',
        "engine.tick_interval_seconds: Expected a value greater than or equal to 0.001, got -1",
        "engine.tik: unknown key, got 3",
        'order_size.base_size_rlusd: Expected number, got "25"',
        "paper: Expected object, got [1]",
        'riks: unknown key, got {"max_xrp_exposure":1}',
        "strategy: Expected object, got 5",
      ])
    }),
  )

  it.effect("names its source and every problem in the message, and has the exit code of EX_CONFIG", () =>
    Effect.gen(function* () {
      const error = yield* refusal({ source: "config/mine.yaml", yaml: "engine:\n  tik: 3\nbogus: 1\n" })
      const [first, ...lines] = error.message.split("\n")
      expect(first).toContain("config/mine.yaml")
      expect(lines.map((line) => line.trim()).toSorted()).toEqual([
        "bogus: unknown key, got 1",
        "engine.tik: unknown key, got 3",
      ])
      expect(error[Runtime.errorExitCode]).toBe(78)
    }),
  )

  it.effect("names problems of the file, of the environment and of the overrides together", () =>
    Effect.gen(function* () {
      const problems = yield* problemsOf({
        yaml: "paper:\n  starting_xrp: -1\n",
        env: { SEAWALL_ENGINE_DURABILITY: "never", SEAWALL_TYPO: "1" },
        overrides: { engine: { duration_seconds: -2 } },
      })
      expect(problems).toEqual([
        'SEAWALL_TYPO: unknown variable, got "1"',
        'engine.durability (SEAWALL_ENGINE_DURABILITY): Expected "durable" | "full" | "normal", got "never"',
        "engine.duration_seconds (given as a flag): Expected a value greater than or equal to 0, got -2",
        "paper.starting_xrp: Expected a value greater than or equal to 0, got -1",
      ])
    }),
  )

  for (const [path, yaml, value] of [
    ["bogus", "bogus:\n  a: 1\n", '{"a":1}'],
    ["Engine", "Engine:\n  database: a.db\n", '{"database":"a.db"}'],
    ["engine.wal_checkpoint_interval", "engine:\n  wal_checkpoint_interval: 60\n", "60"],
    ["engine.strategy", "engine:\n  strategy:\n    bid_offset_bps: 1\n", '{"bid_offset_bps":1}'],
    ["paper.__proto__", "paper:\n  __proto__: 1\n", "1"],
    ["__proto__", "__proto__:\n  a: 1\n", '{"a":1}'],
  ] as const) {
    it.effect(`the unknown key ${path} is a problem`, () =>
      Effect.gen(function* () {
        expect(yield* problemsOf({ yaml })).toEqual([`${path}: unknown key, got ${value}`])
      }),
    )
  }

  it.effect("a key without a value is a problem, not a default", () =>
    Effect.gen(function* () {
      expect(yield* problemsOf({ yaml: "engine:\n  database:\n" })).toEqual([
        "engine.database: Expected string, got null",
      ])
    }),
  )

  for (const number of [".inf", "-.inf", ".nan"]) {
    it.effect(`${number} is not a number of seconds`, () =>
      Effect.gen(function* () {
        const { problems } = yield* refusal({ yaml: `engine:\n  wal_checkpoint_interval_seconds: ${number}\n` })
        expect(problems.map(({ path }) => path)).toEqual(["engine.wal_checkpoint_interval_seconds"])
      }),
    )
  }

  for (const [what, yaml, message] of [
    ["a bracket that is never closed", "engine: [", "flow"],
    ["a tab for indentation", "engine:\n\tdatabase: a.db\n", "line 2"],
    ["a key that stands twice", "engine:\n  database: a.db\n  database: b.db\n", "line 3"],
    ["a section that stands twice", "risk:\n  max_xrp_exposure: 1\nrisk:\n  max_rlusd_exposure: 1\n", "line 3"],
  ] as const) {
    it.effect(`${what} is a problem of the YAML, with its place`, () =>
      Effect.gen(function* () {
        const { problems } = yield* refusal({ yaml })
        expect(problems.map(({ path }) => path)).toEqual(["YAML"])
        expect(problems[0]?.message).toContain(message)
      }),
    )
  }

  for (const [yaml, value] of [
    ["hello", '"hello"'],
    ["42", "42"],
    ["- engine\n- paper", '["engine","paper"]'],
  ] as const) {
    it.effect(`a file that holds ${value} has no sections`, () =>
      Effect.gen(function* () {
        expect(yield* problemsOf({ yaml })).toEqual([`YAML: expected sections of keys, got ${value}`])
      }),
    )
  }
})

describe("where a setting comes from", () => {
  const yaml = "engine:\n  database: file.db\n  tick_interval_seconds: 2\n  busy_timeout_seconds: 3\n"

  it.effect("the environment overrides the file, key by key", () =>
    Effect.gen(function* () {
      const env = { SEAWALL_ENGINE_DATABASE: "env.db", SEAWALL_ENGINE_TICK_INTERVAL_SECONDS: "0.25" }
      const { engine } = yield* loading({ yaml, env })
      expect([engine.database, engine.tick_interval_seconds, engine.busy_timeout_seconds]).toEqual(["env.db", 0.25, 3])
    }),
  )

  it.effect("overrides override the environment and the file, key by key", () =>
    Effect.gen(function* () {
      const env = { SEAWALL_ENGINE_DATABASE: "env.db", SEAWALL_ENGINE_TICK_INTERVAL_SECONDS: "0.25" }
      const { engine } = yield* loading({ yaml, env, overrides: { engine: { database: "flag.db" } } })
      expect([engine.database, engine.tick_interval_seconds, engine.busy_timeout_seconds]).toEqual(["flag.db", 0.25, 3])
    }),
  )

  it.effect("a bad value in the file is no problem when the environment overrides it", () =>
    Effect.gen(function* () {
      const { paper } = yield* loading({ yaml: "paper:\n  seed: dice\n", env: { SEAWALL_PAPER_SEED: "6" } })
      expect(paper.seed).toBe(6)
    }),
  )

  it.effect("a section that the file has as a plain value stays a problem", () =>
    Effect.gen(function* () {
      const env = { SEAWALL_ENGINE_DATABASE: "env.db" }
      expect(yield* problemsOf({ yaml: "engine: 5\n", env })).toEqual(["engine: Expected object, got 5"])
    }),
  )

  it.effect.prop(
    "every key has a variable",
    [PaperConfig.schema],
    ([generated]) =>
      Effect.gen(function* () {
        const config = normal(generated)
        const env = Object.fromEntries(
          Object.entries(config).flatMap(([section, keys]) =>
            Object.entries(keys).map(([key, value]) => [`SEAWALL_${section}_${key}`.toUpperCase(), String(value)]),
          ),
        )
        expect(yield* loading({ env })).toEqual(config)
      }),
    { arbitrary: { runs: slice(200) } },
  )

  for (const text of ["123", "true", "null", "~", "1e3", "a: b: [", " ", "# no comment", "[x]"]) {
    it.effect(`the database may be called ${JSON.stringify(text)}, for a variable is text`, () =>
      Effect.gen(function* () {
        const { engine } = yield* loading({ env: { SEAWALL_ENGINE_DATABASE: text } })
        expect(engine.database).toBe(text)
      }),
    )
  }

  it.effect("a variable that is empty or not set counts as absent", () =>
    Effect.gen(function* () {
      const env = { SEAWALL_ENGINE_DATABASE: "", SEAWALL_ENGINE_DURATION_SECONDS: undefined, SEAWALL_TYPO: "" }
      const { engine } = yield* loading({ yaml, env })
      expect([engine.database, engine.duration_seconds]).toEqual(["file.db", 7200])
    }),
  )

  it.effect("variables that do not begin with SEAWALL_ are not ours", () =>
    Effect.gen(function* () {
      const env = { PATH: "/bin", ENGINE_DATABASE: "env.db", MY_SEAWALL_ENGINE_DATABASE: "env.db", SEAWALLS: "4" }
      expect(yield* loading({ yaml, env })).toEqual(yield* loading({ yaml }))
    }),
  )

  for (const name of [
    "SEAWALL_",
    "SEAWALL_ENGINE",
    "SEAWALL_ENGINE_",
    "SEAWALL_ENGINE_TICK",
    "SEAWALL_ENGINE_BASE_SIZE_RLUSD",
    "SEAWALL_DATABASE",
    "SEAWALL_ENGINEXDATABASE",
    "SEAWALL_ENGINE_CONSTRUCTOR",
    "SEAWALL_ENGINE___PROTO__",
  ]) {
    it.effect(`the unknown variable ${name} is a problem`, () =>
      Effect.gen(function* () {
        expect(yield* problemsOf({ env: { [name]: "x" } })).toEqual([`${name}: unknown variable, got "x"`])
      }),
    )
  }

  it.effect("a variable that is not what its key needs is a problem, with its value", () =>
    Effect.gen(function* () {
      const env = {
        SEAWALL_ENGINE_TICK_INTERVAL_SECONDS: "soon",
        SEAWALL_PAPER_SEED: "[",
        SEAWALL_RISK_MAX_XRP_EXPOSURE: "[1]",
      }
      expect(yield* problemsOf({ env })).toEqual([
        'engine.tick_interval_seconds (SEAWALL_ENGINE_TICK_INTERVAL_SECONDS): Expected number, got "soon"',
        'paper.seed (SEAWALL_PAPER_SEED): Expected number, got "["',
        "risk.max_xrp_exposure (SEAWALL_RISK_MAX_XRP_EXPOSURE): Expected number, got [1]",
      ])
    }),
  )

  it.effect("a negative checkpoint interval is 0 from a variable and from an override, too", () =>
    Effect.gen(function* () {
      const fromEnv = yield* loading({ env: { SEAWALL_ENGINE_WAL_CHECKPOINT_INTERVAL_SECONDS: "-5" } })
      expect(fromEnv.engine.wal_checkpoint_interval_seconds).toBe(0)
      const overridden = yield* loading({ overrides: { engine: { wal_checkpoint_interval_seconds: -5 } } })
      expect(overridden.engine.wal_checkpoint_interval_seconds).toBe(0)
    }),
  )
})

const defaults = Schema.decodeSync(PaperConfig.schema)({})

type Sections = { readonly [S in keyof PaperConfig]?: Partial<PaperConfig[S]> }

const configured = ({ engine, strategy, risk }: Sections): PaperConfig => ({
  ...defaults,
  engine: { ...defaults.engine, ...engine },
  strategy: { ...defaults.strategy, ...strategy },
  risk: { ...defaults.risk, ...risk },
})

/** Four invariants, each of them broken. */
const broken = configured({
  engine: { tick_interval_seconds: 2 },
  strategy: { requote_interval_seconds: 5, clob_switch_threshold_bps: -1 },
  risk: { max_xrp_exposure: 0, max_rlusd_exposure: -2.5 },
})
const problemsOfBroken = [
  "expected risk.max_xrp_exposure to be greater than 0, got 0",
  "expected risk.max_rlusd_exposure to be greater than 0, got -2.5",
  "expected strategy.clob_switch_threshold_bps to be greater than 0, got -1",
  "expected strategy.requote_interval_seconds to equal engine.tick_interval_seconds (2), got 5",
]

describe("the invariants of a configuration", () => {
  it("hold for the defaults", () => {
    expect(PaperConfig.invariants(defaults)).toEqual([])
  })

  for (const [sections, problem] of [
    [{ risk: { max_xrp_exposure: 0 } }, "expected risk.max_xrp_exposure to be greater than 0, got 0"],
    [{ risk: { max_rlusd_exposure: -1 } }, "expected risk.max_rlusd_exposure to be greater than 0, got -1"],
    [
      { strategy: { clob_switch_threshold_bps: 0 } },
      "expected strategy.clob_switch_threshold_bps to be greater than 0, got 0",
    ],
    [
      { strategy: { requote_interval_seconds: 8 } },
      "expected strategy.requote_interval_seconds to equal engine.tick_interval_seconds (4), got 8",
    ],
    [
      { engine: { tick_interval_seconds: 8 } },
      "expected strategy.requote_interval_seconds to equal engine.tick_interval_seconds (8), got 4",
    ],
  ] satisfies ReadonlyArray<readonly [Sections, string]>) {
    it(`name what does not hold: ${problem}`, () => {
      expect(PaperConfig.invariants(configured(sections))).toEqual([problem])
    })
  }

  it("are all looked at, whatever the first of them says", () => {
    expect(PaperConfig.invariants(broken)).toEqual(problemsOfBroken)
  })

  it("hold for the smallest limits above zero, and for equal intervals of any length", () => {
    const smallest = configured({
      engine: { tick_interval_seconds: 0.1 },
      strategy: { requote_interval_seconds: 0.1, clob_switch_threshold_bps: Number.MIN_VALUE },
      risk: { max_xrp_exposure: Number.MIN_VALUE, max_rlusd_exposure: Number.MIN_VALUE },
    })
    expect(PaperConfig.invariants(smallest)).toEqual([])
  })

  it.prop("are as many as do not hold", [PaperConfig.schema], ([config]) => {
    const { engine, risk, strategy } = config
    const failed = [
      risk.max_xrp_exposure <= 0,
      risk.max_rlusd_exposure <= 0,
      strategy.clob_switch_threshold_bps <= 0,
      engine.tick_interval_seconds !== strategy.requote_interval_seconds,
    ]
    expect(PaperConfig.invariants(config)).toHaveLength(failed.filter(Boolean).length)
  })
})
