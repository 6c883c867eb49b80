/** A guard on a scripted checkpointer, in virtual time. */
import { Duration, Effect, Exit, Layer, Ref, Scope } from "effect"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import * as WalGuard from "../../src/wal/WalGuard.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as ScriptedCheckpointer from "../../src/testing/ScriptedCheckpointer.ts"

/** A guard on a scripted checkpointer; its WAL and its recording are seen by the test. */
export const guarded = (options: WalGuard.WalGuardOptions, script?: ScriptedCheckpointer.Script) =>
  WalGuard.layer(options).pipe(
    Layer.provideMerge(ScriptedCheckpointer.layer(script)),
    Layer.provideMerge(TemporaryDatabase.layer()),
    Layer.provideMerge(Shutdown.layer()),
    Layer.provideMerge(LogCapture.layer),
  )

export const minute: WalGuard.WalGuardOptions = { interval: "60 seconds" }

/** The script of a disk that is slow with PASSIVE; the TRUNCATE at the end of a test takes no time. */
export const slow =
  (takes: Duration.Input): ScriptedCheckpointer.Script =>
  (_, mode) =>
    mode === "PASSIVE" ? { takes } : {}

export const recording = Effect.flatMap(ScriptedCheckpointer.Recording, Ref.get)
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
