/**
 * What an engine does: the seam between the life cycle and the work. One service, provided above `StateManager`.
 */
import { Context, type Effect, Option } from "effect"
import type * as StateManager from "../state/StateManager.ts"
import type { HaltReason, HaltReasons, Halting } from "./HaltReason.ts"

/** One figure of the running program; the dashboard shows it. */
export interface Figure {
  /** What programs that read `/api/status` know it by. */
  readonly name: string
  /** What people read; default its name. */
  readonly label?: string
  readonly value: number
  /** Empty for a plain number. */
  readonly unit: string
  /** Whether it is a gain, good above 0 and bad below; default no. */
  readonly isGain?: boolean
}

/** None: go on. Some: halt, with the token and free text that are stored for the operator. */
export type TickResult = Option.Option<Halting>

/** The answer of a tick after which the next one comes. */
export const noHalt: TickResult = Option.none()

/** The answer of a tick that is the last one, with a reason of the life cycle. `HaltReason.define` has it for a program's own. */
export const haltWith = (reason: HaltReason, detail: string): TickResult => Option.some({ reason, detail })

/** The work of an engine, written by the user of Seawall. */
export class EngineProgram extends Context.Service<
  EngineProgram,
  {
    /**
     * One tick of the session. A failure or a defect ends the engine with `unhandled_exception`. At the end of the
     * session it is interrupted, and waited for with half of what is left of the shutdown budget.
     */
    readonly tick: (sessionId: number) => Effect.Effect<TickResult, unknown>
    /** What the session was worth at its start and is now, if that is known yet: asked at the end, for its row. Default unknown. */
    readonly worth?: Effect.Effect<Option.Option<StateManager.Worth>>
    /** What an operator of the program wants to see, from memory: it is asked every second. */
    readonly figures?: Effect.Effect<ReadonlyArray<Figure>>
    /** What stands above them, as in "Paper balances"; default "Program". */
    readonly title?: string
    /** The reasons that its ticks halt with, from `HaltReason.define`; default those of the life cycle alone. */
    readonly haltReasons?: HaltReasons
  }
>()("seawall/engine/EngineProgram") {}
