/** Numbers that are stored are finite: SQLite would take NaN for NULL, and keep an infinity that no reader expects. */
import { Effect, Schema } from "effect"

/** A figure that was refused. Nothing of what it was to be stored with is stored. */
class NotFinite extends Schema.TaggedError<NotFinite>()("NotFinite", {
  field: Schema.String,
  got: Schema.String,
}) {
  override get message() {
    return `expected ${this.field} to be a finite number, got ${this.got}; nothing was stored`
  }
}

/** What `String` makes of numbers that are not finite, for those that are stored as text. */
const texts: ReadonlySet<unknown> = new Set(["NaN", "Infinity", "-Infinity"])

const refuseFirst = (fields: Readonly<Record<string, unknown>>, isRefused: (value: unknown) => boolean) => {
  const found = Object.entries(fields).find(([, value]) => isRefused(value))
  return found === undefined ? Effect.void : Effect.fail(new NotFinite({ field: found[0], got: String(found[1]) }))
}

/** Fails with the first of these that is not a finite number, by its name. */
export const finite = (fields: Readonly<Record<string, number>>): Effect.Effect<void, NotFinite> =>
  refuseFirst(fields, (value) => !Number.isFinite(value))

/** The same for numbers that are stored as text. Any other text passes. */
export const finiteText = (fields: Readonly<Record<string, string>>): Effect.Effect<void, NotFinite> =>
  refuseFirst(fields, (value) => texts.has(value))
