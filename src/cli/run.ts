/**
 * `seawall run`: a paper trading session on a guarded database.
 *
 * Only puts together what the floors below provide: reads flags and configuration, builds the chain of `Session`, and
 * turns the reason for its halt into an exit code.
 */
import { Clock, DateTime, Effect, FileSystem, Layer, Option, Ref } from "effect"
import { Command } from "effect/cli"
import { Stdio } from "effect/Stdio"
import * as Dashboard from "../dashboard/Dashboard.ts"
import type { EngineStatus, LeadershipStatus } from "../dashboard/Snapshot.ts"
import * as EngineSource from "../dashboard/EngineSource.ts"
import * as Engine from "../engine/Engine.ts"
import { EngineConfigError } from "../engine/EngineConfig.ts"
import * as Session from "../engine/Session.ts"
import * as Feed from "../paper/Feed.ts"
import { PaperConfig } from "../paper/PaperConfig.ts"
import * as PaperProgram from "../paper/PaperProgram.ts"
import { clean } from "../files/Printable.ts"
import type { StateError } from "../state/StateError.ts"
import * as Checkpointer from "../wal/Checkpointer.ts"
import * as WalGuard from "../wal/WalGuard.ts"
import * as ExitCode from "./ExitCode.ts"
import * as RunSettings from "./RunSettings.ts"
import * as OnServer from "./OnServer.ts"
import * as StatusLine from "./StatusLine.ts"
import * as LongRunning from "./LongRunning.ts"
import * as DashboardFlags from "./DashboardFlags.ts"

/** A feed that is not there is found out before anything is opened or created. */
const feedLayer = Effect.fnUntraced(function* (input: RunSettings.Input, config: PaperConfig) {
  if (Option.isNone(input.feed)) {
    return Feed.layerRandomWalk({ seed: config.paper.seed, price: config.paper.starting_price_rlusd })
  }
  const feed = input.feed.value
  if (feed === "-") {
    const stdio = yield* Stdio
    return Feed.layerNdjson("standard input", stdio.stdin)
  }
  const fs = yield* FileSystem.FileSystem
  const broken = (cause: unknown) => new Feed.FeedError({ feed, cause })
  yield* Effect.mapError(fs.access(feed, { readable: true }), broken)
  const { type } = yield* Effect.mapError(fs.stat(feed), broken)
  if (type === "Directory") return yield* broken(new Error("it is a folder; name a file"))
  return Feed.layerNdjson(feed, fs.stream(feed))
})

const elapsed = (millis: number) => {
  const seconds = Math.floor(millis / 1000)
  const two = (n: number) => String(n).padStart(2, "0")
  return `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
}

const showStatus = Effect.gen(function* () {
  const engine = yield* Engine.Engine
  const guard = yield* WalGuard.WalGuard
  const checkpointer = yield* Checkpointer.Checkpointer
  const statusLine = yield* StatusLine.StatusLine
  const start = yield* Clock.currentTimeMillis
  yield* statusLine.show(
    Effect.gen(function* () {
      const checkpoint = Option.match(yield* guard.last, {
        onNone: () => "none yet",
        onSome: ({ mode, outcome, elapsedMillis }) => `${mode} ${outcome} ${elapsedMillis.toFixed(1)} ms`,
      })
      const frames = Option.match(yield* checkpointer.frames, {
        onNone: () => "?",
        onSome: ({ log, checkpointed }) => `${log} (${log - checkpointed} to copy)`,
      })
      const time = elapsed((yield* Clock.currentTimeMillis) - start)
      return `${time}  ticks ${yield* engine.ticks}  last checkpoint ${checkpoint}  WAL frames ${frames}`
    }),
  )
})

const watch = Effect.fnUntraced(function* (input: RunSettings.Input) {
  const engine = yield* EngineSource.inReach
  return yield* DashboardFlags.start(input, { databases: [yield* Dashboard.databaseSource], engine })
})

const utcTime = (millis: number) => `${DateTime.formatIso(DateTime.makeUnsafe(millis)).slice(0, 19)}Z`

/** The leader, in one line. */
const leading = ({ leader, leads_here, problem, standbys }: LeadershipStatus) => {
  if (problem !== null) return `the server cannot be asked: ${problem}`
  if (leader === null) return "no leader yet"
  const who = leads_here ? "leads" : `stands by; ${clean(leader.host)}:${leader.pid} leads`
  const since = leader.since_ms === null ? "" : ` since ${utcTime(leader.since_ms)}`
  return `${who}${since}, session ${leader.session_id}, heard ${leader.heard_seconds.toFixed(1)} s ago, ${standbys.length} standing by`
}

/** On a server there is no WAL of ours: it shows who leads, also while it waits. */
const onPostgres = Effect.fnUntraced(function* (
  input: RunSettings.Input,
  options: Session.SessionOptions<Feed.FeedError | StateError, PaperConfig>,
) {
  const statusLine = yield* StatusLine.StatusLine
  const start = yield* Clock.currentTimeMillis
  const { watch: watchLeaders } = yield* OnServer.load(() => import("./watchLeaders.ts"))
  const leadership = yield* watchLeaders(options.config)
  const session = yield* Ref.make(Option.none<Effect.Effect<EngineStatus>>())
  const engine = Effect.map(Effect.flatMap(Ref.get(session), Effect.transposeOption), Option.getOrNull)
  yield* DashboardFlags.start(input, { databases: [], engine, leadership })
  yield* statusLine.show(
    Effect.gen(function* () {
      const time = elapsed((yield* Clock.currentTimeMillis) - start)
      const runs = yield* engine
      return `${time}  ${leading(yield* leadership)}${runs === null ? "" : `  ticks ${runs.ticks}`}`
    }),
  )
  const context = yield* Layer.build(Session.layerPostgres(options))
  yield* Ref.set(session, Option.some(yield* Effect.provideContext(EngineSource.inReach, context)))
  return yield* Effect.never
})

/** Builds the chain, and shows how it goes. */
const onSqlite = Effect.fnUntraced(function* (
  input: RunSettings.Input,
  options: Session.SessionOptions<Feed.FeedError | StateError, PaperConfig>,
) {
  const context = yield* Layer.build(Session.layerSqlite(options))
  yield* Effect.provideContext(Effect.andThen(showStatus, watch(input)), context)
  return yield* Effect.never
})

const session = Effect.fnUntraced(function* (input: RunSettings.Input) {
  if (Option.isSome(input.speed) && Option.isNone(input.feed)) {
    const message = "there is nothing to replay: name a feed with --feed"
    return yield* new EngineConfigError({ source: "the command line", problems: [{ path: "--speed", message }] })
  }
  const config = yield* RunSettings.load(input)
  const feed = yield* feedLayer(input, config)
  const options = {
    config,
    invariants: PaperConfig.invariants,
    parentSessionId: input.parentSession,
    program: ({ parentSessionId }: Session.Recovered) =>
      Layer.provide(PaperProgram.layer({ config, parentSessionId }), feed),
    speed: Option.getOrElse(input.speed, () => 1),
  }
  return yield* config.engine.store === "postgres" ? onPostgres(input, options) : onSqlite(input, options)
})

export const run = Command.make("run", RunSettings.flags, (input) =>
  LongRunning.run({
    logFormat: input.logFormat,
    running: session(input),
  }),
).pipe(
  Command.withShortDescription("Run a paper trading session on a guarded database"),
  Command.withDescription(
    `Run a paper trading session on a guarded database: a tick every few seconds, a WAL checkpoint every interval, and a shutdown that leaves one clean file.

What an acknowledged write survives (engine.durability):
  durable  a power cut: it is on disk, synced together with others and off the event loop (default)
  full     a power cut: it is on disk, and the event loop waits for each sync
  normal   a killed process; a power cut loses at most what was committed since the start of the last
           checkpoint that synced the WAL

Backups: before the session and after its clean end, checked, beside the database (engine.backups; 0 = none).

Several machines (engine.store: postgres, SEAWALL_POSTGRES_URL): one of them runs the engine, the others stand by and take over.
The server keeps the books then, and there is no WAL, no checkpoint and no backup of ours.

Settings: flags over environment (SEAWALL_ENGINE_TICK_INTERVAL_SECONDS=2) over the file over defaults.
Stop it with Ctrl+C, SIGTERM or SIGHUP; it then has 10 s (4 s after SIGHUP) to close.

${ExitCode.help}`,
  ),
  Command.withExamples([
    { command: "seawall run --duration-seconds 30", description: "Try it for half a minute" },
    { command: "seawall run --db engine.db --feed quotes.ndjson", description: "Replay recorded quotes" },
    { command: "seawall run --feed quotes.ndjson --speed max", description: "The same as fast as it can be read" },
    { command: "seawall run --log-format json | jq .", description: "Pipe the log" },
  ]),
)
