/**
 * What can be known from outside of an engine whose books are on a PostgreSQL server: who leads, who stands by, what is stored.
 * Asks with three statements, takes no lock that a writer could feel, and creates nothing.
 */
import { DateTime, Duration, Effect, Option, Schema } from "effect"
import * as Leaders from "../postgres/Leaders.ts"
import * as PostgresDatabase from "../postgres/PostgresDatabase.ts"
import type { PostgresOptions } from "../postgres/PostgresOptions.ts"
import { stateError } from "../state/StateError.ts"
import { stored } from "../state/StoredState.ts"
import * as EngineFields from "./EngineFields.ts"

/** What `read` answers: none where the JSON has null. */
export class ServerStatus extends Schema.Class<ServerStatus>("seawall/status/ServerStatus")({
  /** The server, database and schema, without a secret. */
  where: Schema.String,
  looked_at: Schema.String,
  /** Null while there is no leader, as between two. */
  leader: Schema.OptionFromNullOr(
    Schema.Struct({
      session_id: Schema.Int,
      pid: Schema.Int,
      command: Schema.String,
      host: Schema.String,
      since: Schema.String,
      /** How long ago the server last heard of it: the lag of its heartbeat. */
      heard_seconds: Schema.Finite,
    }),
  ),
  /** The machines that wait to lead, with their pid, as in `host:1234`. */
  standbys: Schema.Array(Schema.String),
  ...EngineFields.fields,
}) {}

/** As one line, as `seawall status --store postgres --json` prints it. */
export const ServerStatusJson = Schema.fromJsonString(ServerStatus)

/** Fails where no engine was ever started: nothing is made. */
export const read = (options: PostgresOptions) =>
  Effect.gen(function* () {
    const looked_at = DateTime.formatIso(yield* DateTime.now)
    const { leader, standbys, where } = yield* Effect.flatten(Leaders.make(options))
    const found = yield* stateError("status")(stored)
    return new ServerStatus({
      where,
      looked_at,
      leader: Option.map(leader, ({ command, heard, host, pid, sessionId, since }) => ({
        session_id: sessionId,
        pid,
        command,
        host,
        since,
        heard_seconds: Duration.toSeconds(heard),
      })),
      standbys,
      ...EngineFields.of(found, Option.isSome(leader)),
    })
  }).pipe(
    Effect.provide(PostgresDatabase.layer({ ...options, maxConnections: 1, create: false }), { local: true }),
    Effect.scoped,
  )
