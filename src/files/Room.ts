/** The free space of a disk. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { statfs } from "node:fs/promises"
import { wordsOf } from "./SystemError.ts"

/** Bytes. `free` is what this user may still write: of what a file system keeps back for root, only root sees something. */
export interface Room {
  readonly free: number
  readonly total: number
}

/** The system does not tell. */
class RoomError extends Schema.TaggedError<RoomError>()("RoomError", {
  folder: Schema.String,
  cause: Schema.Defect(),
}) {
  override get message() {
    return wordsOf(this.cause)
  }
}

/** Reads it for the file system of a folder. */
export const at = (folder: string): Effect.Effect<Room, RoomError> =>
  Effect.tryPromise({ try: () => statfs(folder), catch: (cause) => new RoomError({ folder, cause }) }).pipe(
    Effect.map(({ bavail, bfree, blocks, bsize }) => ({
      free: bsize * (process.getuid?.() === 0 ? bfree : bavail),
      total: bsize * blocks,
    })),
  )
