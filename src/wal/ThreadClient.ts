/** The client of one checkpoint thread: what is asked of it, until its scope closes. */
import * as NodeWorker from "@effect/platform-node/NodeWorker"
import { Effect, Exit, Layer, Scope } from "effect"
import { RpcClient, type RpcClientError } from "effect/rpc"
import type { Worker } from "node:worker_threads"
import { CheckpointRpcs } from "./CheckpointRpcs.ts"

/** More than one, so that a request that hangs does not keep others from asking; the thread runs one after another anyway. */
const mostRequests = 1000

export type Client = RpcClient.FromGroup<typeof CheckpointRpcs, RpcClientError.RpcClientError>

export interface Thread {
  /** Sequence number, so that a late event of an earlier thread is not attributed to this one. */
  readonly number: number
  readonly client: Client
  readonly scope: Scope.Closeable
  /** Whether it has loaded its modules. Before that nothing is sent to it, so it is not inside SQLite. */
  readonly hasStarted: () => boolean
  /** Ends it at once, with whatever it does. */
  readonly terminate: () => void
}

export const open = Effect.fnUntraced(function* (number: number, spawn: () => Worker) {
  const scope = yield* Scope.make()
  const protocol = RpcClient.layerProtocolWorker({ size: 1, concurrency: mostRequests }).pipe(
    Layer.provide(NodeWorker.layer(spawn)),
  )
  const client: Client = yield* Layer.buildWithScope(protocol, scope).pipe(
    Effect.flatMap((context) =>
      Effect.provideContext(RpcClient.make(CheckpointRpcs, { disableTracing: true }), context),
    ),
    Scope.provide(scope),
    Effect.onError(() => Scope.close(scope, Exit.void)),
  )
  return { number, client, scope }
})
