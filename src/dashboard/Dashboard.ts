/**
 * What an operator watches: one page, metrics and health of the databases and the engine that run in this process.
 *
 * It gathers once a second what is known already, and sends the same answer to every page. It holds up nothing that it
 * watches: no statement, no wait for a browser, and when it cannot serve (a taken port) one WARNING. It releases in this
 * order: stop asking -> a last word to the pages -> end their streams, free the port. All of that happens before what it
 * watches closes, and has no effect on how the program ends.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Clock, Config, Context, Duration, Effect, Layer, Metric, Option, Random, Ref, Schedule } from "effect"
import { Sse } from "effect/encoding"
import packageJson from "../../package.json" with { type: "json" }
import type * as Engine from "../engine/Engine.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import type * as Database from "../sqlite/Database.ts"
import type { DatabaseControl } from "../sqlite/DatabaseControl.ts"
import { ofSeawall } from "../sqlite/DatabaseName.ts"
import { mostFinished, slowMillis } from "../wal/GuardStatus.ts"
import type * as WalGuard from "../wal/WalGuard.ts"
import * as OptionError from "../options/OptionError.ts"
import * as Health from "./Health.ts"
import * as History from "./History.ts"
import * as Listeners from "./Listeners.ts"
import * as Incidents from "./Incidents.ts"
import * as LiveLog from "./LiveLog.ts"
import * as Page from "./Page.ts"
import * as Server from "./Server.ts"
import type { EngineStatus, LeadershipStatus, Snapshot } from "./Snapshot.ts"
import * as DatabaseSource from "./DatabaseSource.ts"
import * as WriteFigures from "./WriteFigures.ts"
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

const tickInterval = Duration.seconds(1)

/** What a browser waits before it comes back. */
const retry = Buffer.from(Sse.encoder.write(new Sse.Retry({ duration: tickInterval, lastEventId: undefined })))

const info = Metric.gauge("seawall_info", { description: "Always 1; its labels say what runs" })
const startTime = Metric.gauge("seawall_start_time_seconds", {
  description: "When the dashboard was started, in seconds since 1970",
})

const leads = Metric.gauge("seawall_engine_leads", { description: "1 while this process leads, 0 while it stands by" })
const standbys = Metric.gauge("seawall_engine_standbys", { description: "Processes that stand by for the engine" })
const heardSeconds = Metric.gauge("seawall_engine_leader_heard_seconds", {
  description: "How long ago the server last heard of the leader, in seconds; 0 without a leader",
})

/** As many as an eye takes in. */
const shownIncidents = 20

const measureLeadership = (now: LeadershipStatus) =>
  Effect.all(
    [
      Metric.update(leads, now.leads_here ? 1 : 0),
      Metric.update(standbys, now.standbys.length),
      Metric.update(heardSeconds, now.leader?.heard_seconds ?? 0),
    ],
    { discard: true },
  )

const make = Effect.fnUntraced(function* (options: DashboardDatabasesOptions) {
  const host = yield* OptionError.name("host", options.host ?? defaultHost)
  const names = yield* Effect.forEach(options.names ?? [], (name) => OptionError.name("names", name))
  const port = yield* OptionError.port("port", options.port ?? defaultPort)
  const { version } = packageJson
  const nothing: Effect.Effect<null> = Effect.succeed(null)
  const { engine = nothing, leadership = nothing } = options
  const liveLog = yield* LiveLog.LiveLog
  const given = Effect.isEffect(options.databases) ? options.databases : Effect.succeed(options.databases)
  const databases = (yield* given).map(DatabaseSource.make)
  const addNew = Effect.map(given, (all) => {
    for (const it of all.slice(databases.length)) databases.push(DatabaseSource.make(it))
  })
  const history = History.make(databases.length)
  const writes = WriteFigures.make()
  const incidents = Incidents.make(slowMillis)
  const listeners = Listeners.make()
  const start = yield* Clock.monotonicTimeNanos
  const runId = (yield* Random.nextInt).toString(36).replace("-", "n")
  /** The last of each that was sent to every page. */
  const sentLine = yield* Ref.make(liveLog.last())
  const sentCheckpoints = yield* Ref.make<ReadonlyArray<number>>(databases.map(() => 0))

  const limits = {
    slow_checkpoint_ms: slowMillis,
    samples: history.length,
    checkpoints: mostFinished,
    log_lines: LiveLog.mostLines,
    tick_ms: Duration.toMillis(tickInterval),
  }

  const snapshot = Effect.gen(function* () {
    const known = yield* Effect.forEach(databases, ({ now }) => now)
    const statuses = known.map((it) => ({ ...it, writes: writes.of(it.name) }))
    const at_ms = yield* Clock.currentTimeMillis
    incidents.take(at_ms, statuses)
    const leading = yield* leadership
    const reasons = Health.reasons(statuses, leading)
    return {
      seawall_version: version,
      run_id: runId,
      pid: process.pid,
      at_ms,
      elapsed_seconds: Number((yield* Clock.monotonicTimeNanos) - start) / 1e9,
      health: { ok: reasons.length === 0, reasons },
      limits,
      databases: statuses,
      incidents: incidents.all().slice(0, shownIncidents),
      engine: yield* engine,
      leadership: leading,
    } satisfies Snapshot
  })

  const tickEvent = (now: Snapshot, checkpoints: ReadonlyArray<unknown>, after: number) =>
    Listeners.event("tick", { snapshot: now, checkpoints, lines: liveLog.after(after) }, `${runId}:${liveLog.last()}`)

  /** Sends what is new since the last time to every page. */
  const send = Effect.fnUntraced(function* (now: Snapshot) {
    const before = yield* Ref.get(sentCheckpoints)
    const last = now.databases.map((database, index) => database.last_checkpoint?.number ?? before[index] ?? 0)
    yield* Ref.set(sentCheckpoints, last)
    const after = yield* Ref.getAndSet(sentLine, liveLog.last())
    if (listeners.size() === 0) return
    const points = yield* Effect.forEach(databases, ({ checkpointsAfter }, index) =>
      Effect.map(checkpointsAfter(before[index] ?? 0), (all) =>
        all.filter(({ number }) => number <= (last[index] ?? 0)),
      ),
    )
    listeners.send(tickEvent(now, points, after))
  })

  const tick = Effect.gen(function* () {
    yield* addNew
    yield* writes.look((yield* Clock.currentTimeMillis) / 1000)
    const now = yield* snapshot
    history.add(Math.floor(now.at_ms / 1000), now.databases)
    yield* Effect.forEach(now.databases, (status, index) => databases[index]!.measure(status), { discard: true })
    if (now.leadership !== null) yield* measureLeadership(now.leadership)
    yield* send(now)
  })

  const greeting = Effect.fnUntraced(function* (lastEventId: string) {
    const [run, number] = lastEventId.split(":")
    const seen = run === runId && Number.isSafeInteger(Number(number)) ? Number(number) : 0
    return Buffer.concat([retry, tickEvent(yield* snapshot, [], seen)])
  })

  const historyOf = Effect.fnUntraced(function* (name: string) {
    const index = databases.findIndex((database) => database.name === name)
    const database = databases[index]
    if (database === undefined) return Option.none()
    return Option.some({ samples: history.of(index), checkpoints: yield* database.checkpointsAfter(0) })
  })

  const lastWord = Effect.flatMap(snapshot, send)
  const serve = Effect.gen(function* () {
    const page = yield* Effect.provide(Page.make, NodeFileSystem.layer)
    return yield* Server.make({
      host,
      port,
      names,
      page,
      listeners,
      snapshot,
      greeting,
      history: historyOf,
      incidents: incidents.all,
    })
  }).pipe(
    // Node throws for an invalid port.
    Effect.catchDefect((defect) => Effect.fail(defect instanceof Error ? defect : new Error(String(defect)))),
  )

  yield* Metric.update(Metric.withAttributes(info, { version }), 1)
  yield* Metric.update(startTime, (yield* Clock.currentTimeMillis) / 1000)
  const serving = yield* Effect.acquireRelease(Effect.result(serve), (it) =>
    it._tag === "Failure"
      ? Effect.void
      : Shutdown.step(
          "close dashboard",
          Effect.andThen(lastWord.pipe(Shutdown.contained("close dashboard")), it.success.close),
        ),
  )
  if (serving._tag === "Failure") {
    yield* Effect.annotateLogs(Effect.logWarning("dashboard off"), {
      port,
      error: problemOf(serving.failure),
      advice:
        "it goes on without; choose another port or host (--dashboard-port, --dashboard-host on the command line)",
    })
    return { url: Option.none() }
  }
  const { url } = serving.success
  yield* tick.pipe(
    Effect.repeat(Schedule.fixed(tickInterval)),
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
