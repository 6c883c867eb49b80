/**
 * A guarded HTTP service: notes in a SQLite database, written durably by many requests at a time, with the dashboard of the
 * database on a port of its own. SIGINT and SIGTERM end it in order and leave one file.
 *
 * Run it with `node main.ts`, then `curl -d 'buy milk' localhost:8080/notes` and `curl localhost:8080/notes`. `PORT`, `PAGE_PORT` and
 * `DATABASE` change where it listens and what it opens.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Config, Effect, Layer, Schema } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { SqlClient } from "effect/sql"
import { GuardedDatabase, Shutdown, Writer } from "seawall"
import { Dashboard, LiveLog } from "seawall/dashboard"
import { createServer } from "node:http"

const Note = Schema.Struct({ id: Schema.Int, text: Schema.String })

/** A longer one is refused before it is read. */
const longest = 10_000

const create = Effect.gen(function* () {
  const writer = yield* Writer.Writer
  const request = yield* HttpServerRequest.HttpServerRequest
  const text = yield* request.text
  if (text === "" || text.length > longest)
    return HttpServerResponse.text(`1 to ${longest} characters\n`, { status: 400 })
  // Answers when the note is on disk; notes that arrive at the same time share one sync.
  const rows = yield* writer.sql`INSERT INTO notes (text) VALUES (${text}) RETURNING id, text`
  const [note] = yield* Schema.decodeUnknownEffect(Schema.Array(Note))(rows)
  return yield* HttpServerResponse.json(note, { status: 201 })
})

const list = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql`SELECT id, text FROM notes ORDER BY id DESC LIMIT 100`
  return yield* HttpServerResponse.json(yield* Schema.decodeUnknownEffect(Schema.Array(Note))(rows))
})

const routes = HttpRouter.addAll([HttpRouter.route("POST", "/notes", create), HttpRouter.route("GET", "/notes", list)])

const schema = Layer.effectDiscard(
  SqlClient.SqlClient.use((sql) => sql`CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)`),
)

const port = (name: string, otherwise: number) => Config.Int(name).pipe(Config.withDefault(otherwise))

const database = GuardedDatabase.layerConfig({
  filename: Config.String("DATABASE").pipe(Config.withDefault("notes.db")),
  interval: Config.succeed("10 seconds"),
})

// From the bottom up: one budget for the end, the log that the page shows, the database, the page, the service. It closes from the top down.
const service = HttpRouter.serve(routes).pipe(
  Layer.provide(NodeHttpServer.layerConfig(createServer, { port: port("PORT", 8080) })),
  Layer.provide(schema),
  Layer.provide(Layer.unwrap(Effect.map(port("PAGE_PORT", 8501), (it) => Dashboard.layer({ port: it })))),
  Layer.provide(database),
  Layer.provide(LiveLog.layer),
  Layer.provide(Shutdown.layer()),
)

NodeRuntime.runMain(Layer.launch(service))
