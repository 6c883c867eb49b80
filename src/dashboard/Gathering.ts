/**
 * All that the pages of a dashboard are told: gathered once a second, encoded once, and sent to every page. It keeps the history, the
 * incidents and what was sent last; it asks its sources from memory, and holds nothing up.
 */
import { Clock, Duration, Effect, Metric, Option, Random, Ref } from "effect"
import { Sse } from "effect/encoding"
import packageJson from "../../package.json" with { type: "json" }
import { mostFinished, slowMillis } from "../wal/GuardStatus.ts"
import * as DatabaseSource from "./DatabaseSource.ts"
import * as Health from "./Health.ts"
import * as History from "./History.ts"
import * as Incidents from "./Incidents.ts"
import * as Listeners from "./Listeners.ts"
import * as LiveLog from "./LiveLog.ts"
import type { EngineStatus, LeadershipStatus, Snapshot } from "./Snapshot.ts"
import * as WriteFigures from "./WriteFigures.ts"

export const { version } = packageJson

/** From one look at the sources to the next. */
export const interval = Duration.seconds(1)

/** The time that a browser waits before it comes back. */
const retry = Buffer.from(Sse.encoder.write(new Sse.Retry({ duration: interval, lastEventId: undefined })))

/** As many as an eye takes in. */
const shownIncidents = 20

const leads = Metric.gauge("seawall_engine_leads", { description: "1 while this process leads, 0 while it stands by" })
const standbys = Metric.gauge("seawall_engine_standbys", { description: "Processes that stand by for the engine" })
const heardSeconds = Metric.gauge("seawall_engine_leader_heard_seconds", {
  description: "How long ago the server last heard of the leader, in seconds; 0 without a leader",
})

const measureLeadership = (now: LeadershipStatus) =>
  Effect.all(
    [
      Metric.update(leads, now.leads_here ? 1 : 0),
      Metric.update(standbys, now.standbys.length),
      Metric.update(heardSeconds, now.leader?.heard_seconds ?? 0),
    ],
    { discard: true },
  )

/** Where it all comes from: see `Dashboard.DashboardDatabasesOptions`. */
interface Sources {
  readonly databases: ReadonlyArray<DatabaseSource.Watched> | Effect.Effect<ReadonlyArray<DatabaseSource.Watched>>
  readonly engine?: Effect.Effect<EngineStatus | null>
  readonly leadership?: Effect.Effect<LeadershipStatus | null>
}

const none: Effect.Effect<null> = Effect.succeed(null)

/** The databases, and the figures of each; new ones come behind the others. */
const makeDatabases = Effect.fnUntraced(function* (databases: Sources["databases"]) {
  const given = Effect.isEffect(databases) ? databases : Effect.succeed(databases)
  const all = (yield* given).map(DatabaseSource.make)
  const addNew = Effect.map(given, (now) => {
    for (const it of now.slice(all.length)) all.push(DatabaseSource.make(it))
  })
  return { all, addNew }
})

/** One answer for all pages; `take` notes what it says of incidents. */
const makeSnapshot = Effect.fnUntraced(function* (
  { engine = none, leadership = none }: Sources,
  kept: {
    readonly databases: ReadonlyArray<DatabaseSource.DatabaseSource>
    readonly history: ReturnType<typeof History.make>
    readonly incidents: ReturnType<typeof Incidents.make>
    readonly writes: ReturnType<typeof WriteFigures.make>
  },
) {
  const { databases, history, incidents, writes } = kept
  const start = yield* Clock.monotonicTimeNanos
  const run_id = (yield* Random.nextInt).toString(36).replace("-", "n")
  const limits = {
    slow_checkpoint_ms: slowMillis,
    samples: history.length,
    checkpoints: mostFinished,
    log_lines: LiveLog.mostLines,
    tick_ms: Duration.toMillis(interval),
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
      run_id,
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
  return { run_id, snapshot }
})

export const make = Effect.fnUntraced(function* (sources: Sources) {
  const liveLog = yield* LiveLog.LiveLog
  const { addNew, all: databases } = yield* makeDatabases(sources.databases)
  const history = History.make(databases.length)
  const writes = WriteFigures.make()
  const incidents = Incidents.make(slowMillis)
  const listeners = Listeners.make()
  const { run_id, snapshot } = yield* makeSnapshot(sources, { databases, history, incidents, writes })
  /** The last of each that was sent to every page. */
  const sentLine = yield* Ref.make(liveLog.last())
  const sentCheckpoints = yield* Ref.make<ReadonlyArray<number>>(databases.map(() => 0))

  const tickEvent = (now: Snapshot, checkpoints: ReadonlyArray<unknown>, after: number) =>
    Listeners.event("tick", { snapshot: now, checkpoints, lines: liveLog.after(after) }, `${run_id}:${liveLog.last()}`)

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
    const seen = run === run_id && Number.isSafeInteger(Number(number)) ? Number(number) : 0
    return Buffer.concat([retry, tickEvent(yield* snapshot, [], seen)])
  })

  const historyOf = Effect.fnUntraced(function* (name: string) {
    const index = databases.findIndex((database) => database.name === name)
    const database = databases[index]
    if (database === undefined) return Option.none()
    return Option.some({ samples: history.of(index), checkpoints: yield* database.checkpointsAfter(0) })
  })

  const lastWord = Effect.flatMap(snapshot, send)
  return { listeners, snapshot, greeting, history: historyOf, incidents: incidents.all, tick, lastWord }
})
export type Gathering = Effect.Success<ReturnType<typeof make>>
