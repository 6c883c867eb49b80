/**
 * The checkpoint thread: a connection of its own that does nothing but checkpoint, on request.
 *
 * Its connection never waits for a lock, never checkpoints on its own account, and syncs. It ends when its parent says
 * so, and closes its connection then.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeWorkerRunner from "@effect/platform-node/NodeWorkerRunner"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RpcServer from "effect/unstable/rpc/RpcServer"
import * as RpcWorker from "effect/unstable/rpc/RpcWorker"
import { runOn } from "./Checkpointer.ts"
import { CheckpointRpcs, ThreadOptions } from "./CheckpointRpcs.ts"

const connection = Layer.unwrap(
  Effect.map(RpcWorker.initialMessage(ThreadOptions), ({ file }) =>
    SqliteClient.layer({ filename: file, disableWAL: true }),
  ),
)

const handlers = CheckpointRpcs.toLayer(
  Effect.gen(function* () {
    const sql = yield* SqliteClient.SqliteClient
    for (const setting of ["busy_timeout = 0", "wal_autocheckpoint = 0", "synchronous = NORMAL"]) {
      yield* sql.unsafe(`PRAGMA ${setting}`)
    }
    // Without a sync before it copies, a checkpoint could leave a corrupt database after a power cut.
    const [level] = yield* sql.unsafe("PRAGMA synchronous").values
    if (!(Number(level?.[0]) >= 1)) return yield* Effect.die(new Error("the checkpoint connection does not sync"))
    const run = runOn(sql)
    return { Run: ({ mode }) => run(mode) }
  }),
)

RpcServer.layer(CheckpointRpcs).pipe(
  Layer.provide(handlers),
  Layer.provide(connection),
  Layer.provide(RpcServer.layerProtocolWorkerRunner),
  Layer.provide(NodeWorkerRunner.layer),
  Layer.launch,
  NodeRuntime.runMain,
)
