/**
 * Gives the file of the WAL its length before commits need it, where each commit is synced: a sync of a file that grows costs
 * half as much again as one of a file that is written anew. A step at a time, each with writers held back for about a millisecond,
 * until the file is as long as the WAL becomes before it starts anew.
 */
import { Duration, Effect, Option } from "effect"
import type { Database } from "../sqlite/Database.ts"
import { syncsOf } from "../sqlite/Durability.ts"
import type { Checkpointer } from "./Checkpointer.ts"

/** 2 MB of pages of the default size: written in a millisecond. */
const step = 512

/** How long writers may wait for a step. */
const hold = Duration.millis(10)

export interface WalRoomOptions {
  readonly database: Database["Service"]
  readonly checkpointer: Checkpointer["Service"]
  readonly maxFrames: number
}

export const make = ({ checkpointer, database, maxFrames }: WalRoomOptions) => {
  /** How many frames the file has room for, as far as is known; all that are wanted where it is not done. */
  let room = syncsOf[database.durability].byConnection ? 0 : maxFrames
  return {
    /** Whether a WAL of so many frames will soon need more than there is. */
    isNeeded: (frames: number) => frames > 0 && room < maxFrames && frames + step / 2 > room,
    /** One step. What cannot be lengthened is not tried again: commits do without. */
    make: Effect.fnUntraced(function* (frames: number) {
      const wanted = Math.min(maxFrames, Math.max(room, frames) + step)
      const lengthened = Effect.orElseSucceed(checkpointer.lengthen(wanted), () => Option.some(maxFrames))
      const end = yield* database.gate(lengthened, hold)
      if (end._tag !== "Done") room = maxFrames
      else room = Option.getOrElse(yield* Effect.orElseSucceed(end.exit, () => Option.some(maxFrames)), () => room)
    }),
  }
}
