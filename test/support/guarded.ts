/** A guard on a scripted checkpointer, in virtual time. */
import { Duration, Effect, Exit, Layer, Ref, Scope } from "effect"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import { LatencyWindow } from "../../src/wal/LatencyWindow.ts"
import { WalGuard, type WalGuardOptions } from "../../src/wal/WalGuard.ts"
import { temporaryDatabase } from "../../src/testing/TemporaryDatabase.ts"
import { LogCapture } from "../../src/testing/LogCapture.ts"
import { Recording, type Script, scripted } from "../../src/testing/ScriptedCheckpointer.ts"

/** A guard on a scripted checkpointer; its log and its recording are seen by the test. */
export const guarded = (options: WalGuardOptions, script?: Script) =>
  WalGuard.layer(options).pipe(
    Layer.provideMerge(LatencyWindow.layer()),
    Layer.provideMerge(scripted(script)),
    Layer.provideMerge(temporaryDatabase()),
    Layer.provideMerge(Shutdown.layer()),
    Layer.provideMerge(LogCapture.layer),
  )

export const minute: WalGuardOptions = { interval: "60 seconds" }

/** The script of a disk that is slow with PASSIVE; the TRUNCATE at the end of a test takes no time. */
export const slow =
  (takes: Duration.Input): Script =>
  (_, mode) =>
    mode === "PASSIVE" ? { takes } : {}

export const recording = Effect.flatMap(Recording, Ref.get)
export const starts = Effect.map(recording, (all) =>
  all.filter(({ what }) => what === "start").map(({ seconds }) => seconds),
)

/** Builds the layer in a scope of its own, so that the test can close it and look at what was left behind. */
export const built = <A, E, R>(layer: Layer.Layer<A, E, R>) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const context = yield* Layer.buildWithScope(layer, scope)
    const inside = <B, F, Q>(self: Effect.Effect<B, F, Q>) => Effect.provideContext(self, context)
    return { inside, close: (exit: Exit.Exit<unknown, unknown> = Exit.void) => Scope.close(scope, exit) }
  })
