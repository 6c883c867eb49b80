/**
 * What an engine does: the seam between the life cycle and the work. One service, provided above `StateManager`.
 */
import { Context, type Effect, Option } from "effect"
import type { Worth } from "../state/StateManager.ts"
import type { HaltReason } from "./HaltReason.ts"

/** One figure of the running program, by its name. */
export interface Figure {
  readonly name: string
  readonly value: number
  /** Empty for a plain number. */
  readonly unit: string
}

/** None: go on. Some: halt, with the token and free text that are stored for the operator. */
export type TickResult = Option.Option<{ readonly reason: HaltReason; readonly detail: string }>

export const goOn: TickResult = Option.none()

export const haltWith = (reason: HaltReason, detail: string): TickResult => Option.some({ reason, detail })

export class EngineProgram extends Context.Service<
  EngineProgram,
  {
    /** One tick of the session. A failure or a defect ends the engine with `unhandled_exception`. */
    readonly tick: (sessionId: number) => Effect.Effect<TickResult, unknown>
    /** What the session was worth at its start and is now, if that is known yet: for the row of the session. */
    readonly worth: Effect.Effect<Option.Option<Worth>>
    /** What somebody who watches the program wants to see, from memory: it is asked every second. */
    readonly figures?: Effect.Effect<ReadonlyArray<Figure>>
  }
>()("seawall/engine/EngineProgram") {}
