/** The flags of `seawall run`, and the configuration that they are a part of. */
import { Effect, FileSystem, Option } from "effect"
import { type Command, Flag } from "effect/cli"
import { PaperConfig } from "../paper/PaperConfig.ts"
import * as ConfigFile from "./ConfigFile.ts"
import * as DashboardFlags from "./DashboardFlags.ts"
import * as LongRunning from "./LongRunning.ts"
import * as NumberFlag from "./NumberFlag.ts"

const defaultConfig = "config/config.yaml"

const speedOf = (given: string): Option.Option<number> =>
  given === "max"
    ? Option.some(Infinity)
    : Option.filter(Option.some(Number(given)), (n) => given.trim() !== "" && n > 0 && Number.isFinite(n))

export const flags = {
  config: Flag.String("config").pipe(
    Flag.withDescription(`Configuration file (YAML); ${defaultConfig} when it exists, else the defaults`),
    Flag.withMetavar("FILE"),
    Flag.optional,
  ),
  db: Flag.String("db").pipe(
    Flag.withDescription("SQLite database; created when missing (engine.database)"),
    Flag.withMetavar("FILE"),
    Flag.optional,
  ),
  durationSeconds: NumberFlag.seconds(
    "duration-seconds",
    "End the session after this time; 0 = never (engine.duration_seconds)",
  ).pipe(Flag.optional),
  feed: Flag.String("feed").pipe(
    Flag.withDescription(
      'Quotes as NDJSON, {"bid": 0.51, "ask": 0.52} a line; "-" is standard input. Default: a seeded random walk',
    ),
    Flag.withMetavar("FILE|-"),
    Flag.optional,
  ),
  tickIntervalSeconds: NumberFlag.interval(
    "tick-interval-seconds",
    "Time between two ticks (engine.tick_interval_seconds and strategy.requote_interval_seconds, which must agree)",
  ).pipe(Flag.optional),
  speed: Flag.String("speed").pipe(
    Flag.withDescription("Replay a --feed so many times as fast, or as fast as it can be read (max)"),
    Flag.withMetavar("max|N"),
    Flag.filterMap(speedOf, () => "max, or a number above 0 such as 10"),
    Flag.optional,
  ),
  parentSession: NumberFlag.whole(
    "parent-session",
    "Go on after this session of the database: keep the halt reason and the balances that are stored",
    "ID",
    12,
  ).pipe(Flag.optional),
  logFormat: LongRunning.logFormat,
  ...DashboardFlags.flags,
}

export type Input = Command.Command.Config.Infer<typeof flags>

/** Flags over environment over file over defaults. */
export const load = Effect.fnUntraced(function* (input: Input) {
  const fs = yield* FileSystem.FileSystem
  const useDefaults =
    Option.isNone(input.config) && !(yield* Effect.orElseSucceed(fs.exists(defaultConfig), () => false))
  const source = Option.getOrElse(input.config, () => defaultConfig)
  const yaml = useDefaults ? "" : yield* ConfigFile.read(source)
  return yield* PaperConfig.load({
    source: useDefaults ? "the defaults" : source,
    yaml,
    env: process.env,
    overrides: {
      engine: {
        ...Option.match(input.db, { onNone: () => ({}), onSome: (database) => ({ database }) }),
        ...Option.match(input.durationSeconds, {
          onNone: () => ({}),
          onSome: (duration_seconds) => ({ duration_seconds }),
        }),
        ...Option.match(input.tickIntervalSeconds, {
          onNone: () => ({}),
          onSome: (tick_interval_seconds) => ({ tick_interval_seconds }),
        }),
      },
      strategy: Option.match(input.tickIntervalSeconds, {
        onNone: () => ({}),
        onSome: (requote_interval_seconds) => ({ requote_interval_seconds }),
      }),
    },
  })
})
