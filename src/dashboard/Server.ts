/**
 * The dashboard over HTTP: the page, what it shows as JSON, metrics and health. Nothing here changes anything.
 *
 * Loopback unless told otherwise. A request must name a host that is served here, because a foreign site can point its own
 * name at 127.0.0.1 (DNS rebinding). It releases in this order: streams end -> connections that do not take their end are
 * cut -> the port is free. https://developer.mozilla.org/en-US/docs/Web/Security/Attacks/DNS_rebinding
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import { Clock, Duration, Effect, Exit, Layer, Option, Scope } from "effect"
import { HttpEffect, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import type { EventEmitter } from "node:events"
import { createServer, type ServerResponse } from "node:http"
import { type AddressInfo, isIP } from "node:net"
import type { Listeners } from "./Listeners.ts"
import type { Snapshot } from "./Snapshot.ts"

interface ServerOptions {
  readonly host: string
  /** 0 = any that is free. */
  readonly port: number
  /** Further names by which browsers may ask for it. */
  readonly names: ReadonlyArray<string>
  /** The files of the page. */
  readonly page: ReadonlyArray<HttpRouter.Route>
  readonly listeners: Listeners
  readonly snapshot: Effect.Effect<Snapshot>
  /** What a database has been doing; none when there is none of this name. */
  readonly history: (database: string) => Effect.Effect<Option.Option<unknown>>
  /** What went wrong, the newest first. */
  readonly incidents: () => ReadonlyArray<unknown>
  /** What a page is told first, by the last event that it has seen. */
  readonly greeting: (lastEventId: string) => Effect.Effect<Uint8Array>
}

export interface Server {
  readonly url: string
  /** Ends the streams and frees the port; bounded, and never fails. */
  readonly close: Effect.Effect<void>
}

/** For browsers to take the end of their streams; those that do not are cut off. */
const goodbyeBound = "250 millis"

/** Pages, scrapers and health checks together. */
const mostConnections = 256

/** Milliseconds for the whole request, which has no body; Node's own minute lets 256 clients that never end theirs block all others. */
const headersTimeout = 5000
/** How often that is looked at, in milliseconds. */
const connectionsCheckingInterval = 1000

/** A connection on which nothing moves is dead: a stream is written to every second. */
const silenceMillis = 30_000

/** What the page may load: files of this server, and no other. https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/CSP */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join("; ")

/** The headers of every answer. */
const always = {
  "cache-control": "no-store",
  "content-security-policy": contentSecurityPolicy,
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
}

const loopback = ["127.0.0.1", "localhost", "::1"]

/** The name in a Host header, without its port: a tunnel may have another one. */
export const hostnameOf = (host: string): string =>
  (/^\[([^\]]*)\](?::\d*)?$/.exec(host)?.[1] ?? host.replace(/^([^:]*):\d*$/, "$1")).replace(/\.$/, "").toLowerCase()

/** A foreign page embeds or loads something from here; following a link from there is allowed. */
const isOfAnotherSite = (headers: Readonly<Record<string, string | undefined>>) =>
  ["cross-site", "same-site"].includes(headers["sec-fetch-site"] ?? "") && headers["sec-fetch-mode"] !== "navigate"

const unknownName = "unknown Host; allow it as one of the names of the dashboard (--dashboard-name on the command line)"

const text = (status: number, body: string) => HttpServerResponse.text(`${body}\n`, { status })

const notFound = text(404, "not found")

const events = Effect.fnUntraced(function* ({ greeting, listeners }: ServerOptions) {
  const request = yield* HttpServerRequest.HttpServerRequest
  const response = NodeHttpServerRequest.toServerResponse(request) as ServerResponse // the server speaks HTTP/1.1
  const first = yield* greeting(request.headers["last-event-id"] ?? "")
  if (!listeners.add(response)) return text(503, "too many pages are open; close some of them")
  response.writeHead(200, { ...always, "content-type": "text/event-stream", connection: "close" })
  response.write(first)
  // Open until the page leaves or the server ends the stream: then this fiber is interrupted, or the response has ended.
  return yield* Effect.callback<HttpServerResponse.HttpServerResponse>((resume) => {
    const end = Effect.sync(() => response.end()) // no second answer
    response.once("close", () => resume(Effect.as(end, HttpServerResponse.empty())))
    return end
  })
})

const noDatabase = text(404, "no database of this name is watched here; /api/status lists them")

/** An hour of a database is some hundred kilobytes: it is encoded once a second, however many pages ask. */
const historyOf = ({ history }: ServerOptions) => {
  const encoded = new Map<string, { readonly second: number; readonly body: Uint8Array }>()
  return Effect.gen(function* () {
    const { database = "" } = yield* HttpServerRequest.ParsedSearchParams
    const name = String(database)
    const second = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const last = encoded.get(name)
    if (last?.second === second) return json(last.body)
    const found = yield* history(name)
    if (Option.isNone(found)) return noDatabase
    const body = Buffer.from(JSON.stringify(found.value))
    encoded.set(name, { second, body })
    return json(body)
  })
}

const json = (body: Uint8Array) => HttpServerResponse.uint8Array(body, { contentType: "application/json" })

const routes = (options: ServerOptions) => [
  ...options.page,
  HttpRouter.route(
    "GET",
    "/api/status",
    Effect.map(options.snapshot, (now) => HttpServerResponse.jsonUnsafe(now)),
  ),
  HttpRouter.route("GET", "/api/history", historyOf(options)),
  HttpRouter.route(
    "GET",
    "/api/incidents",
    Effect.sync(() => HttpServerResponse.jsonUnsafe(options.incidents())),
  ),
  HttpRouter.route("GET", "/api/events", events(options)),
  HttpRouter.route("HEAD", "/api/events", notFound),
  HttpRouter.route(
    "GET",
    "/health",
    Effect.map(options.snapshot, ({ health }) =>
      HttpServerResponse.jsonUnsafe(health, { status: health.ok ? 200 : 503 }),
    ),
  ),
]

/** Paths are taken as they are written. */
const exactly = { caseSensitive: true, ignoreDuplicateSlashes: false, ignoreTrailingSlash: false }

const withHeaders = HttpEffect.withPreResponseHandler((_, response) =>
  Effect.succeed(HttpServerResponse.setHeaders(response, always)),
)

/**
 * Whether a request may name this host. The owner of a name can point it anywhere, a literal address cannot be: where the server
 * listens beyond the loopback on purpose it is served, and so is a request without any, such as the probe of a pod.
 */
const isServedBy = (options: ServerOptions) => {
  const names = new Set([...loopback, options.host, ...options.names].map(hostnameOf))
  const isOpen = !loopback.includes(options.host) && !options.host.startsWith("127.")
  return (host: string) => names.has(hostnameOf(host)) || (isOpen && (host === "" || isIP(hostnameOf(host)) !== 0))
}

/** Refuses what is not a plain read by a page of this server, before any route is looked for. */
const readsOnly =
  (isServed: (host: string) => boolean) =>
  <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
    HttpServerRequest.HttpServerRequest.use(({ headers, method }) => {
      if (!isServed(headers["host"] ?? "")) return Effect.succeed(text(403, unknownName))
      if (isOfAnotherSite(headers)) return Effect.succeed(text(403, "pages of other sites may not ask"))
      if (method !== "GET" && method !== "HEAD") {
        return Effect.succeed(HttpServerResponse.setHeader(text(405, "read-only"), "allow", "GET, HEAD"))
      }
      if (headers["upgrade"] !== undefined) return Effect.succeed(text(400, "protocol upgrades are not supported"))
      return app
    })

const handler = Effect.fnUntraced(function* (options: ServerOptions) {
  const router = Layer.merge(PrometheusMetrics.layerHttp(), HttpRouter.addAll(routes(options)))
  const app = yield* Effect.provideService(HttpRouter.toHttpEffect(router), HttpRouter.RouterConfig, exactly)
  return app.pipe(
    Effect.catchReason("HttpServerError", "RouteNotFound", () => Effect.succeed(notFound)),
    readsOnly(isServedBy(options)),
    withHeaders,
  )
})

/** A server that fails once may fail thousands of times a second: one line says so. */
const atMostOneLineIn = Duration.toNanosUnsafe("1 minute")

/**
 * An error of the server while it listens is a WARNING, at most one a minute, and nothing else. Without a listener for it
 * the error would end the process.
 */
export const goOnListening = Effect.fnUntraced(function* (server: EventEmitter) {
  const clock = yield* Clock.Clock
  const run = Effect.runForkWith(yield* Effect.context())
  let failures = 0
  let silentUntil: bigint | undefined
  server.on("error", (error: Error) => {
    failures++
    const now = clock.monotonicTimeNanosUnsafe()
    if (silentUntil !== undefined && now < silentUntil) return
    silentUntil = now + atMostOneLineIn
    run(Effect.annotateLogs(Effect.logWarning("dashboard cannot accept"), { error: error.message, failures }))
  })
})

/** Serves until it is closed. Fails when it cannot listen. */
export const make = Effect.fnUntraced(function* (options: ServerOptions) {
  const { host, listeners, port } = options
  const server = createServer({ headersTimeout, requestTimeout: headersTimeout, connectionsCheckingInterval })
  server.maxConnections = mostConnections
  // One answer a connection: who sends many requests, and reads nothing, has none of them answered but the first.
  server.maxRequestsPerSocket = 1
  server.setTimeout(silenceMillis)
  const scope = yield* Scope.make()
  const serving = NodeHttpServer.make(() => server, { host, port, gracefulShutdownTimeout: goodbyeBound }).pipe(
    Effect.flatMap(({ serve }) => Effect.flatMap(handler(options), (app) => serve(app))),
    Scope.provide(scope),
  )
  yield* Effect.onError(serving, (cause) => Scope.close(scope, Exit.failCause(cause)))
  yield* goOnListening(server)

  const ended = Effect.callback<void>((resume) => {
    listeners.close()
    server.close(() => resume(Effect.void))
  })
  const { port: bound } = server.address() as AddressInfo
  const name = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host
  return {
    url: `http://${name.includes(":") ? `[${name}]` : name}:${bound}`,
    close: Effect.timeoutOption(ended, goodbyeBound).pipe(
      Effect.andThen(Effect.sync(() => server.closeAllConnections())),
      Effect.andThen(Scope.close(scope, Exit.void)),
      Effect.asVoid,
    ),
  } satisfies Server
})
