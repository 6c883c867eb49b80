/** Why a subject was not looked at: the report has it as a notice. */
import { Schema } from "effect"

/** An examination that cannot be made, and what would make it possible. */
export class NotExamined extends Schema.TaggedError<NotExamined>()("NotExamined", {
  message: Schema.String,
  remedy: Schema.String,
}) {}

/** Other systems do not show who has a file open. */
export const needsLinux = new NotExamined({
  message: "who has a file open can be seen on Linux only",
  remedy: "set nothing; stop the programs that use the database, then ask again",
})
