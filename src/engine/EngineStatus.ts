/** How a session goes, from memory: for a dashboard, or a health check of one's own. */
import { Effect, Option } from "effect"
import type * as EngineProgram from "./EngineProgram.ts"
import type * as Halt from "./Halt.ts"

/** How a session goes. */
export interface EngineStatus {
  /** The number of its row in `sessions`. */
  readonly sessionId: number
  readonly status: "RUNNING" | "HALTING"
  /** How many have ended, without those that failed. */
  readonly ticks: number
  /** Why it halts, once it was asked to. */
  readonly haltReason: Option.Option<string>
  /** How the session before this one ended. */
  readonly lastHaltReason: Option.Option<string>
  /** What stands above the figures. */
  readonly title: string
  readonly figures: ReadonlyArray<EngineProgram.Figure>
}

/** What it is made of. */
interface EngineFacts extends Pick<EngineStatus, "sessionId" | "lastHaltReason"> {
  readonly ticks: Effect.Effect<number>
  readonly halt: Halt.Halt["Service"]
  readonly program: EngineProgram.EngineProgram["Service"]
}

export const of = ({ halt, lastHaltReason, program, sessionId, ticks }: EngineFacts): Effect.Effect<EngineStatus> =>
  Effect.gen(function* () {
    const requested = yield* halt.requested
    return {
      sessionId,
      status: Option.isSome(requested) ? "HALTING" : "RUNNING",
      ticks: yield* ticks,
      haltReason: Option.map(requested, ({ detail, reason }) =>
        Option.getOrElse(reason, () => (detail === "" ? "asked for by a tick" : detail)),
      ),
      lastHaltReason,
      title: program.title ?? "Program",
      figures: yield* program.figures ?? Effect.succeed([]),
    } satisfies EngineStatus
  })
