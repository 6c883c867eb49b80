/** What the program and its checkpoint thread say to each other. */
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import { OpenedFiles } from "../files/DatabaseFile.ts"
import { Checkpoint, CheckpointError, CheckpointMode } from "./Checkpoint.ts"

/** Opens the thread's own connection to these very files; what keeps it from doing so, the next checkpoint says. */
const Open = Rpc.make("Open", { payload: OpenedFiles })

/** Runs one checkpoint on that connection; on a new thread it opens it first. */
const Run = Rpc.make("Run", {
  payload: { files: OpenedFiles, mode: CheckpointMode },
  success: Checkpoint,
  error: CheckpointError,
})

/**
 * Gives the file of the WAL the length of so many frames, and syncs it; a file that is longer stays. Answers how many frames fit
 * in it now. Holds SQLite's writer lock for the few milliseconds that it takes: does nothing when another connection has it.
 */
const Lengthen = Rpc.make("Lengthen", {
  payload: { files: OpenedFiles, frames: Schema.Int },
  success: Schema.Int,
  error: CheckpointError,
})

/** Closes the connection to this file, if there is one. */
const Close = Rpc.make("Close", { payload: OpenedFiles })

export class CheckpointRpcs extends RpcGroup.make(Open, Run, Lengthen, Close) {}
