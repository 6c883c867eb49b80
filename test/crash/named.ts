/**
 * A program on a guarded database that goes on after a failure: it writes numbered rows through the writer, one after the
 * other, and says how each ended, until standard input ends. `named.ts FILE thread|inline DURABILITY`.
 *
 * Lines: `ready`, `ack N MILLISECONDS`, `fail N MILLISECONDS WHY`, `closed`; the log goes to standard error. The exit code is 1 when a
 * write failed, as of a program that lets the failure through.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Deferred, Effect, Layer, Logger } from "effect"
import { Durability } from "../../src/sql/Durability.ts"
import { Writer } from "../../src/sql/Writer.ts"
import * as GuardedDatabase from "../../src/wal/GuardedDatabase.ts"
import { say } from "./say.ts"

const [, , file = "", checkpoints = "thread", durability = "durable"] = process.argv

/** Not those of the rows that were there before. */
const first = 1000

const program = Effect.gen(function* () {
  const writer = yield* Writer
  const stop = yield* Deferred.make<void>()
  process.stdin.resume().on("end", () => Deferred.doneUnsafe(stop, Effect.void))
  let next = first
  let failure: Error | undefined
  const write = Effect.gen(function* () {
    const n = next++
    yield* Effect.matchEffect(writer.execute("INSERT INTO t (n, text) VALUES (?, 'program')", [n]), {
      onFailure: (error) => {
        failure = error
        return Effect.suspend(() => say(`fail ${n} ${Date.now()} ${error.message.replaceAll("\n", " ")}`))
      },
      onSuccess: () => Effect.suspend(() => say(`ack ${n} ${Date.now()}`)),
    })
    yield* Effect.sleep("20 millis")
  })
  yield* say("ready")
  yield* Effect.raceFirst(Effect.forever(write), Deferred.await(stop))
  return yield* failure === undefined ? Effect.void : Effect.fail(failure)
})

const layers = GuardedDatabase.layer({
  filename: file,
  checkpoints: checkpoints === "inline" ? "inline" : "thread",
  durability: Durability.literals.find((it) => it === durability) ?? "durable",
  interval: "200 millis",
}).pipe(Layer.provideMerge(Logger.layer([Logger.withConsoleError(Logger.formatJson)])))
NodeRuntime.runMain(Effect.ensuring(Effect.provide(program, layers), say("closed")))
