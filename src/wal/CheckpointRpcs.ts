/** What the program and its checkpoint thread say to each other. */
import * as Schema from "effect/Schema"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import { Checkpoint, CheckpointError, CheckpointMode } from "./Checkpoint.ts"

/** Opens the thread's own connection to this file; what keeps it from doing so, the next checkpoint says. */
const Open = Rpc.make("Open", { payload: { file: Schema.String } })

/** Runs one checkpoint on that connection; on a new thread it opens it first. */
const Run = Rpc.make("Run", {
  payload: { file: Schema.String, mode: CheckpointMode },
  success: Checkpoint,
  error: CheckpointError,
})

/** Closes the connection to this file, if there is one. */
const Close = Rpc.make("Close", { payload: { file: Schema.String } })

export class CheckpointRpcs extends RpcGroup.make(Open, Run, Close) {}
