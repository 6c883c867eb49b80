/** The free space of a disk. */
import * as Effect from "effect/Effect"
import { statfs } from "node:fs/promises"

/** Bytes. `free` is what this user may still write: of what a file system keeps back for root, only root sees something. */
export interface Room {
  readonly free: number
  readonly total: number
}

/** Reads it for the file system of a folder; fails with the error of the system. */
export const at = (folder: string): Effect.Effect<Room, unknown> =>
  Effect.tryPromise({ try: () => statfs(folder), catch: (cause) => cause }).pipe(
    Effect.map(({ bavail, bfree, blocks, bsize }) => ({
      free: bsize * (process.getuid?.() === 0 ? bfree : bavail),
      total: bsize * blocks,
    })),
  )
