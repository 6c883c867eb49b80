/** What the program and its checkpoint thread say to each other. */
import * as Schema from "effect/Schema"
import * as Rpc from "effect/unstable/rpc/Rpc"
import * as RpcGroup from "effect/unstable/rpc/RpcGroup"
import { Checkpoint, CheckpointError, CheckpointMode } from "./Checkpoint.ts"

/** Runs one checkpoint on the thread's own connection. */
const Run = Rpc.make("Run", { payload: { mode: CheckpointMode }, success: Checkpoint, error: CheckpointError })

export class CheckpointRpcs extends RpcGroup.make(Run) {}

/** What the thread must know before it can start. */
export const ThreadOptions = Schema.Struct({ file: Schema.String })
export type ThreadOptions = typeof ThreadOptions.Type
