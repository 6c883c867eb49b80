/**
 * The configuration of an engine: its section `engine`, and the sections that a program brings, as one Schema whose defaults
 * are the documentation, read from YAML and the environment.
 *
 * Every problem is reported at once, each with its path and the bad value; an unknown key is a problem. Environment
 * variables override the file: `SEAWALL_` + section + `_` + key, as in `SEAWALL_ENGINE_TICK_INTERVAL_SECONDS=2`.
 * What only makes sense together (limits, matching intervals) are `invariants` of the program, which `Preflight` checks.
 */
import { Effect, Schema, SchemaGetter } from "effect"
import { Durability } from "../sql/Durability.ts"
import * as ConfigSources from "./ConfigSources.ts"

export { EngineConfigError, mostText, type ConfigProblem, type ConfigSources, type Section } from "./ConfigSources.ts"

/** A key, or a section, that may be left out: it is `value` then. */
export const withDefault = <S extends Schema.Constraint>(schema: S, value: S["Encoded"]) =>
  Schema.withDecodingDefaultKey<S>(Effect.succeed(value))(schema)

/** Seconds between two rounds of a loop; shorter it would do nothing else than to go round. */
const Interval = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0.001))
const NotNegative = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
/** The name of a file or a schema; no system has longer ones. */
const Name = Schema.NonEmptyString.check(Schema.isMaxLength(4096))
/** Negative means off, and is kept as 0. */
const ZeroIfNegative = Schema.Finite.pipe(
  Schema.decode({ decode: SchemaGetter.transform((value) => Math.max(0, value)), encode: SchemaGetter.passthrough() }),
).check(Schema.makeFilter((value) => value === 0 || value >= 0.001, { expected: "0 or less, or at least 0.001" }))

const EngineSection = Schema.Struct({
  /** Where the engine keeps its memory: `sqlite`, a file of this machine; `postgres`, a server that several machines reach. */
  store: withDefault(Schema.Literals(["sqlite", "postgres"]), "sqlite"),
  /** With `postgres`: wait while another machine leads, and again after the lead was lost; false = end then. */
  standby: withDefault(Schema.Boolean, true),
  /** Path of the SQLite file; created with its folder when missing. */
  database: withDefault(Name, "data/seawall.db"),
  /** `durable`: acknowledged = on disk, synced off the event loop; `full`: the same, blocking; `normal`: committed. */
  durability: withDefault(Durability, "durable"),
  /** Seconds from the end of one tick to the start of the next, at least 0.001. */
  tick_interval_seconds: withDefault(Interval, 4),
  /** Seconds between two WAL checkpoints, at least 0.001; 0 or less = off. 60 as in `WalGuard`. */
  wal_checkpoint_interval_seconds: withDefault(ZeroIfNegative, 60),
  /** The length of the WAL, in frames, that is held beside the interval; 0 = off. 4000: 16 MB of 4096-byte pages. */
  wal_max_frames: withDefault(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)), 4000),
  /** Checkpoint on a thread, so that the event loop never waits for one. */
  wal_checkpoint_thread: withDefault(Schema.Boolean, true),
  /** Seconds until the session ends by itself; 0 = never. 7200: two hours. */
  duration_seconds: withDefault(NotNegative, 7200),
  /**
   * `quick`: check the file before the session, and refuse a damaged one. `off`: do not look.
   * https://www.sqlite.org/pragma.html#pragma_quick_check
   */
  integrity_check: withDefault(Schema.Literals(["quick", "off"]), "quick"),
  /** Backups kept of each kind, before a session and after its clean end; 0 = none are made. */
  backups: withDefault(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)), 10),
  /** Seconds a statement waits for another process's lock; few, because the event loop waits with it. */
  busy_timeout_seconds: withDefault(NotNegative, 1),
  /** WAL over a network file system corrupts; true opens it there all the same. */
  allow_network_file_system: withDefault(Schema.Boolean, false),
  /** Page cache in KiB; 2000 is SQLite's own. */
  cache_size_kib: withDefault(Schema.Int.check(Schema.isGreaterThan(0)), 2000),
})
type EngineSection = typeof EngineSection.Type

const PostgresSection = Schema.Struct({
  /** `postgres://user:password@host:5432/database`: the server itself, no pooler. A secret: never shown. */
  url: withDefault(Schema.RedactedFromValue(Schema.String, { label: "postgres.url" }), ""),
  /** One engine a schema; created when missing. */
  schema: withDefault(Name, "seawall"),
  /** Connections for statements, beside the one of the lease. */
  max_connections: withDefault(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 })), 4),
  /** Seconds after which a leader of which nothing is heard is replaced. */
  lease_seconds: withDefault(Schema.Finite.check(Schema.isBetween({ minimum: 1, maximum: 3600 })), 3),
})
type PostgresSection = typeof PostgresSection.Type

/** What an engine needs of a configuration; a program's own has more sections. */
export interface EngineConfig {
  readonly engine: EngineSection
  readonly postgres: PostgresSection
}

type Simplify<A> = { readonly [K in keyof A]: A[K] }

/** A configuration with these sections beside `engine`. */
export type ConfigOf<S extends ConfigSources.Sections> = Simplify<
  EngineConfig & { readonly [K in keyof S]: S[K]["Type"] }
>

/** How it is written: each section may be left out. */
export type EncodedOf<S extends ConfigSources.Sections> = Simplify<
  { readonly engine?: typeof EngineSection.Encoded; readonly postgres?: typeof PostgresSection.Encoded } & {
    readonly [K in keyof S]?: S[K]["Encoded"]
  }
>

/** The sections that a program brings, and what must hold between their values. */
export interface MakeOptions<S extends ConfigSources.Sections> {
  /** By their name in the file. A key without a default is required; `withDefault` gives it one. */
  readonly sections: S & { readonly engine?: never; readonly postgres?: never }
  /** What does not hold, as sentences with the path and the value; all of them. `engine` may be asked, too. */
  readonly invariants?: (config: ConfigOf<S>) => ReadonlyArray<string>
}

/** A configuration of an engine and its program. */
export interface Definition<Config, Encoded> {
  readonly schema: Schema.Codec<Config, Encoded>
  /** For `Session.layer`: its `Preflight` refuses a configuration of which one does not hold. */
  readonly invariants: (config: Config) => ReadonlyArray<string>
  /**
   * Reads, merges and decodes: overrides over environment over file over defaults. Touches no file: `yaml` is its text.
   * Fails with one `EngineConfigError` that holds every problem. Does not look at the invariants.
   */
  readonly load: (sources: ConfigSources.ConfigSources) => Effect.Effect<Config, ConfigSources.EngineConfigError>
}

/** An absent section is an empty one, so that its missing keys are named one by one. */
const orEmpty = (section: ConfigSources.Section) => withDefault(section, {})

/**
 * The configuration of an engine whose program has sections of its own:
 * `EngineConfig.make({ sections: { sensor: Schema.Struct({ url: Schema.String }) } })`.
 */
export const make = <const S extends ConfigSources.Sections>({
  invariants = () => [],
  sections: own,
}: MakeOptions<S>): Definition<ConfigOf<S>, EncodedOf<S>> => {
  const sections: ConfigSources.Sections = { ...own, engine: EngineSection, postgres: PostgresSection }
  const fields = Object.fromEntries(Object.entries(sections).map(([name, section]) => [name, orEmpty(section)]))
  const schema = Schema.Struct(fields) as unknown as Schema.Codec<ConfigOf<S>, EncodedOf<S>>
  return {
    schema,
    invariants,
    load: Effect.fn("EngineConfig.load")((sources: ConfigSources.ConfigSources) =>
      ConfigSources.load(schema, sections, sources),
    ),
  }
}

const engineAlone = make({ sections: {} })

/** The section `engine` alone. Every key has a default, so that `{}` is a whole configuration. */
export const EngineConfig = engineAlone.schema

/** Reads a configuration that has the section `engine` alone. */
export const load = engineAlone.load
