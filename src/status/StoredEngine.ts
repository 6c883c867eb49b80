/**
 * What an engine has stored in a database, read with SQLite so that it is not felt: one connection for milliseconds, and none
 * where opening the database would change a file beside it or make a writer wait. Only after everything that is read as bytes.
 */
import { Effect, Option, Schema } from "effect"
import type { Layer } from "effect"
import type { SqlClient } from "effect/sql"
import { type Facts, isUsed, walSize } from "../facts/Facts.ts"
import { DatabaseOpenError } from "../sqlite/DatabaseOpenError.ts"
import { messageOf, reasonOf } from "../sqlite/NativeError.ts"
import { NotAtRestError } from "../sqlite/outside/AtRest.ts"
import * as ReadOnly from "../sqlite/outside/ReadOnly.ts"
import { stored, type StoredState } from "../state/StoredState.ts"

export type StoredEngine =
  /** No engine keeps its state here. */
  | { readonly state: "absent" }
  | { readonly state: "read"; readonly stored: StoredState }
  | { readonly state: "not_read"; readonly reason: string; readonly isPassing: boolean }

const notRead = (reason: string, isPassing = false): StoredEngine => ({ state: "not_read", reason, isPassing })

const whyNot = (error: unknown) => {
  if (error instanceof NotAtRestError) {
    return error.reason === "Open"
      ? "another process opened the database during this look; look again"
      : `${error.what.join(", ")} was left by a process that was ended, and belongs to the database; what opens it for writing next takes it over`
  }
  if (Schema.isSchemaError(error)) return "its tables are not those of an engine that Seawall knows"
  if (error instanceof DatabaseOpenError && error.reason === "Unknown" && error.detail !== "") return error.detail
  if (reasonOf(error) === "Busy") return "another connection has the database for itself at this moment; look again"
  return messageOf(error)
}

const readThrough = <E>(connection: Layer.Layer<SqlClient.SqlClient, E>) =>
  stored.pipe(
    Effect.map(
      Option.match({
        onNone: (): StoredEngine => ({ state: "absent" }),
        onSome: (it): StoredEngine => ({ state: "read", stored: it }),
      }),
    ),
    Effect.provide(connection),
    Effect.catchDefect(Effect.fail),
    Effect.catch((error) => Effect.succeed(notRead(whyNot(error), reasonOf(error) === "ReadOnly"))),
  )

/** Beside a writer SQLite may meet the header of the index for as long as it takes to write one of its copies. */
const attempts = 5

/** Until it ends nothing may read the files as bytes. */
export const read = (facts: Facts): Effect.Effect<StoredEngine> => {
  const { header, processes, strangers, target } = facts
  if (Option.isNone(header)) return Effect.succeed({ state: "absent" })
  if (Option.exists(strangers, (them) => them.length > 0)) {
    return Effect.succeed(notRead("a process has another, or a deleted, file of this name open; see seawall doctor"))
  }
  if (!isUsed(facts) && walSize(facts) === 0) return readThrough(ReadOnly.layer(target.path, "AtRest"))
  if (!isUsed(facts)) {
    const left = Option.isSome(processes)
      ? "the WAL was left by a process that did not close it"
      : "the processes that use the database cannot be seen on this system"
    return Effect.succeed(notRead(`${left}; opening the database could take the WAL over, which changes its files`))
  }
  if (header.value.journalMode === "rollback") {
    return Effect.succeed(notRead("it is not in WAL mode, so a writer would have to wait for the reader"))
  }
  // In the middle of a write of the header SQLite takes the index for damaged, and may not repair it.
  return Effect.repeat(readThrough(ReadOnly.layer(target.path, "OpenBriefly")), {
    until: (it) => it.state !== "not_read" || !it.isPassing,
    times: attempts,
  })
}
