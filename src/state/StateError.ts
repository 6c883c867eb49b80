/** What can go wrong between an engine and its memory. */
import { Effect, Schema } from "effect"
import { nativeMessage, NativeReason, nativeReason } from "../sqlite/NativeError.ts"

const advice: Readonly<Partial<Record<NativeReason, string>>> = {
  Full: "free some disk space",
  Busy: "another process holds the write lock; engines do not share a database",
  Corrupt: "stop, and restore a backup",
  NotADatabase: "stop, and restore a backup",
  Io: "check the disk",
  ReadOnly: "make the file and its folder writable",
}

/** A method of `StateManager` that failed. Nothing of it is stored, unless a sync failed (`DurabilityError`): it may be. */
export class StateError extends Schema.TaggedError<StateError>()("StateError", {
  operation: Schema.String,
  reason: NativeReason,
  cause: Schema.Defect(),
}) {
  override get message() {
    const toDo = advice[this.reason]
    return `${this.operation} failed: ${nativeMessage(this.cause)}${toDo === undefined ? "" : `; ${toDo}`}`
  }
}

/** Any failure below, a driver's or a row that does not decode, as the one error of this floor. */
export const stateError =
  (operation: string) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, StateError, R> =>
    Effect.mapError(self, (cause) => new StateError({ operation, reason: nativeReason(cause), cause }))
