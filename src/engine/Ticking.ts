/**
 * The ticks of an `EngineProgram`, one after another, until one of them halts or fails.
 *
 * A tick that halts stores its reason first. A tick that fails asks to halt with `unhandled_exception`; when it failed because
 * another leads, the lease is lost.
 */
import { Cause, type Duration, Effect, Metric, Option, Ref, Schedule } from "effect"
import * as Lease from "../lease/Lease.ts"
import { ofSeawall } from "../sqlite/DatabaseName.ts"
import { reasonOf } from "../state/StateError.ts"
import { haltDetailKey, haltReasonKey } from "../state/StateKeys.ts"
import * as StateManager from "../state/StateManager.ts"
import * as EngineProgram from "./EngineProgram.ts"
import * as Halt from "./Halt.ts"
import * as HaltReason from "./HaltReason.ts"

const tickCount = Metric.counter("seawall_engine_ticks_total", { description: "Ticks that ended", incremental: true })

/** Stores why a program halts, and asks for it. */
const halting = Effect.fnUntraced(function* ({ detail, reason }: HaltReason.Halting, known: HaltReason.HaltReasons) {
  if (!HaltReason.isKnown(known, reason)) {
    yield* Effect.annotateLogs(ofSeawall(Effect.logWarning("halt reason unknown")), {
      halt_reason: reason,
      advice: "give the reasons of the program as EngineProgram.haltReasons",
    })
  }
  const state = yield* StateManager.StateManager
  yield* state.setMany({ [haltReasonKey]: reason, [haltDetailKey]: detail })
  yield* Effect.flatMap(Halt.Halt, (halt) => halt.request({ reason: Option.none(), detail }))
})

const failed = Effect.fnUntraced(function* (cause: Cause.Cause<unknown>) {
  const lease = yield* Effect.serviceOption(Lease.Lease)
  const failure = Cause.squash(cause)
  if (Option.isSome(lease) && Lease.isLoss(reasonOf(failure))) {
    return yield* lease.value.lose(failure instanceof Error ? failure.message : String(failure))
  }
  yield* ofSeawall(Effect.logError("tick failed", cause))
  const detail = Cause.prettyErrors(cause).map(({ message }) => message)
  const halt = yield* Halt.Halt
  yield* halt.request({ reason: Option.some("unhandled_exception"), detail: detail.join("; ") })
})

interface TickingOptions {
  readonly sessionId: number
  readonly interval: Duration.Duration
  /** Counts those that ended. */
  readonly ticks: Ref.Ref<number>
  readonly reasons: HaltReason.HaltReasons
}

export const loop = Effect.fnUntraced(function* ({ interval, reasons, sessionId, ticks }: TickingOptions) {
  const program = yield* EngineProgram.EngineProgram
  const tick = Effect.gen(function* () {
    const result = yield* program.tick(sessionId)
    yield* Ref.update(ticks, (n) => n + 1)
    yield* Metric.update(tickCount, 1)
    if (Option.isSome(result)) yield* halting(result.value, reasons)
    return Option.isSome(result)
  })
  yield* tick.pipe(
    Effect.repeat({ schedule: Schedule.spaced(interval), until: (halted) => halted }),
    // Being stopped is not caught here; an interruption that comes from inside the tick is, and is a failure like any.
    Effect.catchCause(failed),
  )
})
