/**
 * The refusal of a database under whose name another process has another file open, or one that was deleted: what that
 * process writes does not reach this database, its WAL may stand beside it, and to open it would mix the two.
 * https://www.sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, Option, Schema } from "effect"
import type { DatabaseFile } from "../files/DatabaseFile.ts"
import { namesOf } from "./ProcessName.ts"
import { hasOther, using } from "./Processes.ts"

/** Nothing was opened or changed. */
export class OtherFileError extends Schema.TaggedError<OtherFileError>()("OtherFileError", {
  file: Schema.String,
  /** Whether there is a file of the name now. */
  isThere: Schema.Boolean,
  /** The processes that have another file open under this name, as they are named everywhere. */
  processes: Schema.String,
}) {
  override get message() {
    return this.isThere
      ? `${this.file} is not the file, or has not the WAL, that another process has open as this database: ${this.processes}; stop that process first, then try again (nothing was changed)`
      : `${this.file} does not exist, but it is still open: ${this.processes}; end that process so that it closes the file, or copy the data out of it first`
  }
}

/** Fails while another process is seen to have another, or a deleted, file of this name open. */
export const ensureSameFile = Effect.fnUntraced(function* (target: DatabaseFile) {
  const processes = Option.getOrElse(yield* using(target), () => []).filter(hasOther)
  if (processes.length === 0) return undefined
  const isThere = target.found !== undefined
  return yield* new OtherFileError({ file: target.given, isThere, processes: namesOf(processes) })
}, Effect.provide(NodeFileSystem.layer))
