/** What can go wrong between an engine and its memory. */
import { Effect, Option, Schema } from "effect"
import { SqlError } from "effect/sql"
import { DurabilityError } from "../sql/Durability.ts"
import * as SqlState from "../postgres/SqlState.ts"
import * as NativeError from "../sqlite/NativeError.ts"
import { type WriteFailure, WriterError } from "../sql/WriterError.ts"
import { CapitalError } from "./CapitalEvent.ts"

/** The reasons of both stores. */
export const StateReason = Schema.Literals([
  ...NativeError.NativeReason.literals,
  "Unreachable",
  "Superseded",
  "Timeout",
  "Conflict",
])
export type StateReason = typeof StateReason.Type

/** Why a store failed, read from an error or from what it wraps.
 * @internal
 */
export const reasonOf = (error: unknown): StateReason => {
  const native = NativeError.reasonOf(error)
  return native === "Unknown" ? SqlState.reasonOf(error) : native
}

const messageOf = (error: unknown): string =>
  Option.isSome(NativeError.codeOf(error)) || (Option.isNone(SqlState.stateOf(error)) && reasonOf(error) === "Unknown")
    ? NativeError.messageOf(error)
    : SqlState.messageOf(error)

const advice: Readonly<Partial<Record<StateReason, string>>> = {
  Full: "free some disk space",
  Busy: "another process holds the write lock; engines do not share a database",
  Corrupt: "stop, and restore a backup",
  NotADatabase: "stop, and restore a backup",
  Io: "check the disk",
  ReadOnly: "make the file and its folder writable",
  Unreachable: "it may have been stored if its commit was under way; nothing more is until the server is reached again",
  Superseded: "another engine leads; this one must end",
  Timeout: "the server gave up waiting; look for what holds a lock there",
  Conflict: "another transaction came in between; it may be tried again",
}

/**
 * A method of `StateManager` that failed. Nothing of it is stored, unless a sync failed (`DurabilityError`) or the server was lost
 * (`Unreachable`): then it may be.
 */
export class StateError extends Schema.TaggedError<StateError>()("StateError", {
  /** The method, or the one that it uses; `schema` when the layer was built. */
  operation: Schema.String,
  /** The reason of the store; `Unknown` when it took no part, as in a write that the `Writer` refused. */
  reason: StateReason,
  cause: Schema.Defect(),
}) {
  override get message() {
    const toDo = advice[this.reason]
    return `${this.operation} failed: ${messageOf(this.cause)}${toDo === undefined ? "" : `; ${toDo}`}`
  }
}

const wrap = (operation: string, cause: unknown) => new StateError({ operation, reason: reasonOf(cause), cause })

/** Any failure below, a driver's or a row that does not decode, as the one error of this floor.
 * @internal
 */
export const stateError =
  (operation: string) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, StateError, R> =>
    Effect.mapError(self, (cause) => wrap(operation, cause))

/** The same, but a broken rule of the capital stays what it is.
 * @internal
 */
export const capitalOrStateError =
  (operation: string) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, StateError | CapitalError, R> =>
    Effect.mapError(self, (cause) => (cause instanceof CapitalError ? cause : wrap(operation, cause)))

/** How a store fails: a statement, a commit, a sync, a write that was not taken, or a row that does not decode. */
export type StoreFailure = WriteFailure | Schema.SchemaError

const isStoreFailure = (cause: unknown): cause is StoreFailure =>
  SqlError.isSqlError(cause) ||
  cause instanceof WriterError ||
  cause instanceof DurabilityError ||
  Schema.isSchemaError(cause)

/** The same for what a program does in a store: its own failures stay what they are.
 * @internal
 */
export const ownOrStateError =
  (operation: string) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, Exclude<E, StoreFailure> | StateError, R> =>
    Effect.mapError(self, (cause) =>
      isStoreFailure(cause) ? wrap(operation, cause) : (cause as Exclude<E, StoreFailure>),
    )
