/** A look at the engine of a server. Loaded for that alone, because it needs the driver of PostgreSQL. */
import { Effect, Schema } from "effect"
import type { EngineConfig } from "../engine/EngineConfig.ts"
import { optionsOf } from "../engine/PostgresSession.ts"
import * as ServerStatus from "../status/ServerStatus.ts"

export const read = (config: EngineConfig) => ServerStatus.read(optionsOf(config))

export const encode = (status: ServerStatus.ServerStatus) =>
  Effect.orDie(Schema.encodeEffect(ServerStatus.ServerStatusJson)(status))
