/**
 * What an acknowledged write survives: the one choice that decides who syncs the WAL, and when.
 *
 * A killed process loses nothing that was committed, whatever the choice; the difference is the power cut.
 * https://www.sqlite.org/pragma.html#pragma_synchronous
 */
import { Schema } from "effect"
import * as SystemError from "../files/SystemError.ts"

/**
 * - `durable` (default): acknowledged means on disk. Writes through `Writer` are synced together, off the event loop; a
 *   plain statement syncs by itself as with `full`, and the event loop waits for it.
 * - `full`: acknowledged means on disk. Each commit syncs before it returns, and the event loop waits for it.
 * - `normal`: acknowledged means committed. A power cut loses at most what was committed since the start of the last
 *   checkpoint that synced the WAL.
 */
export const Durability = Schema.Literals(["durable", "full", "normal"])
export type Durability = typeof Durability.Type

/** Something that was to be acknowledged as on disk, and cannot be. It may be there nevertheless. */
export class DurabilityError extends Schema.TaggedError<DurabilityError>()("DurabilityError", {
  /**
   * - `SyncFailed`: the sync that this waited for failed, or the database was closed before it.
   * - `Replaced`: the file, or the WAL beside it, is no longer the one that was opened; `cause` says which. Nothing is
   *   written or acknowledged from then on.
   * - `Refused`: an earlier sync failed. A later one that succeeds proves nothing: the system may have dropped what it
   *   could not write. Nothing is written or acknowledged from then on; a plain statement that writes fails with an
   *   `SqlError` that holds this.
   * - `NotSynced`: the connection, which another part of the program opened, is at `synchronous=OFF`.
   */
  reason: Schema.Literals(["SyncFailed", "Replaced", "Refused", "NotSynced"]),
  file: Schema.String,
  cause: Schema.Defect(),
}) {
  override get message() {
    const why = SystemError.wordsOf(this.cause)
    switch (this.reason) {
      case "SyncFailed":
        return `cannot sync the WAL of ${this.file}: ${why}`
      case "Replaced":
        return `${this.file} is no longer the database that was opened (${why}); restart the program to use what is there now`
      case "Refused":
        return `${this.file} takes no writes since a sync of its WAL failed (${why}); check the disk, then restart`
      case "NotSynced":
        return `nothing of ${this.file} is durable at synchronous=OFF; set PRAGMA synchronous = NORMAL or FULL`
    }
  }
}
