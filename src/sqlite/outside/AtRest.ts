/** The refusal of a database that another process uses, or that was not closed. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, Option, Schema } from "effect"
import * as DatabaseFile from "../../files/DatabaseFile.ts"
import { namesOf } from "../../processes/ProcessName.ts"
import { isUsing, using } from "../../processes/Processes.ts"

/** A database that another process uses, or that was not closed. */
export class NotAtRestError extends Schema.TaggedError<NotAtRestError>()("NotAtRestError", {
  file: Schema.String,
  reason: Schema.Literals(["Open", "WalLeft"]),
  /** The processes that use it, or the files that were left. */
  what: Schema.Array(Schema.String),
}) {
  override get message() {
    const what = this.what.join(", ")
    return this.reason === "Open"
      ? `${this.file} is open in ${what}; end it first (nothing was changed)`
      : `${what} holds what is not in ${this.file} yet, because its last user did not close it; what opens the database for writing next takes it over (nothing was changed)`
  }
}

/** Fails while another process is seen to use the file. Where processes cannot be seen, it succeeds. */
export const ensureNotOpen = Effect.fnUntraced(function* (file: string) {
  const processes = Option.getOrElse(yield* using(DatabaseFile.resolve(file)), () => [])
  const others = processes.filter(isUsing)
  if (others.length === 0) return
  return yield* new NotAtRestError({ file, reason: "Open", what: others.map((it) => namesOf([it])) })
}, Effect.provide(NodeFileSystem.layer))
