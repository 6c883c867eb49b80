/**
 * The running engine: a session row, `engine_status = RUNNING`, and the tick loop of the `EngineProgram` in the context.
 *
 * Closes in this order: stop ticking (`Ticking`) -> final `halt.reason`, the session row, `engine_status = HALTED`
 * (`SessionRow`). Everything below (guard, database) closes after that.
 * It does not decide when to end: it asks through `Halt`, and the owner of the scope closes it.
 */
import { Context, Duration, Effect, Fiber, Layer, Option, Ref } from "effect"
import * as Shutdown from "../shutdown/Shutdown.ts"
import { ofSeawall } from "../sqlite/DatabaseName.ts"
import type { StateError } from "../state/StateError.ts"
import { engineStatusKey } from "../state/StateKeys.ts"
import * as StateManager from "../state/StateManager.ts"
import * as EngineProgram from "./EngineProgram.ts"
import * as EngineStatus from "./EngineStatus.ts"
import * as OptionError from "../options/OptionError.ts"
import * as Halt from "./Halt.ts"
import * as HaltReason from "./HaltReason.ts"
import * as Main from "./Main.ts"
import * as SessionRow from "./SessionRow.ts"
import * as Ticking from "./Ticking.ts"

export type { EngineStatus } from "./EngineStatus.ts"
export type { MainOptions } from "./Main.ts"

/** The times of a session, and where it comes from; nothing has a default here (`EngineConfig` has them). */
export interface EngineOptions {
  /** Time from the end of one tick to the start of the next, at least 1 ms; the first comes at once, and no two overlap. 0 = no pause. */
  readonly tickInterval: Duration.Input
  /** The session ends by itself after this time; zero = never. */
  readonly duration: Duration.Input
  /** The session that this one recovers, if it does. */
  readonly parentSessionId: Option.Option<number>
}

/** The session that runs. */
export class Engine extends Context.Service<
  Engine,
  {
    /** The number of its row in `sessions`. */
    readonly sessionId: number
    /** How many ticks have ended, without those that failed. */
    readonly ticks: Effect.Effect<number>
    /** How the session before this one ended; none when there was none, or it ended without a word. */
    readonly lastHaltReason: Option.Option<string>
    /** What a dashboard or a health check of one's own shows, from memory: to be asked as often as one likes. */
    readonly status: Effect.Effect<EngineStatus.EngineStatus>
  }
>()("seawall/engine/Engine") {}

/**
 * Runs for the life of the layer. Fails when the session cannot be opened or RUNNING not be stored; a tick that fails
 * later is a request to halt with `unhandled_exception`.
 */
export const layer = (
  options: EngineOptions,
): Layer.Layer<
  Engine,
  StateError | OptionError.OptionError,
  StateManager.StateManager | EngineProgram.EngineProgram | Halt.Halt
> => Layer.effect(Engine, make(options))

/**
 * The main program of an engine, in one line: builds the session, waits until it is asked to halt, by a signal too, closes it
 * in order within one budget, and ends the process with the exit code of its halt reason (`Main.runMain`).
 */
export const runMain = Main.runMain

const make = Effect.fnUntraced(function* (options: EngineOptions) {
  const tickInterval = yield* OptionError.interval("tickInterval", options.tickInterval)
  const duration = yield* OptionError.time("duration", options.duration)
  const state = yield* StateManager.StateManager
  const program = yield* EngineProgram.EngineProgram
  const halt = yield* Halt.Halt
  const shutdown = yield* Shutdown.Shutdown
  const reasons = program.haltReasons ?? HaltReason.lifeCycle
  yield* halt.setReasons(reasons)
  const running = yield* Ref.make(false)
  const ticks = yield* Ref.make(0)

  const last = yield* Effect.orElseSucceed(state.lastSession, Option.none)
  const lastHaltReason = Option.flatMap(last, ({ haltReason }) => haltReason)
  const sessionId = yield* SessionRow.open({
    parentSessionId: options.parentSessionId,
    running: Ref.get(running),
    ticks: Ref.get(ticks),
  })

  yield* state.set(engineStatusKey, "RUNNING")
  yield* Ref.set(running, true)
  yield* Effect.annotateLogs(ofSeawall(Effect.logInfo("engine running")), {
    session_id: sessionId,
    tick_interval_seconds: Duration.toSeconds(tickInterval),
    duration_seconds: Duration.toSeconds(duration),
  })
  const loop = yield* Effect.forkDetach(Ticking.loop({ sessionId, interval: tickInterval, ticks, reasons }))
  // A tick that does not end leaves half of the time to those who write how the session ended.
  yield* Effect.addFinalizer(() =>
    Effect.flatMap(shutdown.remaining, (left) =>
      Shutdown.step("stop ticking", Fiber.interrupt(loop), { atMost: Duration.divideUnsafe(left, 2) }),
    ).pipe(ofSeawall),
  )
  if (Duration.isPositive(duration) && Duration.isFinite(duration)) {
    yield* halt
      .request({ reason: Option.some("duration_elapsed"), detail: "" })
      .pipe(Effect.delay(duration), Effect.forkScoped)
  }
  const known = { sessionId, ticks: Ref.get(ticks), lastHaltReason }
  return { ...known, status: EngineStatus.of({ ...known, halt, program }) }
})
