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
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RcMap from "effect/RcMap"
import * as RpcServer from "effect/rpc/RpcServer"
import { pathToFileURL } from "node:url"
import { nativeReason } from "../sqlite/NativeError.ts"
import { CheckpointError } from "./Checkpoint.ts"
import { runOn } from "./Checkpointer.ts"
import { CheckpointRpcs } from "./CheckpointRpcs.ts"

const connect = Effect.fnUntraced(function* (file: string) {
  const address = pathToFileURL(file)
  address.searchParams.set("mode", "rw") // a file that is gone by now is not made anew
  const context = yield* Layer.build(SqliteClient.layer({ filename: address.href, disableWAL: true }))
  const sql = Context.get(context, SqliteClient.SqliteClient)
  for (const setting of ["busy_timeout = 0", "wal_autocheckpoint = 0", "synchronous = NORMAL"]) {
    yield* sql.unsafe(`PRAGMA ${setting}`)
  }
  // Without a sync before it copies, a checkpoint could leave a corrupt database after a power cut.
  const [level] = yield* sql.unsafe("PRAGMA synchronous").values
  if (!(Number(level?.[0]) >= 1)) return yield* Effect.die(new Error("the checkpoint connection does not sync"))
  return runOn(sql)
})

const handlers = CheckpointRpcs.toLayer(
  Effect.gen(function* () {
    const connections = yield* RcMap.make({ lookup: connect, idleTimeToLive: "Infinity" })
    const connection = (file: string) =>
      RcMap.get(connections, file).pipe(
        Effect.catchDefect(Effect.fail), // the driver dies of a file that it cannot open
        Effect.tapError(() => RcMap.invalidate(connections, file)),
      )
    return {
      Open: ({ file }) => Effect.scoped(Effect.ignore(connection(file))),
      Run: Effect.fnUntraced(function* ({ file, mode }) {
        const run = yield* Effect.mapError(
          connection(file),
          (cause) => new CheckpointError({ mode, reason: nativeReason(cause), cause }),
        )
        return yield* run(mode)
      }, Effect.scoped),
      Close: ({ file }) => RcMap.invalidate(connections, file),
    }
  }),
)

RpcServer.layer(CheckpointRpcs).pipe(
  Layer.provide(handlers),
  Layer.provide(RpcServer.layerProtocolWorkerRunner),
  Layer.provide(NodeWorkerRunner.layer),
  Layer.launch,
  NodeRuntime.runMain,
)
