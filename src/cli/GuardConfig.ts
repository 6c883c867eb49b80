/** The settings of `seawall guard`: flags over environment (`SEAWALL_GUARD_*`) over the section `guard` of a file over defaults. */
import { Duration, Effect, Option, Schema } from "effect"
import * as ConfigSources from "../engine/ConfigSources.ts"
import * as EngineConfig from "../engine/EngineConfig.ts"
import * as WalBound from "../wal/WalBound.ts"
import * as WalGuard from "../wal/WalGuard.ts"
import * as ConfigFile from "./ConfigFile.ts"

const { withDefault } = EngineConfig

const Section = Schema.Struct({
  /** Databases in WAL mode, and folders that hold some. */
  databases: withDefault(Schema.Array(Schema.NonEmptyString), []),
  /** Seconds from the end of one checkpoint to the start of the next. */
  interval_seconds: withDefault(
    Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0.001)),
    Duration.toSeconds(WalGuard.defaultInterval),
  ),
  /** The length of each WAL, in frames, that is held between two intervals; 0 = off. */
  max_frames: withDefault(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)), WalBound.defaultMaxFrames),
  /** Do not start when one of the databases cannot be guarded. */
  strict: withDefault(Schema.Boolean, false),
  /** WAL over a network file system corrupts; guard it there all the same. */
  allow_network_file_system: withDefault(Schema.Boolean, false),
})
export type Settings = typeof Section.Type

/** @internal */
export const schema = Schema.Struct({ guard: withDefault(Section, {}) })

/** What the command line says; a flag that was not given is absent. */
export interface Flags {
  /** The file, when one was named. */
  readonly config: Option.Option<string>
  readonly overrides: Readonly<Record<string, unknown>>
}

/** Fails with every problem at once. */
export const load = Effect.fnUntraced(function* ({ config, overrides }: Flags) {
  const source = Option.getOrElse(config, () => "the command line")
  const yaml = Option.isNone(config) ? "" : yield* ConfigFile.read(config.value)
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith("SEAWALL_GUARD_")))
  const sources = { source, yaml, env, overrides: { guard: overrides } }
  const { guard: settings } = yield* ConfigSources.load(schema, { guard: Section }, sources)
  if (settings.databases.length > 0) return settings
  const problems = [{ path: "guard.databases", message: "name a database, or a folder that holds some" }]
  return yield* new EngineConfig.EngineConfigError({ source, problems })
})
