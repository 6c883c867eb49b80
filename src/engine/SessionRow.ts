/**
 * The row of a session, from its opening to its end.
 *
 * Closes in this order, each step attempted whatever happened before it: final `halt.reason` -> the row -> `engine_status =
 * HALTED`. Each waits for a busy database, and nothing that a program gives at its end keeps the row open (`Ending`).
 * Once the lease is lost nothing is written: the next leader ends the row.
 */
import { Effect, Exit, Fiber, Option, References } from "effect"
import * as Lease from "../lease/Lease.ts"
import * as Shutdown from "../shutdown/Shutdown.ts"
import { ofSeawall } from "../sqlite/DatabaseName.ts"
import { finite } from "../state/Finite.ts"
import type { StateError } from "../state/StateError.ts"
import { engineStatusKey, haltDetailKey, haltReasonKey } from "../state/StateKeys.ts"
import * as StateManager from "../state/StateManager.ts"
import * as Ending from "./Ending.ts"
import * as EngineProgram from "./EngineProgram.ts"
import * as Halt from "./Halt.ts"
import * as HaltReason from "./HaltReason.ts"

/** What its end has to know. */
interface SessionFacts {
  readonly parentSessionId: Option.Option<number>
  /** Whether it came to RUNNING. */
  readonly running: Effect.Effect<boolean>
  readonly ticks: Effect.Effect<number>
}

const reasonStep = "halt.reason"
const rowStep = "close session"
const statusStep = "engine_status HALTED"

type Patience = Effect.Success<typeof Ending.patience>

/** A step of the end that writes with the reason that is stored. */
const closingStep = <E, R>(name: string, step: (haltReason: string) => Effect.Effect<void, E, R>) =>
  Effect.addFinalizer(() =>
    Effect.gen(function* () {
      const halt = yield* Halt.Halt
      const reason = Option.getOrElse(yield* halt.settled, () => "unexpected_halt")
      if (!Ending.isLost(yield* halt.requested)) yield* Shutdown.step(name, step(reason))
    }).pipe(Shutdown.contained(name), ofSeawall),
  )

/** Figures that the row of a session cannot have are none. */
const worth = Effect.flatMap(EngineProgram.EngineProgram, (program) =>
  Effect.tap(program.worth ?? Effect.succeedNone, (known) =>
    Effect.forEach(Option.toArray(known), ({ ending, starting }) => finite({ starting, ending })),
  ),
)

/** Stores why it ended: what was asked for or went wrong, else what a tick has stored. */
const settleReason = Effect.fnUntraced(function* (
  session: Effect.Effect<number, StateError>,
  facts: SessionFacts,
  exit: Exit.Exit<unknown, unknown>,
) {
  const state = yield* StateManager.StateManager
  const halt = yield* Halt.Halt
  const requested = yield* halt.requested
  const isRunning = yield* facts.running
  const explicit = Halt.explicitReason(requested, exit, isRunning ? "unhandled_exception" : "startup_failure")
  const stored = Option.isSome(explicit) ? Option.none() : yield* state.get(haltReasonKey)
  const reason = HaltReason.resolve(explicit, stored)
  yield* halt.settle(reason)
  if (!Ending.isLost(requested))
    yield* state.setMany({
      [haltReasonKey]: reason,
      ...(Option.isSome(explicit) ? { [haltDetailKey]: Ending.detailOf(requested, exit) } : {}),
      ...(isRunning ? {} : { [engineStatusKey]: "HALTED" }),
    })
  const end = { session_id: Option.getOrNull(yield* Effect.option(session)), ticks: yield* facts.ticks }
  yield* Effect.flatMap(Shutdown.Shutdown, (shutdown) => shutdown.note(end))
  yield* Effect.annotateLogs(Effect.logInfo("engine halted"), { ...end, halt_reason: reason })
})

/** Registered in the reverse of the order in which they run. */
const closing = Effect.fnUntraced(function* (
  session: Effect.Effect<number, StateError>,
  facts: SessionFacts,
  patience: Patience,
) {
  const state = yield* StateManager.StateManager
  /** What the program logs is its own, also inside a step of Seawall. */
  const asProgram = Effect.provideService(References.CurrentLogAnnotations, yield* References.CurrentLogAnnotations)
  yield* closingStep(statusStep, () => patience(statusStep)(state.set(engineStatusKey, "HALTED")))
  yield* closingStep(
    rowStep,
    Effect.fnUntraced(function* (haltReason) {
      const sessionId = yield* session
      const known = yield* Ending.given("session worth", asProgram(worth))
      yield* patience(rowStep)(state.closeSession({ sessionId, haltReason, worth: known }))
    }),
  )
  yield* Effect.addFinalizer((exit) =>
    Shutdown.step(reasonStep, patience(reasonStep)(settleReason(session, facts, exit))).pipe(
      Shutdown.contained(reasonStep),
      ofSeawall,
    ),
  )
})

/** Opens it, until the scope closes. Succeeds with its number. */
export const open = Effect.fnUntraced(function* (facts: SessionFacts) {
  const state = yield* StateManager.StateManager
  const epoch = Option.flatMap(yield* Effect.serviceOption(Lease.Lease), (own) => own.epoch)
  const patience = yield* Ending.patience
  return yield* Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const opening = yield* Effect.forkDetach(state.openSession({ parentSessionId: facts.parentSessionId, epoch }))
      const opened = yield* Effect.exit(restore(Fiber.join(opening)))
      // A caller interrupted here no longer waits, but the row may be on its way: it is closed like any other.
      if (Exit.isSuccess(opened) || Exit.hasInterrupts(opened)) {
        yield* closing(Fiber.join(opening), facts, patience)
      }
      return yield* opened
    }),
  )
})
