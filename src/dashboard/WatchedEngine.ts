/** What a dashboard shows of the engine in context: its session, and the figures of its program. From memory. */
import { Effect, Option } from "effect"
import { Engine } from "../engine/Engine.ts"
import { EngineProgram } from "../engine/EngineProgram.ts"
import { Halt } from "../engine/Halt.ts"
import type { EngineStatus } from "./Snapshot.ts"

/** The status of the engine, to be asked as often as one likes. */
export const inReach = Effect.map(Effect.all([Engine, EngineProgram, Halt]), ([engine, program, halt]) => {
  const { lastHaltReason, sessionId, ticks } = engine
  const { figures = Effect.succeed([]), title = "Program" } = program
  return Effect.gen(function* () {
    const requested = yield* halt.requested
    return {
      session_id: sessionId,
      status: Option.isSome(requested) ? "HALTING" : "RUNNING",
      ticks: yield* ticks,
      halt_reason: Option.match(requested, {
        onNone: () => null,
        onSome: ({ detail, reason }) =>
          Option.getOrElse(reason, () => (detail === "" ? "asked for by a tick" : detail)),
      }),
      last_halt_reason: Option.getOrNull(lastHaltReason),
      title,
      figures: (yield* figures).map(({ isGain, label, name, unit, value }) => ({
        name,
        label: label ?? name,
        value,
        unit,
        is_gain: isGain ?? false,
      })),
    } satisfies EngineStatus
  })
})
