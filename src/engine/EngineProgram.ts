/**
 * What an engine does: the seam between the life cycle and the work. One service, provided above `StateManager`.
 */
import { Context, type Effect, Option } from "effect"
import type { Worth } from "../state/StateManager.ts"
import type { HaltReason } from "./HaltReason.ts"

/** One figure of the running program, by its name; the dashboard shows it. */
export interface Figure {
  readonly name: string
  readonly value: number
  /** Empty for a plain number. */
  readonly unit: string
}

/** None: go on. Some: halt, with the token and free text that are stored for the operator. */
export type TickResult = Option.Option<{ readonly reason: HaltReason; readonly detail: string }>

/** The answer of a tick after which the next one comes. */
export const goOn: TickResult = Option.none()

/** The answer of a tick that is the last one. */
export const haltWith = (reason: HaltReason, detail: string): TickResult => Option.some({ reason, detail })

/** The work of an engine; whoever uses Seawall writes it. */
export class EngineProgram extends Context.Service<
  EngineProgram,
  {
    /**
     * One tick of the session. A failure or a defect ends the engine with `unhandled_exception`. At the end of the
     * session it is interrupted, and waited for with half of what is left of the shutdown budget.
     */
    readonly tick: (sessionId: number) => Effect.Effect<TickResult, unknown>
    /** What the session was worth at its start and is now, if that is known yet: asked at the end, for its row. Default unknown. */
    readonly worth?: Effect.Effect<Option.Option<Worth>>
    /** What somebody who watches the program wants to see, from memory: it is asked every second. */
    readonly figures?: Effect.Effect<ReadonlyArray<Figure>>
  }
>()("seawall/engine/EngineProgram") {}
