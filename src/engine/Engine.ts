/**
 * The running engine: a session row, `engine_status = RUNNING`, and the tick loop of the `EngineProgram` in the context.
 *
 * Closes in this order, each step attempted whatever happened before it: stop ticking -> final `halt.reason` -> close
 * the session row -> `engine_status = HALTED`. Each of the last three waits for a busy database, and nothing that a program
 * gives at its end keeps its row open (`Ending`). Everything below (guard, database) closes after that.
 * It does not decide when to end: it asks through `Halt`, and the owner of the scope closes it.
 */
import { Cause, Context, Duration, Effect, Exit, Fiber, Layer, Metric, Option, Ref, References, Schedule } from "effect"
import * as Lease from "../lease/Lease.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import { ofSeawall } from "../sqlite/DatabaseName.ts"
import { engineStatusKey, haltDetailKey, haltReasonKey } from "../state/StateKeys.ts"
import { finite } from "../state/Finite.ts"
import * as StateManager from "../state/StateManager.ts"
import { reasonOf, type StateError } from "../state/StateError.ts"
import * as Ending from "./Ending.ts"
import * as EngineProgram from "./EngineProgram.ts"
import * as EngineStatus from "./EngineStatus.ts"
import * as OptionError from "../options/OptionError.ts"
import * as Halt from "./Halt.ts"
import * as HaltReason from "./HaltReason.ts"
import * as Main from "./Main.ts"

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

const tickCount = Metric.counter("seawall_engine_ticks_total", { description: "Ticks that ended", incremental: true })

/** Figures that the row of a session cannot have are none. */
const worthOf = ({ worth = Effect.succeedNone }: EngineProgram.EngineProgram["Service"]) =>
  Effect.tap(worth, (known) =>
    Effect.forEach(Option.toArray(known), ({ ending, starting }) => finite({ starting, ending })),
  )

const make = Effect.fnUntraced(function* (options: EngineOptions) {
  const tickInterval = yield* OptionError.interval("tickInterval", options.tickInterval)
  const duration = yield* OptionError.time("duration", options.duration)
  const state = yield* StateManager.StateManager
  const program = yield* EngineProgram.EngineProgram
  const halt = yield* Halt.Halt
  const shutdown = yield* Shutdown.Shutdown
  const lease = yield* Effect.serviceOption(Lease.Lease)
  const reasons = program.haltReasons ?? HaltReason.lifeCycle
  yield* halt.setReasons(reasons)
  const running = yield* Ref.make(false)
  const ticks = yield* Ref.make(0)
  /** What the program logs is its own, also inside a step of Seawall. */
  const asProgram = Effect.provideService(References.CurrentLogAnnotations, yield* References.CurrentLogAnnotations)

  const last = yield* Effect.orElseSucceed(state.lastSession, Option.none)
  const lastHaltReason = Option.flatMap(last, ({ haltReason }) => haltReason)

  // Registered in the reverse of the order in which they run.
  const patience = yield* Ending.patience
  const finalizer = (
    name: string,
    step: (reason: string, patient: ReturnType<typeof patience>) => Effect.Effect<void, StateError>,
  ) =>
    Effect.addFinalizer(() =>
      Effect.gen(function* () {
        const reason = Option.getOrElse(yield* halt.settled, () => "unexpected_halt")
        if (!Ending.isLost(yield* halt.requested)) yield* Shutdown.step(name, step(reason, patience(name)))
      }).pipe(Shutdown.contained(name), ofSeawall),
    )
  const closing = Effect.fnUntraced(function* (session: Effect.Effect<number, StateError>) {
    yield* finalizer("engine_status HALTED", (_, patient) => patient(state.set(engineStatusKey, "HALTED")))
    yield* finalizer("close session", (haltReason, patient) =>
      Effect.gen(function* () {
        const sessionId = yield* session
        const worth = yield* Ending.given("session worth", asProgram(worthOf(program)))
        yield* patient(state.closeSession({ sessionId, haltReason, worth }))
      }),
    )
    yield* Effect.addFinalizer((exit) =>
      Effect.gen(function* () {
        const requested = yield* halt.requested
        const isRunning = yield* Ref.get(running)
        const explicit = Halt.explicitReason(requested, exit, isRunning ? "unhandled_exception" : "startup_failure")
        yield* Shutdown.step(
          "halt.reason",
          Effect.gen(function* () {
            const stored = Option.isSome(explicit) ? Option.none() : yield* state.get(haltReasonKey)
            const reason = HaltReason.resolve(explicit, stored)
            yield* halt.settle(reason)
            if (!Ending.isLost(requested))
              yield* state.setMany({
                [haltReasonKey]: reason,
                ...(Option.isSome(explicit) ? { [haltDetailKey]: Ending.detailOf(requested, exit) } : {}),
                ...(isRunning ? {} : { [engineStatusKey]: "HALTED" }),
              })
            const end = {
              session_id: Option.getOrNull(yield* Effect.option(session)),
              ticks: yield* Ref.get(ticks),
            }
            yield* shutdown.note(end)
            yield* Effect.annotateLogs(Effect.logInfo("engine halted"), { ...end, halt_reason: reason })
          }).pipe(patience("halt.reason")),
        )
      }).pipe(Shutdown.contained("halt.reason"), ofSeawall),
    )
  })

  const sessionId = yield* Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const epoch = Option.flatMap(lease, (own) => own.epoch)
      const opening = yield* Effect.forkDetach(state.openSession({ parentSessionId: options.parentSessionId, epoch }))
      const opened = yield* Effect.exit(restore(Fiber.join(opening)))
      // A caller interrupted here no longer waits, but the row may be on its way: it is closed like any other.
      if (Exit.isSuccess(opened) || Exit.hasInterrupts(opened)) yield* closing(Fiber.join(opening))
      return yield* opened
    }),
  )

  const tick = Effect.gen(function* () {
    const result = yield* program.tick(sessionId)
    yield* Ref.update(ticks, (n) => n + 1)
    yield* Metric.update(tickCount, 1)
    if (Option.isNone(result)) return false
    const { reason, detail } = result.value
    if (!HaltReason.isKnown(reasons, reason)) {
      yield* Effect.annotateLogs(ofSeawall(Effect.logWarning("halt reason unknown")), {
        halt_reason: reason,
        advice: "give the reasons of the program as EngineProgram.haltReasons",
      })
    }
    yield* state.setMany({ [haltReasonKey]: reason, [haltDetailKey]: detail })
    yield* halt.request({ reason: Option.none(), detail })
    return true
  })
  const ticking = tick.pipe(
    Effect.repeat({ schedule: Schedule.spaced(tickInterval), until: (halted) => halted }),
    // Being stopped is not caught here; an interruption that comes from inside the tick is, and is a failure like any.
    Effect.catchCause(
      Effect.fnUntraced(function* (cause) {
        const failure = Cause.squash(cause)
        if (Option.isSome(lease) && Lease.isLoss(reasonOf(failure))) {
          return yield* lease.value.lose(failure instanceof Error ? failure.message : String(failure))
        }
        yield* ofSeawall(Effect.logError("tick failed", cause))
        const detail = Cause.prettyErrors(cause).map(({ message }) => message)
        yield* halt.request({ reason: Option.some("unhandled_exception"), detail: detail.join("; ") })
      }),
    ),
  )

  yield* state.set(engineStatusKey, "RUNNING")
  yield* Ref.set(running, true)
  yield* Effect.annotateLogs(ofSeawall(Effect.logInfo("engine running")), {
    session_id: sessionId,
    tick_interval_seconds: Duration.toSeconds(tickInterval),
    duration_seconds: Duration.toSeconds(duration),
  })
  const loop = yield* Effect.forkDetach(ticking)
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
