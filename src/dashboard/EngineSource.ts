/** What a dashboard shows of the engine in context: its session, and the figures of its program. From memory. */
import { Effect, Option } from "effect"
import * as Engine from "../engine/Engine.ts"
import type { EngineStatus } from "./Snapshot.ts"

/** The status of the engine, to be asked as often as one likes. */
export const inReach = Effect.map(Engine.Engine, ({ status }) =>
  Effect.map(status, ({ figures, haltReason, lastHaltReason, sessionId, status, ticks, title }): EngineStatus => ({
    session_id: sessionId,
    status,
    ticks,
    halt_reason: Option.getOrNull(haltReason),
    last_halt_reason: Option.getOrNull(lastHaltReason),
    title,
    figures: figures.map(({ isGain, label, name, unit, value }) => ({
      name,
      label: label ?? name,
      value,
      unit,
      is_gain: isGain ?? false,
    })),
  })),
)
