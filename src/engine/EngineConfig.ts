/**
 * The configuration of an engine: one Schema whose defaults are the documentation, read from YAML and the environment.
 *
 * Every problem is reported at once, each with its path and the bad value; an unknown key is a problem. Environment
 * variables override the file: `SEAWALL_` + section + `_` + key, as in `SEAWALL_ENGINE_TICK_INTERVAL_SECONDS=2`.
 * What only makes sense together (limits, matching intervals) is checked by `Preflight`.
 */
import { Effect, Option, Predicate, Result, Runtime, Schema, SchemaGetter, SchemaIssue } from "effect"
import { Yaml } from "effect/encoding"
import { Durability } from "../sqlite/Durability.ts"

const or = <S extends Schema.Constraint>(schema: S, value: S["Encoded"]) =>
  Schema.withDecodingDefaultKey<S>(Effect.succeed(value))(schema)

const Positive = Schema.Finite.check(Schema.isGreaterThan(0))
const NotNegative = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
/** Negative means off, and is kept as 0. */
const ZeroIfNegative = Schema.Finite.pipe(
  Schema.decode({ decode: SchemaGetter.transform((value) => Math.max(0, value)), encode: SchemaGetter.passthrough() }),
)

const sections = {
  engine: Schema.Struct({
    /** Path of the SQLite file; created with its folder when missing. */
    database: or(Schema.NonEmptyString, "data/seawall.db"),
    /** `durable`: acknowledged = on disk, synced off the event loop; `full`: the same, blocking; `normal`: committed. */
    durability: or(Durability, "durable"),
    /** Seconds from the end of one tick to the start of the next. */
    tick_interval_seconds: or(Positive, 4),
    /** Seconds between two WAL checkpoints, no minimum; 0 or less = off. 60 as in `WalGuard`. */
    wal_checkpoint_interval_seconds: or(ZeroIfNegative, 60),
    /** The length of the log, in frames, that is held beside the interval; 0 = off. 4000: 16 MB of 4096-byte pages. */
    wal_max_frames: or(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)), 4000),
    /** Checkpoint on a thread, so that the event loop never waits for one. */
    wal_checkpoint_thread: or(Schema.Boolean, true),
    /** Seconds until the session ends by itself; 0 = never. 7200: two hours. */
    duration_seconds: or(NotNegative, 7200),
    /**
     * `quick`: check the file before the session, and refuse a damaged one. `off`: do not look.
     * https://www.sqlite.org/pragma.html#pragma_quick_check
     */
    integrity_check: or(Schema.Literals(["quick", "off"]), "quick"),
    /** Backups kept of each kind, before a session and after its clean end; 0 = none are made. */
    backups: or(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)), 10),
    /** Seconds a statement waits for another process's lock; few, because the event loop waits with it. */
    busy_timeout_seconds: or(NotNegative, 1),
    /** WAL over a network file system corrupts; true opens it there all the same. */
    allow_network_file_system: or(Schema.Boolean, false),
    /** Page cache in KiB; 2000 is SQLite's own. */
    cache_size_kib: or(Schema.Int.check(Schema.isGreaterThan(0)), 2000),
  }),
  strategy: Schema.Struct({
    /** Seconds between two quotes; must equal `engine.tick_interval_seconds`. */
    requote_interval_seconds: or(Schema.Finite, 4),
    /** Distance of our bid below the middle of the book, in basis points. */
    bid_offset_bps: or(NotNegative, 10),
    /** Distance of our ask above the middle of the book, in basis points. */
    ask_offset_bps: or(NotNegative, 10),
    /** A book whose spread is narrower than this, in basis points above 0, is not quoted. */
    clob_switch_threshold_bps: or(Schema.Finite, 3),
  }),
  order_size: Schema.Struct({
    /** Size of each quote, in RLUSD. */
    base_size_rlusd: or(Positive, 25),
  }),
  risk: Schema.Struct({
    /** A balance above it, in XRP, halts with `risk_xrp_exposure`. Here and below, `Preflight` refuses 0 or less. */
    max_xrp_exposure: or(Schema.Finite, 5000),
    /** A balance above it, in RLUSD, halts with `risk_rlusd_exposure`. */
    max_rlusd_exposure: or(Schema.Finite, 2500),
  }),
  paper: Schema.Struct({
    /** Seed of the random walk that is the market when no feed is given. */
    seed: or(Schema.Int, 1),
    starting_xrp: or(NotNegative, 2000),
    starting_rlusd: or(NotNegative, 1000),
    /** Where the random walk starts, in RLUSD per XRP. */
    starting_price_rlusd: or(Positive, 0.5),
  }),
}

/** Every key has a default, so that `{}` is a whole configuration. */
export const EngineConfig = Schema.Struct({
  engine: or(sections.engine, {}),
  strategy: or(sections.strategy, {}),
  order_size: or(sections.order_size, {}),
  risk: or(sections.risk, {}),
  paper: or(sections.paper, {}),
})
export type EngineConfig = typeof EngineConfig.Type

/** One thing that is wrong: where (`section.key`, a variable, or `YAML`), and what was expected and found there. */
export interface ConfigProblem {
  readonly path: string
  readonly message: string
}

/** A configuration that was refused, with everything that is wrong with it. Exit code 78 (EX_CONFIG). */
export class ConfigError extends Schema.TaggedError<ConfigError>()("seawall/ConfigError", {
  source: Schema.String,
  problems: Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String })),
}) {
  override readonly [Runtime.errorExitCode] = 78
  override get message() {
    const lines = this.problems.map(({ path, message }) => `  ${path}: ${message}`)
    return [`the configuration in ${this.source} was refused:`, ...lines].join("\n")
  }
}

type Tree = Record<string, Record<string, unknown>>

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

/** JSON knows no infinity, and calls it null. */
const show = (value: unknown) =>
  value === undefined ? "" : `, got ${typeof value === "number" ? String(value) : JSON.stringify(value)}`

const valueAt = (tree: unknown, path: ReadonlyArray<PropertyKey>): unknown =>
  path.reduce<unknown>((node, key) => (Predicate.hasProperty(node, key) ? node[key] : undefined), tree)

/** The file as sections of keys; a section with nothing in it is an empty one. */
const parseYaml = (text: string): Result.Result<Record<string, unknown>, ConfigProblem> =>
  Result.try({
    try: () => Yaml.parse(text) ?? {},
    catch: (error): ConfigProblem => ({
      path: "YAML",
      message: error instanceof Error ? error.message : String(error),
    }),
  }).pipe(
    Result.flatMap((parsed) =>
      Predicate.isObject(parsed)
        ? Result.succeed(Object.fromEntries(Object.entries(parsed).map(([key, value]) => [key, value ?? {}])))
        : Result.fail({ path: "YAML", message: `expected sections of keys${show(parsed)}` }),
    ),
  )

const prefix = "SEAWALL_"

/** The variables that belong to us, as sections of keys. An empty one counts as not set. */
const readEnvironment = (env: Readonly<Record<string, string | undefined>>) => {
  const tree: Tree = {}
  const problems: Array<ConfigProblem> = []
  const names = new Map<string, string>()
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith(prefix) || value === undefined || value === "") continue
    const rest = name.slice(prefix.length).toLowerCase()
    const section = Object.entries(sections).find(([key]) => rest.startsWith(`${key}_`))
    const key = section === undefined ? "" : rest.slice(section[0].length + 1)
    const leaf = Object.entries<Schema.Codec<unknown, unknown>>(section?.[1].fields ?? {}).find(
      ([field]) => field === key,
    )
    if (section === undefined || leaf === undefined) {
      problems.push({ path: name, message: `unknown variable${show(value)}` })
      continue
    }
    const isText = Option.isSome(Schema.decodeOption(Schema.Struct({ leaf: leaf[1] }))({ leaf: value }))
    names.set(`${section[0]}.${key}`, name)
    tree[section[0]] = { ...tree[section[0]], [key]: isText ? value : scalar(value) }
  }
  return { tree, problems, names }
}

/** A variable is text; what stands in it is read as in the file, so that `2` is a number there too. */
const scalar = (text: string): unknown =>
  Result.getOrElse(
    Result.try(() => Yaml.parse(text)),
    () => text,
  )

const merge = (base: Readonly<Record<string, unknown>>, over: Tree): Record<string, unknown> => {
  const merged = { ...base }
  for (const [section, keys] of Object.entries(over)) {
    const below = merged[section] ?? {}
    merged[section] = Predicate.isObject(below) ? { ...below, ...keys } : below
  }
  return merged
}

/** What a configuration is made of: overrides over environment over file over defaults. */
export interface ConfigSources {
  /** What a message calls the origin, usually the path of the file. */
  readonly source: string
  /** The text of the YAML file; empty text means all defaults. */
  readonly yaml: string
  /** Usually the variables of the process. What does not begin with `SEAWALL_`, or is empty, is ignored. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Overrides of the highest rank, as sections of keys: the flags of a command. */
  readonly overrides?: Tree
}

/**
 * Reads, merges and decodes: overrides over environment over file over defaults. Touches no file: `yaml` is its text.
 * Fails with one `ConfigError` that holds every problem.
 */
export const load = Effect.fn("EngineConfig.load")(function* (sources: ConfigSources) {
  const refuse = (problems: ReadonlyArray<ConfigProblem>) => new ConfigError({ source: sources.source, problems })
  const file = yield* Effect.mapError(Effect.fromResult(parseYaml(sources.yaml)), (problem) => refuse([problem]))
  const environment = readEnvironment(sources.env ?? {})
  const merged = merge(merge(file, environment.tree), sources.overrides ?? {})

  const decoded = yield* Effect.result(
    Schema.decodeEffect(EngineConfig)(merged, { errors: "all", onExcessProperty: "error" }),
  )
  const problems = Result.match(decoded, {
    onSuccess: () => [],
    onFailure: ({ issue }) =>
      formatIssues(issue).issues.map(({ path = [], message }): ConfigProblem => {
        const keys = path.map((part) => (Predicate.isObject(part) ? part.key : part)) as ReadonlyArray<PropertyKey>
        const value = valueAt(merged, keys)
        const expected = message === "Expected no excess property" ? "unknown key" : message
        const at = keys.map(String).join(".")
        const origin = valueAt(sources.overrides, keys) === undefined ? environment.names.get(at) : "given as a flag"
        return { path: origin === undefined ? at : `${at} (${origin})`, message: expected + show(value) }
      }),
  })
  const all = [...environment.problems, ...problems]
  if (all.length > 0) return yield* refuse(all)
  return yield* Effect.mapError(Effect.fromResult(decoded), () => refuse(all))
})
