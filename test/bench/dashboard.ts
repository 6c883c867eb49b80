/**
 * What the dashboard costs who writes: commits at a fixed rate (open loop), without it, with it, and with pages that
 * listen, in a process of their own. Prints its figures as one JSON line. Run by `bench.ts`.
 */
import { Effect, Exit, Layer, Logger, Option, Scope } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as http from "node:http"
import * as os from "node:os"
import * as path from "node:path"
import { performance } from "node:perf_hooks"
import { fileURLToPath } from "node:url"
import * as Dashboard from "../../src/dashboard/Dashboard.ts"
import * as LiveLog from "../../src/dashboard/LiveLog.ts"
import * as Database from "../../src/sqlite/Database.ts"
import { type Spread, spread, watchLoop } from "./figures.ts"
import * as GuardedDatabase from "../../src/wal/GuardedDatabase.ts"

export interface DashboardCase {
  /** Pages that listen; none = no dashboard at all. */
  readonly pages: number | undefined
  /** Commits a second. */
  readonly rate: number
  readonly seconds: number
}

export interface DashboardFigures {
  readonly commit: Spread
  readonly loop: Spread
  /** Ticks that the pages have heard. */
  readonly ticks: number
  readonly rssMb: number
}

const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Says "ready" when all of them listen, and at the end of its input how many ticks they have heard. */
const listenAll = async (url: string, pages: number) => {
  let ticks = 0
  const open = () =>
    new Promise<void>((resolve) => {
      http.get(`${url}/api/events`, { agent: false }, (answer) => {
        answer.setEncoding("utf8").on("data", (text: string) => {
          ticks += text.split("event: tick").length - 1
          resolve()
        })
      })
    })
  await Promise.all(Array.from({ length: pages }, open))
  process.stdout.write("ready\n")
  process.stdin.resume().on("end", () => {
    process.stdout.write(`${ticks}\n`, () => process.exit())
  })
}

const listenElsewhere = async (url: string, pages: number) => {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), url, String(pages)], {
    stdio: ["pipe", "pipe", "inherit"],
  })
  await once(child.stdout, "data")
  return async () => {
    const answer = once(child.stdout, "data")
    child.stdin.end()
    return Number(String((await answer)[0]))
  }
}

const measure = Effect.fnUntraced(function* ({ pages, rate, seconds }: DashboardCase) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-dashboard-"))
  const scope = yield* Scope.make()
  const context = yield* GuardedDatabase.layer({
    filename: path.join(folder, "test.db"),
    durability: "normal",
    interval: "1 second",
  }).pipe(Layer.provideMerge(LiveLog.layer), Layer.provideMerge(Logger.layer([])), Layer.buildWithScope(scope))
  const inside = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideContext(self, context)
  const { sql } = yield* inside(Database.Database)
  yield* sql.unsafe("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
  const end = yield* Effect.gen(function* () {
    if (pages === undefined) return undefined
    const built = yield* inside(Layer.buildWithScope(Dashboard.layer({ port: 0 }), scope))
    const { url } = yield* Effect.provideContext(Dashboard.Dashboard, built)
    return yield* Effect.promise(() => listenElsewhere(Option.getOrThrow(url), pages))
  })
  yield* Effect.sleep("1 second")

  const commits: Array<number> = []
  const loop = watchLoop()
  const start = performance.now()
  for (let n = 0; performance.now() - start < seconds * 1000; n++) {
    const due = start + (n * 1000) / rate
    while (performance.now() < due) yield* turn
    yield* sql.unsafe("INSERT INTO t VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET text = excluded.text", [
      n % 5000,
      `${n}`.padEnd(900),
    ])
    // An operator's log has lines, too.
    if (n % (rate / 10) === 0) yield* inside(Effect.annotateLogs(Effect.logInfo("paper fill"), { n, side: "buy" }))
    commits.push(performance.now() - due)
  }
  loop.stop()
  const rssMb = process.memoryUsage().rss / 1e6
  const ticks = end === undefined ? 0 : yield* Effect.promise(end)
  yield* Scope.close(scope, Exit.void)
  fs.rmSync(folder, { recursive: true })
  return { commit: spread(commits), loop: spread(loop.lags.map(({ millis }) => millis)), ticks, rssMb }
})

const [, , argument = "", pages] = process.argv
if (pages === undefined) {
  const figures: DashboardFigures = await Effect.runPromise(measure(JSON.parse(argument) as DashboardCase))
  process.stdout.write(`${JSON.stringify(figures)}\n`)
} else {
  await listenAll(argument, Number(pages))
}
