/**
 * What an operator watches: one page, metrics and health of the databases and the engine that run in this process.
 *
 * It gathers once a second what is known already, and sends the same answer to every page. It holds up nothing that it
 * watches: no statement, no wait for a browser, and when it cannot serve (a taken port) one WARNING. It releases in this
 * order: stop asking -> a last word to the pages -> end their streams, free the port. All of that happens before what it
 * watches closes, and has no effect on how the program ends.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Clock, Config, Context, Data, Effect, Layer, Metric, Option, Schedule } from "effect"
import type * as Engine from "../engine/Engine.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import type * as Database from "../sqlite/Database.ts"
import type { DatabaseControl } from "../sqlite/DatabaseControl.ts"
import { ofSeawall } from "../sqlite/DatabaseName.ts"
import type * as WalGuard from "../wal/WalGuard.ts"
import * as OptionError from "../options/OptionError.ts"
import * as Gathering from "./Gathering.ts"
import type * as LiveLog from "./LiveLog.ts"
import * as Page from "./Page.ts"
import * as Server from "./Server.ts"
import type { EngineStatus, LeadershipStatus } from "./Snapshot.ts"
import * as DatabaseSource from "./DatabaseSource.ts"
import * as EngineSource from "./EngineSource.ts"

export type { Watched } from "./DatabaseSource.ts"

/** 8501: what the dashboards that operators of trading engines know listen on. */
export const defaultPort = 8501

/** Reached from the same machine only. */
export const defaultHost = "127.0.0.1"

/** Where the page is served, and to whom. */
export interface DashboardOptions {
  /** The address to listen on; default `defaultHost`. There is no password: every client that reaches it sees everything. */
  readonly host?: string
  /** 0 to 65535, default `defaultPort`; 0 = any that is free. */
  readonly port?: number
  /** Names by which browsers may ask, beside the host's own and those of the loopback; any other gets 403. Default none. */
  readonly names?: ReadonlyArray<string>
}

/** The same, and what is shown there. */
export interface DashboardDatabasesOptions extends DashboardOptions {
  /** Their names must be unique. As an effect it is asked every second: one that is new comes after the others, and none goes away. */
  readonly databases: ReadonlyArray<DatabaseSource.Watched> | Effect.Effect<ReadonlyArray<DatabaseSource.Watched>>
  /** Asked every second, and by requests in between: from memory. Default none, where no engine runs; null while it does not. */
  readonly engine?: Effect.Effect<EngineStatus | null>
  /** Asked in the same way. Default none, where no other machine can run the engine. */
  readonly leadership?: Effect.Effect<LeadershipStatus>
}

/** A page that is served; it changes nothing of what it shows. */
export class Dashboard extends Context.Service<
  Dashboard,
  {
    /** Where it is; none when it could not be served. */
    readonly url: Option.Option<string>
  }
>()("seawall/dashboard/Dashboard") {}

/** Shows the database in context, for the life of the layer. Put it above the guard. A port that is taken is no failure: see `url`. */
export const layer = (
  options: DashboardOptions = {},
): Layer.Layer<
  Dashboard,
  OptionError.OptionError,
  LiveLog.LiveLog | WalGuard.WalGuard | Database.Database | DatabaseControl
> =>
  Layer.effect(
    Dashboard,
    Effect.flatMap(databaseSource, (database) => ofSeawall(make({ ...options, databases: [database] }))),
  )

/** The same with options from the configuration: `layerConfig({ port: Config.Port("DASHBOARD_PORT") })`. */
export const layerConfig = (
  options: Config.Wrap<DashboardOptions>,
): Layer.Layer<
  Dashboard,
  OptionError.OptionError | Config.ConfigError,
  LiveLog.LiveLog | WalGuard.WalGuard | Database.Database | DatabaseControl
> => Layer.unwrap(Effect.map(Config.unwrap(options), layer))

/** Shows the database and the engine in context, with the figures of its program: put it above `Session.layer`. */
export const layerEngine = (
  options: DashboardOptions = {},
): Layer.Layer<
  Dashboard,
  OptionError.OptionError,
  LiveLog.LiveLog | WalGuard.WalGuard | Database.Database | DatabaseControl | Engine.Engine
> =>
  Layer.effect(
    Dashboard,
    Effect.gen(function* () {
      const engine = yield* EngineSource.inReach
      return yield* ofSeawall(make({ ...options, databases: [yield* databaseSource], engine }))
    }),
  )

/** Shows several databases, or none, and an engine. Put it above everything it watches. */
export const layerDatabases = (
  options: DashboardDatabasesOptions,
): Layer.Layer<Dashboard, OptionError.OptionError, LiveLog.LiveLog> => Layer.effect(Dashboard, ofSeawall(make(options)))

/** The database in context, by the name that its `Database` has: one of several for `layerDatabases`. */
export const databaseSource: Effect.Effect<
  DatabaseSource.Watched,
  never,
  WalGuard.WalGuard | Database.Database | DatabaseControl
> = DatabaseSource.inReach

const info = Metric.gauge("seawall_info", { description: "Always 1; its labels say what runs" })
const startTime = Metric.gauge("seawall_start_time_seconds", {
  description: "When the dashboard was started, in seconds since 1970",
})

/** The page could not be read, or Node refused the address. */
class NotServed extends Data.TaggedError("NotServed")<{ readonly cause: unknown }> {}

const serve = Effect.fnUntraced(
  function* (gathering: Gathering.Gathering, where: Required<DashboardOptions>) {
    const page = yield* Effect.provide(Page.make, NodeFileSystem.layer)
    return yield* Server.make({ ...gathering, ...where, page })
  },
  // Node throws for an invalid port.
  (self) => Effect.catchDefect(self, (cause) => new NotServed({ cause })),
)

const make = Effect.fnUntraced(function* (options: DashboardDatabasesOptions) {
  const host = yield* OptionError.name("host", options.host ?? defaultHost)
  const names = yield* Effect.forEach(options.names ?? [], (name) => OptionError.name("names", name))
  const port = yield* OptionError.port("port", options.port ?? defaultPort)
  const gathering = yield* Gathering.make(options)
  yield* Metric.update(Metric.withAttributes(info, { version: Gathering.version }), 1)
  yield* Metric.update(startTime, (yield* Clock.currentTimeMillis) / 1000)
  const serving = yield* Effect.acquireRelease(Effect.result(serve(gathering, { host, names, port })), (it) =>
    it._tag === "Failure"
      ? Effect.void
      : Shutdown.step(
          "close dashboard",
          Effect.andThen(gathering.lastWord.pipe(Shutdown.contained("close dashboard")), it.success.close),
        ),
  )
  if (serving._tag === "Failure") {
    yield* Effect.annotateLogs(Effect.logWarning("dashboard unavailable"), {
      port,
      error: problemOf(serving.failure),
      advice:
        "it goes on without; choose another port or host (--dashboard-port, --dashboard-host on the command line)",
    })
    return { url: Option.none() }
  }
  const { url } = serving.success
  yield* gathering.tick.pipe(
    Effect.repeat(Schedule.fixed(Gathering.interval)),
    Effect.catchCause((cause) => Effect.logError("dashboard stopped", cause)),
    Effect.forkScoped,
  )
  yield* Effect.annotateLogs(Effect.logInfo("dashboard"), { url })
  return { url: Option.some(url) }
})

const problemOf = (error: Error) => {
  const cause = error.cause instanceof Error ? error.cause : error
  return "code" in cause && cause.code === "EADDRINUSE" ? "the port is taken by another program" : cause.message
}
