/** The dashboard over real HTTP, on a port of its own, watching databases that do what the test says. */
import { describe, expect, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Exit, Fiber, Layer, Metric, Option, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as http from "node:http"
import * as net from "node:net"
import * as Dashboard from "../../src/dashboard/Dashboard.ts"
import * as LiveLog from "../../src/dashboard/LiveLog.ts"
import { hostnameOf } from "../../src/dashboard/Server.ts"
import { Snapshot } from "../../src/dashboard/Snapshot.ts"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import * as Database from "../../src/sqlite/Database.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import { ownFields } from "../support/labels.ts"
import * as ScriptedCheckpointer from "../../src/testing/ScriptedCheckpointer.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import { blockedBy, finished, scripted } from "../support/Watched.ts"

const hostile = `"><img src=x onerror="alert(1)"></script><script>alert(2)</script>`

/** A dashboard in a scope of its own, so that the test can close it and look at what is left. */
const dashboard = Effect.fnUntraced(function* (options: Partial<Dashboard.DashboardDatabasesOptions>) {
  const scope = yield* Scope.make()
  const context = yield* Dashboard.layerDatabases({ port: 0, databases: [], ...options }).pipe(
    Layer.provideMerge(LiveLog.layer),
    Layer.provideMerge(Shutdown.layer()),
    Layer.provideMerge(LogCapture.layer),
    Layer.provide(Layer.succeed(Metric.MetricRegistry, new Map())),
    Layer.buildWithScope(scope),
  )
  yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
  const inside = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideContext(self, context)
  const url = Option.getOrElse(yield* inside(Dashboard.Dashboard.use((it) => Effect.succeed(it.url))), () => "")
  return { url, inside, close: Scope.close(scope, Exit.void) }
})

interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

const ask = (url: string, path: string, options: http.RequestOptions = {}) =>
  Effect.callback<Answer>((resume) => {
    const request = http.request(`${url}${path}`, { agent: false, ...options }, (response) => {
      let body = ""
      response.setEncoding("utf8").on("data", (text: string) => (body += text))
      response.on("end", () =>
        resume(Effect.succeed({ status: response.statusCode ?? 0, headers: response.headers, body })),
      )
    })
    request.on("error", (error) => resume(Effect.die(error)))
    request.end()
  })

/** All that is answered to these bytes until the connection is closed, by whomever. */
const exchange = (port: number, bytes: string) =>
  Effect.callback<string>((resume) => {
    let answer = ""
    const socket = net.connect(port, "127.0.0.1", () => socket.write(bytes))
    socket.setEncoding("latin1").on("data", (text: string) => (answer += text))
    socket.on("error", () => undefined)
    socket.on("close", () => resume(Effect.succeed(answer)))
    return Effect.sync(() => socket.destroy())
  })

/** A page that listens: what it has heard, and that its stream has ended. */
const listen = (url: string, lastEventId = "") => {
  let heard = ""
  let ended = false
  const waiting = new Set<() => void>()
  const notify = () => waiting.forEach((check) => check())
  const request = http.get(
    `${url}/api/events`,
    { agent: false, headers: { "last-event-id": lastEventId } },
    (answer) => {
      answer.setEncoding("utf8").on("data", (text: string) => {
        heard += text
        notify()
      })
      answer.on("close", () => {
        ended = true
        notify()
      })
    },
  )
  request.on("error", () => {})
  const until = (isSo: () => boolean) =>
    Effect.callback<void>((resume) => {
      const check = () => {
        if (!isSo()) return
        waiting.delete(check)
        resume(Effect.void)
      }
      waiting.add(check)
      check()
    })
  return {
    heard: () => heard,
    hears: (text: string) => until(() => heard.includes(text)),
    ended: until(() => ended),
    close: () => request.destroy(),
  }
}

const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Snapshot))

describe("what is served", () => {
  it.live("is a page under a strict policy that names no other host, and whatever it loads is here", () =>
    Effect.gen(function* () {
      const { url } = yield* dashboard({})
      const { body, headers, status } = yield* ask(url, "/")
      expect([status, headers["content-type"]]).toEqual([200, "text/html; charset=utf-8"])
      const policy = String(headers["content-security-policy"])
      expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
      expect(policy).toContain("require-trusted-types-for 'script'")
      expect(policy).not.toMatch(/unsafe|\*|http/)
      expect(body).not.toMatch(/\son[a-z]+=|\sstyle=|<style|<script>/)
      const loaded = new Map<string, string>()
      const waiting = [...body.matchAll(/(?:src|href)="([^#d][^"]*)"/g)].map(([, path = ""]) => path)
      for (const path of waiting) {
        if (loaded.has(path)) continue
        const file = yield* ask(url, path)
        loaded.set(path, `${file.status} ${file.headers["content-type"]}`)
        expect(file.headers, `${path} has every header of the page`).toMatchObject({
          "cache-control": "no-store",
          "content-security-policy": policy,
          "cross-origin-resource-policy": "same-origin",
          "x-content-type-options": "nosniff",
          "x-frame-options": "DENY",
        })
        const imports = [...file.body.matchAll(/^import .* from "([^"]+)"$/gm)]
        waiting.push(...imports.map(([, name = ""]) => new URL(name, `${url}${path}`).href.slice(url.length)))
      }
      const scripts = ["charts", "databases", "dom", "log", "main", "plot", "uPlot", "view"].map((name) => [
        `/page/${name}.js`,
        "200 text/javascript; charset=utf-8",
      ])
      const styles = ["page", "uPlot", "view"].map((name) => [`/page/${name}.css`, "200 text/css; charset=utf-8"])
      expect(new Map([...loaded].toSorted())).toEqual(
        new Map([...scripts, ...styles].toSorted() as Array<[string, string]>),
      )
    }),
  )

  it.live("is what the guard knows, as the schema says", () =>
    Effect.gen(function* () {
      const { know, watched, ...app } = scripted("app.db")
      know({ frames: Option.some({ log: 52, checkpointed: 12 }), finished: [finished(1, 0.5), finished(2, 300)] })
      app.expose(1.5)
      const { url } = yield* dashboard({ databases: [watched] })
      const { body, status } = yield* ask(url, "/api/status")
      expect(status).toBe(200)
      const snapshot = yield* decode(body)
      expect(snapshot.databases).toEqual([
        {
          name: "app.db",
          state: "guarded",
          interval_seconds: 60,
          log_frames: 52,
          backlog_frames: 40,
          exposure_seconds: 1.5,
          last_checkpoint: {
            number: 2,
            at_ms: 2000,
            mode: "PASSIVE",
            why: "interval",
            outcome: "Complete",
            elapsed_ms: 300,
          },
          latency: { runs: "all", n: 2, p50_ms: 150.25, p95_ms: 285.025, max_ms: 300, slow: 1 },
          failures: 0,
          blocked: null,
          bound_frames: 4000,
          page_bytes: null,
          durability: null,
          sqlite_version: null,
          files: null,
          writes: null,
        },
      ])
      expect(snapshot.engine).toBe(null)
      expect(snapshot.limits).toEqual({
        slow_checkpoint_ms: 200,
        samples: 7200,
        checkpoints: 512,
        log_lines: 500,
        tick_ms: 1000,
      })
    }),
  )

  it.live("is one series a database in the metrics", () =>
    Effect.gen(function* () {
      const [a, b] = [scripted("a.db"), scripted(`b"\n.db`)]
      b.expose(2)
      b.know({ failures: 3 })
      const { url } = yield* dashboard({ databases: [a.watched, b.watched] })
      const page = listen(url)
      yield* page.hears("event: tick")
      const { body, headers } = yield* ask(url, "/metrics")
      expect(headers["content-type"]).toContain("text/plain; version=0.0.4")
      const lines = body.split("\n")
      expect(lines).toContain(`seawall_exposure_seconds{database="a.db"} 0`)
      expect(lines).toContain(String.raw`seawall_exposure_seconds{database="b\"\n.db"} 2`)
      expect(lines).toContain(String.raw`seawall_wal_checkpoint_failures{database="b\"\n.db"} 3`)
      expect(lines.filter((line) => line === "# TYPE seawall_exposure_seconds gauge")).toHaveLength(1)
      page.close()
    }),
  )

  it.live("claims no exposure where it cannot be known: null, no series and no reason to look", () =>
    Effect.gen(function* () {
      const { know, watched } = scripted("app.db")
      know({ exposureSeconds: Option.none() })
      const { url } = yield* dashboard({ databases: [watched] })
      const page = listen(url)
      yield* page.hears("event: tick")
      const { databases } = yield* decode((yield* ask(url, "/api/status")).body)
      expect(databases[0]?.exposure_seconds).toBe(null)
      expect((yield* ask(url, "/metrics")).body).not.toContain("seawall_exposure_seconds ")
      expect((yield* ask(url, "/health")).status).toBe(200)
      page.close()
    }),
  )

  it.live("is 503 with the reasons while something is wrong, and 200 when it is over", () =>
    Effect.gen(function* () {
      const app = scripted("app.db")
      const { url } = yield* dashboard({ databases: [app.watched] })
      const health = Effect.map(ask(url, "/health"), ({ body, status }) => {
        const { reasons } = JSON.parse(body) as Snapshot["health"]
        return [status, ...reasons.map(({ reason }) => reason)]
      })
      expect(yield* health).toEqual([200])
      app.expose(121)
      app.know({ failures: 2, incident: Option.some(blockedBy(4711, "reporter")) })
      app.replace()
      expect(yield* health).toEqual([503, "blocked", "exposure", "failing", "replaced"])
      app.expose(0)
      app.know({ failures: 0, incident: Option.some({ ...blockedBy(4711, "reporter"), told: false }) })
      expect(yield* health).toEqual([503, "replaced"])
    }),
  )

  it.live("cannot change anything, and ends nowhere unexpected", () =>
    Effect.gen(function* () {
      const { url } = yield* dashboard({})
      for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
        const { headers, status } = yield* ask(url, "/api/status", { method })
        expect([status, headers.allow]).toEqual([405, "GET, HEAD"])
      }
      const files = ["/page", "/page/", "/page/x.js", "/page/page.html", "/page/tsconfig.json", "/page/../Page.ts"]
      const spellings = ["//", "/health/", "/HEALTH", "/api//status", "/page/%2e%2e/Page.ts", "/%", "/%E0%A4%A"]
      const queries = ["/api/history", `/api/history?database=${"%3C"}`, "/api/history?database=a&database=b"]
      for (const path of ["/x", "/constructor", "/../package.json", ...files, ...spellings, ...queries]) {
        const { body, headers, status } = yield* ask(url, "", { path })
        expect([path, status, headers["x-content-type-options"]]).toEqual([path, 404, "nosniff"])
        expect(body).not.toBe("")
      }
    }),
  )

  it.live("answers HEAD as GET without the content, and has no stream for it", () =>
    Effect.gen(function* () {
      const { url } = yield* dashboard({})
      for (const path of ["/", "/page/main.js", "/api/status", "/metrics", "/health"]) {
        const head = yield* ask(url, path, { method: "HEAD" })
        const get = yield* ask(url, path)
        expect([path, head.status, head.body]).toEqual([path, get.status, ""])
        expect(head.headers["content-type"]).toBe(get.headers["content-type"])
        expect(head.headers["content-security-policy"]).toBe(get.headers["content-security-policy"])
      }
      expect((yield* ask(url, "/api/events", { method: "HEAD" })).status).toBe(404)
    }),
  )

  it.live("has the fixed headers also where it fails and where it refuses", () =>
    Effect.gen(function* () {
      const { url } = yield* dashboard({ engine: Effect.die(new Error("no figures")) })
      const answers = [
        yield* ask(url, "/api/status"),
        yield* ask(url, "/health", { headers: { host: "evil.example" } }),
        yield* ask(url, "/health", { method: "POST" }),
        yield* ask(url, "/metrics"),
      ]
      expect(answers.map(({ status }) => status)).toEqual([500, 403, 405, 200])
      for (const { headers } of answers) {
        expect(headers).toMatchObject({
          "cache-control": "no-store",
          "x-content-type-options": "nosniff",
          "x-frame-options": "DENY",
          "cross-origin-opener-policy": "same-origin",
          "referrer-policy": "no-referrer",
        })
      }
    }),
  )
})

describe("a dashboard over the database in context", () => {
  const guarded = (port: number) =>
    Dashboard.layerConfig({ port: Config.Int("PORT") }).pipe(
      Layer.provideMerge(WalGuard.layer({ interval: "60 seconds" })),

      Layer.provideMerge(ScriptedCheckpointer.layer()),
      Layer.provideMerge(TemporaryDatabase.layer()),
      Layer.provideMerge(LiveLog.layer),
      Layer.provideMerge(LogCapture.layer),
      Layer.provide(Layer.succeed(Metric.MetricRegistry, new Map())),
      Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ PORT: port }))),
    )

  it.live("shows it by its path, and what is logged above it", () =>
    Effect.gen(function* () {
      const url = Option.getOrThrow((yield* Dashboard.Dashboard).url)
      const { body } = yield* ask(url, "/api/status")
      const { databases, engine } = yield* decode(body)
      expect(databases.map(({ name, state }) => [name, state])).toEqual([
        [(yield* Database.Database).filename, "guarded"],
      ])
      expect(engine).toBe(null)
      const page = listen(url)
      yield* page.hears("wal_checkpoint started")
      page.close()
    }).pipe(Effect.provide(guarded(0))),
  )
})

describe("who may ask", () => {
  it("knows a name in every spelling", () => {
    const names = ["localhost", "LOCALHOST:8501", "127.0.0.1:80", "[::1]:8501", "[::1]", "::1", "evil.example.:1", ""]
    expect(names.map(hostnameOf)).toEqual([
      "localhost",
      "localhost",
      "127.0.0.1",
      "::1",
      "::1",
      "::1",
      "evil.example",
      "",
    ])
  })

  it.live.each(["/", "/api/status", "/api/events", "/metrics", "/health", "/x"])(
    "a foreign page that points its name here gets nothing of %s",
    (path) =>
      Effect.gen(function* () {
        const { url } = yield* dashboard({ databases: [scripted("app.db").watched] })
        for (const host of ["evil.example", "evil.example:8501", "127.0.0.1.evil.example", "localhost@evil.example"]) {
          const { body, status } = yield* ask(url, path, { headers: { host } })
          expect([status, body]).toEqual([
            403,
            "unknown Host; allow it as one of the names of the dashboard (--dashboard-name on the command line)\n",
          ])
        }
      }),
  )

  it.live("is who names the loopback, the host that was given, or a name that was", () =>
    Effect.gen(function* () {
      const { url } = yield* dashboard({ names: ["Engine.Example"] })
      const { port } = new URL(url)
      for (const host of [`127.0.0.1:${port}`, "localhost:9000", "[::1]", "engine.example", "ENGINE.example.:1"]) {
        expect((yield* ask(url, "/health", { headers: { host } })).status).toBe(200)
      }
    }),
  )
})

describe("a page of another site", () => {
  it.live("may be a literal address, or no host at all, where it listens to all on purpose", () =>
    Effect.gen(function* () {
      const open = yield* dashboard({ host: "0.0.0.0", names: ["app.example"] })
      const port = new URL(open.url).port
      const statusOf = (host: string) =>
        Effect.map(exchange(Number(port), `GET /health HTTP/1.0\r\n${host}\r\n`), (answer) => answer.slice(9, 12))
      for (const host of ["", "Host: 10.1.2.3:8501\r\n", "Host: [fe80::1]\r\n", "Host: app.example\r\n"]) {
        expect([host, yield* statusOf(host)]).toEqual([host, "200"])
      }
      for (const host of ["Host: evil.example\r\n", "Host: 10.1.2.3.evil.example\r\n", "Host: 0x7f.1\r\n"]) {
        expect([host, yield* statusOf(host)]).toEqual([host, "403"])
      }
      const own = yield* dashboard({})
      const answer = yield* exchange(Number(new URL(own.url).port), "GET /health HTTP/1.0\r\nHost: 10.1.2.3\r\n\r\n")
      expect(answer.slice(9, 12)).toBe("403")
    }).pipe(Effect.scoped),
  )

  it.live("gets one answer a connection, however many it asks for", () =>
    Effect.gen(function* () {
      let looked = 0
      const engine = Effect.sync(() => {
        looked += 1
        return null
      })
      const { url } = yield* dashboard({ engine })
      const before = looked
      const request = `GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n`
      const answers = yield* exchange(Number(new URL(url).port), request.repeat(5000))
      expect(answers.match(/HTTP\/1\.1 200/g)).toHaveLength(1)
      expect(looked - before).toBeLessThan(10)
    }).pipe(Effect.scoped),
  )

  it.live("is cut off when it never ends its request", () =>
    Effect.gen(function* () {
      const { url } = yield* dashboard({})
      const answer = yield* exchange(Number(new URL(url).port), "GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
      expect(answer).toMatch(/^HTTP\/1\.1 408/)
    }).pipe(Effect.scoped),
  )

  it.live("may link here, and load nothing", () =>
    Effect.gen(function* () {
      const { url } = yield* dashboard({})
      const status = (site: string, mode: string) =>
        Effect.map(ask(url, "/", { headers: { "sec-fetch-site": site, "sec-fetch-mode": mode } }), (it) => it.status)
      expect(yield* status("cross-site", "navigate")).toBe(200)
      expect(yield* status("cross-site", "no-cors")).toBe(403)
      expect(yield* status("same-site", "cors")).toBe(403)
      expect(yield* status("same-origin", "cors")).toBe(200)
    }),
  )

  it.live("is offered no other protocol", () =>
    Effect.gen(function* () {
      const { url } = yield* dashboard({})
      const headers = { connection: "upgrade", upgrade: "websocket", "sec-websocket-version": "13" }
      expect((yield* ask(url, "/api/events", { headers })).status).toBe(400)
    }),
  )
})

describe("the stream", () => {
  it.effect("says where things stand at once, what happened meanwhile, and then what happens", () =>
    Effect.gen(function* () {
      const app = scripted("app.db")
      const { inside, url } = yield* dashboard({ databases: [app.watched] })
      yield* inside(Effect.logWarning("before"))
      const page = listen(url)
      yield* page.hears(`"event":"before"`)
      expect(page.heard().startsWith("retry: 1000\n\nid: ")).toBe(true)
      app.know({ finished: [finished(1, 250)] })
      yield* inside(Effect.logWarning("after"))
      yield* TestClock.adjust("1 second")
      yield* page.hears(`"checkpoints":[[{"number":1`)
      yield* page.hears(`"event":"after"`)
      expect(page.heard().split("event: tick")).toHaveLength(3) // at once, and one a second
      page.close()

      const [, id = ""] = /^id: (\S+)$/m.exec(page.heard()) ?? []
      const again = listen(url, id)
      yield* again.hears("event: tick")
      expect(again.heard()).not.toContain(`"event":"before"`)
      again.close()
      const stranger = listen(url, "another:1000")
      yield* stranger.hears(`"event":"before"`)
      stranger.close()
      const entries = yield* inside(LogCapture.LogCapture.use((log) => Effect.succeed(log.entries)))
      expect(entries.filter(({ level }) => level === "Error" || level === "Fatal")).toEqual([])
    }),
  )

  it.live("carries what is hostile as text in one line of JSON", () =>
    Effect.gen(function* () {
      const app = scripted(hostile)
      app.know({ incident: Option.some(blockedBy(1, `${hostile}\n\ndata: x`)) })
      const { inside, url } = yield* dashboard({ databases: [app.watched] })
      yield* inside(Effect.annotateLogs(Effect.logWarning(`${hostile}\r\n\r\nevent: x`), { [hostile]: hostile }))
      const page = listen(url)
      yield* page.hears("\n\n")
      yield* page.hears("event: tick")
      const fields = page
        .heard()
        .split(/\r\n|\r|\n/)
        .filter((line) => line !== "")
      expect(fields.map((line) => line.split(":")[0])).toEqual(["retry", "id", "event", "data"])
      expect((yield* ask(url, "/")).body).not.toContain("alert(1)")
      page.close()
    }),
  )

  it.effect("ends within 250 ms when the dashboard closes, also for who does not listen, and the port is free", () =>
    Effect.gen(function* () {
      const { close, inside, url } = yield* dashboard({ databases: [scripted("app.db").watched] })
      const port = Number(new URL(url).port)
      const pages = Array.from({ length: 20 }, () => listen(url))
      for (const page of pages) yield* page.hears("event: tick")
      const dead = net.connect(port, "127.0.0.1")
      dead.pause().write("GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
      const idle = net.connect(port, "127.0.0.1")
      for (const socket of [dead, idle]) socket.on("error", () => {}) // it is cut off
      yield* Effect.callback<void>((resume) => void idle.once("connect", () => resume(Effect.void)))
      const closing = yield* Effect.forkChild(close, { startImmediately: true })
      for (const page of pages) yield* page.ended
      yield* TestClock.adjust("250 millis") // the other two take no end, and are cut off
      yield* Fiber.join(closing)
      expect(yield* inside(LogCapture.steps)).toEqual(["close dashboard"])
      dead.destroy()
      idle.destroy()
      const taken = net.createServer()
      yield* Effect.callback<void>((resume) => void taken.listen(port, "127.0.0.1", () => resume(Effect.void)))
      taken.close()
    }),
  )

  it.live("ends, and gives its port back, also when what it shows has broken", () =>
    Effect.gen(function* () {
      const { close, inside, url } = yield* dashboard({ engine: Effect.die(new Error("a figure that is none")) })
      yield* close
      const again = yield* dashboard({ port: Number(new URL(url).port) })
      expect(again.url).toBe(url)
      expect(yield* inside(LogCapture.steps)).toEqual(["close dashboard"])
      const [line] = (yield* inside(LogCapture.logged("close dashboard failed"))).slice(-1)
      expect(line?.level).toBe("Error")
    }),
  )

  it.live("does not start where it would be foreverybody, or nowhere, and says which option is wrong", () =>
    Effect.gen(function* () {
      for (const [options, message] of [
        [{ host: "" }, 'expected host to be a name or an address, not empty, got ""'],
        [{ names: ["app", " "] }, 'expected names to be a name or an address, not empty, got " "'],
        [{ port: 70_000 }, "expected port to be a port from 0 to 65535, got 70000"],
      ] as const) {
        const refused = Layer.build(Dashboard.layerDatabases({ databases: [], ...options }))
        const error = yield* Effect.flip(Effect.scoped(Effect.provide(refused, LiveLog.layer)))
        expect([error._tag, error.message]).toEqual(["OptionError", message])
      }
    }),
  )

  it.live("does not start where the port is taken, says so once, and nothing else happens", () =>
    Effect.gen(function* () {
      const first = yield* dashboard({})
      const port = Number(new URL(first.url).port)
      const second = yield* dashboard({ port })
      expect(second.url).toBe("")
      const [line, ...more] = yield* second.inside(LogCapture.logged("dashboard unavailable"))
      expect(more).toEqual([])
      expect([line?.level, ownFields(line!)]).toEqual([
        "Warn",
        {
          port,
          error: "the port is taken by another program",
          advice:
            "it goes on without; choose another port or host (--dashboard-port, --dashboard-host on the command line)",
        },
      ])
      yield* second.close
      expect(yield* second.inside(Shutdown.Shutdown.use(({ failures }) => failures))).toEqual([])
    }),
  )
})
