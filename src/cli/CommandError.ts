/** A failure of a command that no floor below has a name for: its message says what happened, to which file, and what to do. */
import { Schema } from "effect"

export class CommandError extends Schema.TaggedError<CommandError>()("CommandError", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}
