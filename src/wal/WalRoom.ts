/**
 * Gives the file of the WAL its length before commits need it, where each commit is synced: a sync of a file that grows costs
 * half as much again as one of a file that is written from its beginning. A step at a time, each with writers held back for about a millisecond,
 * until the file is as long as the WAL becomes before it restarts.
 */
import { Duration, Effect, Exit, Option } from "effect"
import type { DatabaseService } from "../sqlite/Database.ts"
import type { DatabaseControlService } from "../sqlite/DatabaseControl.ts"
import { syncsOf } from "../sqlite/Syncs.ts"
import type * as Checkpointer from "./Checkpointer.ts"

/** 2 MB of pages of the default size: written in a millisecond. */
const step = 512

/** How long writers may wait for a step. */
const hold = Duration.millis(10)

/** Maximum number of steps that may fail, or take too long on a busy machine, before no more is tried: commits do without. */
const mostFailures = 8

interface WalRoomOptions {
  readonly database: DatabaseService
  readonly control: DatabaseControlService
  readonly checkpointer: Checkpointer.Checkpointer["Service"]
  readonly maxFrames: number
}

export const make = ({ checkpointer, control, database, maxFrames }: WalRoomOptions) => {
  /** How many frames the file has room for, as far as is known; all that are wanted where it is not done. */
  let room = syncsOf[database.durability].byConnection ? 0 : maxFrames
  let failures = 0
  const failed = () => {
    failures += 1
    if (failures === mostFailures) room = maxFrames
  }
  return {
    /** Whether a WAL of so many frames will soon need more than there is. */
    isNeeded: (frames: number) => frames > 0 && room < maxFrames && frames + step / 2 > room,
    /** One step; none while there is no thread for it. */
    make: Effect.fnUntraced(function* (frames: number) {
      const end = yield* control.gate(checkpointer.lengthen(Math.min(maxFrames, Math.max(room, frames) + step)), hold)
      if (end._tag === "NotClosed") room = maxFrames
      else if (end._tag === "Overdue" || Exit.isFailure(end.exit)) failed()
      else room = Option.getOrElse(end.exit.value, () => room)
    }),
  }
}
