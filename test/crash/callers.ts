/**
 * Callers that go on after a failure: eight fibers write numbered rows through the writer, say how each write ended, and
 * stop when standard input ends. `callers.ts FILE DURABILITY AFTER_FAILED_SYNC`.
 *
 * Lines: `ready`, `ack N`, `fail N TAG REASON`, `closed`. A defect is none of these: it ends the process.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Deferred, Effect, Layer, Logger } from "effect"
import { Durability } from "../../src/sql/Durability.ts"
import { reasonOf } from "../../src/sqlite/NativeError.ts"
import { Writer } from "../../src/sql/Writer.ts"
import { say } from "./say.ts"
import * as GuardedDatabase from "../../src/wal/GuardedDatabase.ts"

const [, , file = "", durability = "durable", afterFailedSync = "refuse"] = process.argv
const callers = 8

const program = Effect.gen(function* () {
  const writer = yield* Writer
  const stop = yield* Deferred.make<void>()
  process.stdin.resume().on("end", () => Deferred.doneUnsafe(stop, Effect.void))
  let next = 1
  const caller = Effect.gen(function* () {
    const n = next++
    yield* writer.execute("INSERT INTO t (n, text) VALUES (?, ?)", [n, "x".repeat(100)]).pipe(
      Effect.matchEffect({
        onFailure: (error) =>
          say(`fail ${n} ${error._tag} ${error._tag === "SqlError" ? reasonOf(error) : error.reason}`),
        onSuccess: () => say(`ack ${n}`),
      }),
    )
    yield* Effect.sleep("2 millis")
  })
  yield* say("ready")
  const working = Effect.all(
    Array.from({ length: callers }, () => Effect.forever(caller)),
    { concurrency: "unbounded" },
  )
  yield* Effect.raceFirst(working, Deferred.await(stop))
})

const layers = GuardedDatabase.layer({
  filename: file,
  durability: Durability.literals.find((it) => it === durability) ?? "durable",
  afterFailedSync: afterFailedSync === "resume" ? "resume" : "refuse",
  interval: "50 millis",
  maxFrames: 200,
}).pipe(Layer.provideMerge(Logger.layer([Logger.consoleLogFmt])))
NodeRuntime.runMain(Effect.andThen(Effect.provide(program, layers), say("closed")))
