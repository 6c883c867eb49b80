/**
 * What runs on the checkpoint thread: for each database a connection of its own that does nothing but checkpoint, on
 * request.
 *
 * Its connections never wait for a lock, never checkpoint on their own account, and sync. It ends when its parent says
 * so, and closes them then.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeWorkerRunner from "@effect/platform-node/NodeWorkerRunner"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RcMap from "effect/RcMap"
import * as RpcServer from "effect/rpc/RpcServer"
import * as Scope from "effect/Scope"
import * as fs from "node:fs"
import { pathToFileURL } from "node:url"
import { areThere, type OpenedFiles, walHeaderBytes } from "../files/DatabaseFile.ts"
import { reasonOf } from "../sqlite/NativeError.ts"
import { CheckpointError } from "./Checkpoint.ts"
import { CheckpointRpcs } from "./CheckpointRpcs.ts"
import * as InlineCheckpointer from "./InlineCheckpointer.ts"

/** A name may lead elsewhere by now: what this connection copied would then go into another database. */
const stillThere = (files: OpenedFiles) =>
  Effect.suspend(() =>
    areThere(files)
      ? Effect.void
      : Effect.fail(new Replaced({ message: `${files.path} or its WAL is not the file that the program has open` })),
  )
class Replaced extends Data.TaggedError("Replaced")<{ readonly message: string }> {}

/** Connections that may have another database's WAL open: a close would checkpoint and remove it. */
const neverClosed: Array<Scope.Closeable> = []

const configure = Effect.fnUntraced(function* (sql: SqliteClient.SqliteClient) {
  for (const setting of ["busy_timeout = 0", "wal_autocheckpoint = 0", "synchronous = NORMAL"]) {
    yield* sql.unsafe(`PRAGMA ${setting}`)
  }
  // Without a sync before it copies, a checkpoint could leave a corrupt database after a power cut.
  const [level] = yield* sql.unsafe("PRAGMA synchronous").values
  if (!(Number(level?.[0]) >= 1)) return yield* Effect.die(new Error("the checkpoint connection does not sync"))
  yield* sql.unsafe("SELECT 1 FROM sqlite_schema LIMIT 1")
})

/** SQLite writes a frame where the last one ended: a header and a page. https://www.sqlite.org/fileformat.html#walformat */
const frameHeaderBytes = 24

/**
 * Zeros behind the end of the file. While this connection holds the writer lock no other connection appends a frame there, and zeros are no
 * frame: their salts are not those of the header. An empty WAL is left alone, it begins with its header.
 */
const fill = Effect.fnUntraced(function* (wal: string, length: number) {
  const open = yield* Effect.acquireRelease(
    Effect.try(() => fs.openSync(wal, "r+")),
    // Synced without waiting for it: writers go on, and what they write meanwhile lies before the new end.
    (descriptor) => Effect.sync(() => fs.fdatasync(descriptor, () => fs.closeSync(descriptor))),
  )
  return yield* Effect.try(() => {
    const { size } = fs.fstatSync(open)
    const zeros = Buffer.alloc(size < walHeaderBytes ? 0 : Math.max(0, length - size))
    return size + fs.writeSync(open, zeros, 0, zeros.length, size)
  })
}, Effect.scoped)

const lengthenOn = (sql: SqliteClient.SqliteClient, files: OpenedFiles) =>
  Effect.fnUntraced(function* (frames: number) {
    const connection = yield* sql.reserve
    const execute = (text: string) => connection.executeValuesUnprepared(text, [])
    const [size] = yield* execute("PRAGMA page_size")
    const frameBytes = frameHeaderBytes + Number(size?.[0])
    const end = yield* Effect.acquireUseRelease(
      execute("BEGIN IMMEDIATE"),
      () => fill(`${files.path}-wal`, walHeaderBytes + frames * frameBytes),
      () => Effect.ignore(execute("ROLLBACK")),
    )
    return Math.floor((end - walHeaderBytes) / frameBytes)
  }, Effect.scoped)

/** The first statement opens the WAL: until then a connection to the wrong file can be closed. */
const connect = Effect.fnUntraced(function* (files: OpenedFiles) {
  yield* stillThere(files)
  const address = pathToFileURL(files.path)
  address.searchParams.set("mode", "rw") // a file that is gone by now is not created
  const scope = yield* Scope.make()
  let mayClose = true
  yield* Effect.addFinalizer((exit) =>
    mayClose ? Scope.close(scope, exit) : Effect.sync(() => void neverClosed.push(scope)),
  )
  const client = SqliteClient.layer({ filename: address.href, disableWAL: true })
  const sql = Context.get(yield* Layer.buildWithScope(client, scope), SqliteClient.SqliteClient)
  yield* stillThere(files)
  mayClose = false
  yield* configure(sql)
  yield* stillThere(files)
  mayClose = true
  return { run: InlineCheckpointer.runOn(sql), lengthen: lengthenOn(sql, files) }
})

/** The key of a connection, and what it leads to. */
const keyOf = (files: OpenedFiles) => JSON.stringify(files)
const lookup = (key: string) => connect(JSON.parse(key) as OpenedFiles)

const handlers = CheckpointRpcs.toLayer(
  Effect.gen(function* () {
    const connections = yield* RcMap.make({ lookup, idleTimeToLive: "Infinity" })
    const connection = (files: OpenedFiles) =>
      RcMap.get(connections, keyOf(files)).pipe(
        Effect.catchDefect(Effect.fail), // the driver dies of a file that it cannot open
        Effect.tapError(() => RcMap.invalidate(connections, keyOf(files))),
      )
    return {
      Open: (files) => Effect.scoped(Effect.ignore(connection(files))),
      Run: Effect.fnUntraced(function* ({ files, mode }) {
        const failed = (cause: unknown) =>
          new CheckpointError({ mode, reason: cause instanceof Replaced ? "Replaced" : reasonOf(cause), cause })
        const { run } = yield* Effect.mapError(connection(files), failed)
        yield* Effect.mapError(stillThere(files), failed)
        return yield* run(mode)
      }, Effect.scoped),
      Lengthen: Effect.fnUntraced(
        function* ({ files, frames }) {
          const { lengthen } = yield* connection(files)
          yield* stillThere(files)
          return yield* lengthen(frames)
        },
        Effect.scoped,
        Effect.catchDefect(Effect.fail),
        Effect.mapError((cause) => new CheckpointError({ mode: "PASSIVE", reason: reasonOf(cause), cause })),
      ),
      Close: (files) => RcMap.invalidate(connections, keyOf(files)),
    }
  }),
)

RpcServer.layer(CheckpointRpcs, { disableTracing: true }).pipe(
  Layer.provide(handlers),
  Layer.provide(RpcServer.layerProtocolWorkerRunner),
  Layer.provide(NodeWorkerRunner.layer),
  Layer.launch,
  NodeRuntime.runMain,
)
