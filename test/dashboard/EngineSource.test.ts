import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Option, Schema } from "effect"
import { EngineStatus } from "../../src/dashboard/Snapshot.ts"
import * as EngineSource from "../../src/dashboard/EngineSource.ts"
import * as Engine from "../../src/engine/Engine.ts"
import * as EngineProgram from "../../src/engine/EngineProgram.ts"
import * as EngineStatusOf from "../../src/engine/EngineStatus.ts"
import * as Halt from "../../src/engine/Halt.ts"

const tick = () => Effect.succeed(EngineProgram.noHalt)

/** What the dashboard shows of an engine in its third tick that runs this program. */
const watching = (program: Partial<EngineProgram.EngineProgram["Service"]>, lastHaltReason = Option.none<string>()) =>
  Layer.effect(
    Engine.Engine,
    Effect.map(Halt.Halt, (halt) => {
      const known = { sessionId: 7, ticks: Effect.succeed(3), lastHaltReason }
      return { ...known, status: EngineStatusOf.of({ ...known, halt, program: { tick, ...program } }) }
    }),
  ).pipe(Layer.provideMerge(Halt.layer))

/** As it is sent: what it is made of is checked on the way. */
const status = Effect.flatMap(Effect.flatten(EngineSource.inReach), Schema.encodeEffect(EngineStatus))

describe("what a dashboard shows of an engine", () => {
  it.effect("is its session, and the figures of its program under the title that it gives", () =>
    Effect.gen(function* () {
      expect(yield* status).toEqual({
        session_id: 7,
        status: "RUNNING",
        ticks: 3,
        halt_reason: null,
        last_halt_reason: "duration_elapsed",
        title: "Temperature",
        figures: [
          { name: "degrees", label: "degrees", value: 21.5, unit: "°C", is_gain: false },
          { name: "saved", label: "Saved", value: -2, unit: "kWh", is_gain: true },
        ],
      })
    }).pipe(
      Effect.provide(
        watching(
          {
            title: "Temperature",
            figures: Effect.succeed([
              { name: "degrees", value: 21.5, unit: "°C" },
              { name: "saved", label: "Saved", value: -2, unit: "kWh", isGain: true },
            ]),
          },
          Option.some("duration_elapsed"),
        ),
      ),
    ),
  )

  it.effect("says nothing of any trade when the program says nothing", () =>
    Effect.gen(function* () {
      expect(yield* status).toMatchObject({ title: "Program", figures: [], last_halt_reason: null })
    }).pipe(Effect.provide(watching({}))),
  )

  for (const [reason, detail, shown] of [
    [Option.some("interrupted_sigint" as const), "", "interrupted_sigint"],
    [Option.none(), "too hot", "too hot"],
    [Option.none(), "", "asked for by a tick"],
  ] as const) {
    it.effect(`is that it halts, and why: ${shown}`, () =>
      Effect.gen(function* () {
        const now = yield* EngineSource.inReach
        expect((yield* now).status).toBe("RUNNING")
        yield* Halt.Halt.use((halt) => halt.request({ reason, detail }))
        expect(yield* now).toMatchObject({ status: "HALTING", halt_reason: shown })
      }).pipe(Effect.provide(watching({}))),
    )
  }
})
