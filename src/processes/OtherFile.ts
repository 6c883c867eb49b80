/**
 * The refusal of a database under whose name another process has another file open, or one that was deleted: what that
 * process writes does not reach this database, its WAL may stand beside it, and to open it would mix the two.
 * https://www.sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, Option, Schema } from "effect"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import { hasOther, nameOf, using } from "./Processes.ts"

/** Nothing was opened or changed. */
export class OtherFileError extends Schema.TaggedError<OtherFileError>()("OtherFileError", {
  file: Schema.String,
  /** The processes that have another file open under this name. */
  processes: Schema.Array(Schema.String),
}) {
  override get message() {
    const [first = "", ...more] = this.processes
    const names = [first, ...more].join(", ")
    return `${this.file} is not the file, or has not the WAL, that ${names} has open under this name; stop that process first, then try again (nothing was changed)`
  }
}

/** Fails while another process is seen to have another, or a deleted, file of this name open. */
export const ensureSameFile = Effect.fnUntraced(function* (file: string) {
  const processes = Option.getOrElse(yield* using(DatabaseFile.resolve(file)), () => [])
  const others = processes.filter(hasOther)
  if (others.length > 0) return yield* new OtherFileError({ file, processes: others.map((it) => nameOf(it)) })
  return undefined
}, Effect.provide(NodeFileSystem.layer))
