/** Programs of a user, as texts: they are type-checked and run where the package was installed. */

/** A guarded program that writes, checkpoints, and says what became of its log. */
export const guarded = (checkpointer: string) => `import { Console, Effect, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import { Checkpointer, Database, WalGuard, Writer } from "seawall"

const Guarded = WalGuard.layer({ interval: "10 millis" }).pipe(
  Layer.provideMerge(${checkpointer}),
  Layer.provideMerge(Database.layer({ filename: "program.db" })),
)

await Effect.runPromise(
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const writer = yield* Writer.Writer
    const guard = yield* WalGuard.WalGuard
    yield* sql\`CREATE TABLE IF NOT EXISTS t (a)\`
    yield* writer.execute("INSERT INTO t VALUES (?)", [1])
    yield* Effect.sleep("10 millis").pipe(Effect.andThen(guard.last), Effect.repeat({ until: Option.isSome }))
    yield* Console.log("outcome", Option.getOrThrow(yield* guard.last).outcome)
  }).pipe(Effect.provide(Guarded)),
)
`

/** A test of a guarded program, in virtual time: what it shows took ten minutes there. */
export const tested = `import { Console, Effect, Layer, Ref } from "effect"
import { TestClock } from "effect/testing"
import { Shutdown, WalGuard } from "seawall"
import { LogCapture, ScriptedCheckpointer, TemporaryDatabase } from "seawall/testing"

const slow = ScriptedCheckpointer.layer((run) => (run === 1 ? { takes: "1 second" } : {}))

const Guarded = WalGuard.layer({ interval: "60 seconds" }).pipe(
  Layer.provideMerge(slow),
  Layer.provideMerge(TemporaryDatabase.layer()),
  Layer.provideMerge(Shutdown.layer()),
  Layer.provideMerge(LogCapture.layer),
)

await Effect.runPromise(
  Effect.gen(function* () {
    yield* TestClock.adjust("10 minutes")
    const starts = (yield* Effect.flatMap(ScriptedCheckpointer.Recording, Ref.get)).filter(({ what }) => what === "start")
    yield* Console.log("runs", starts.length, "slow", (yield* LogCapture.logged("wal_checkpoint slow")).length)
  }).pipe(Effect.provide(Guarded), Effect.provide(TestClock.layer())),
)
`

/** Two guarded databases in one program that ends in order on a signal. */
export const several = `import { Console, Context, Effect, Layer } from "effect"
import { GuardedDatabase, Shutdown, Writer } from "seawall"
import { Halt, Signals } from "seawall/engine"

class One extends Context.Service<One, typeof Writer.Writer.Service>()("app/One") {
  static readonly layer = Layer.effect(One, Writer.Writer).pipe(Layer.provide(GuardedDatabase.layer({ filename: "one.db" })))
}
class Two extends Context.Service<Two, typeof Writer.Writer.Service>()("app/Two") {
  static readonly layer = Layer.effect(Two, Writer.Writer).pipe(Layer.provide(GuardedDatabase.layer({ filename: "two.db" })))
}

const main = Effect.gen(function* () {
  for (const writer of [yield* One, yield* Two]) {
    yield* writer.execute("CREATE TABLE IF NOT EXISTS t (a)")
    yield* writer.execute("INSERT INTO t VALUES (?)", [1])
  }
  yield* Console.log("both are open")
  yield* Halt.Halt.use((halt) => halt.awaitRequest)
})

const life = Signals.layer.pipe(Layer.provideMerge(Halt.layer), Layer.provideMerge(Shutdown.layer()))

await Effect.runPromise(main.pipe(Effect.provide([One.layer, Two.layer]), Effect.provide(life)))
`
