/** A whole session in virtual time, on a file that is looked at afterwards: what it returned, logged, stored and left. */
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Option } from "effect"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import type { EngineConfig } from "../../src/engine/EngineConfig.ts"
import * as EngineProgram from "../../src/engine/EngineProgram.ts"
import * as Halt from "../../src/engine/Halt.ts"
import * as Main from "../../src/engine/Main.ts"
import * as Session from "../../src/engine/Session.ts"
import { PaperConfig } from "../../src/paper/PaperConfig.ts"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import type * as StateManager from "../../src/state/StateManager.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"

export type Program = Layer.Layer<EngineProgram.EngineProgram, unknown, StateManager.StateManager | Halt.Halt>

/** A program whose ticks do nothing, with a worth. */
export const quiet: Program = Layer.succeed(EngineProgram.EngineProgram, {
  tick: () => Effect.succeed(EngineProgram.noHalt),
  worth: Effect.succeedSome({ starting: 100, ending: 107 }),
})

export interface LifeCycle {
  readonly file: string
  readonly parentSessionId?: Option.Option<number>
  readonly program?: Program
  readonly engine?: Partial<EngineConfig["engine"]>
  readonly strategy?: Partial<PaperConfig["strategy"]>
  /** Once it is built: what happens then; with the services of the session below the engine. */
  readonly act?: Effect.Effect<unknown, unknown, StateManager.StateManager | Halt.Halt>
  /** Gets what is logged, while it is logged. */
  readonly log?: Deferred.Deferred<ReadonlyArray<LogCapture.Entry>>
  /** While it is starting, from outside. */
  readonly whileStarting?: (starting: Fiber.Fiber<unknown, unknown>) => Effect.Effect<unknown, never, Halt.Halt>
}

const halted = Effect.flatMap(Halt.Halt, ({ awaitRequest }) => awaitRequest)

/** What is stored in a file that no engine has open. */
export const storedIn = (file: string) => {
  const database = new DatabaseSync(file, { readOnly: true })
  const has = (table: string) =>
    database.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").get(table) !== undefined
  const state = has("engine_state") ? database.prepare("SELECT key, value FROM engine_state").all() : []
  const sessions = has("sessions")
    ? database
        .prepare(
          `SELECT session_id AS id, ended_at IS NOT NULL AS ended, halt_reason AS reason, starting_value_rlusd AS starting,
           ending_value_rlusd AS ending FROM sessions ORDER BY session_id`,
        )
        .all()
    : []
  database.close()
  const value = (key: string) => String(state.find((row) => row["key"] === key)?.["value"] ?? "")
  return {
    reason: value("halt.reason"),
    detail: value("halt.detail"),
    status: value("engine_status"),
    sessions: sessions.map((row) => ({ ...row })),
  }
}

/** Runs it as `seawall run` does: until it fails or is asked to halt. */
export const lived = Effect.fnUntraced(function* (options: LifeCycle) {
  const { act = Effect.void, file, parentSessionId = Option.none(), program = quiet, whileStarting } = options
  const config = yield* PaperConfig.load({
    source: "test",
    yaml: "",
    overrides: {
      engine: { database: file, wal_checkpoint_thread: false, integrity_check: "off", backups: 0, ...options.engine },
      strategy: options.strategy ?? {},
    },
  })
  const foundation = yield* Layer.build(
    Layer.mergeAll(Halt.layer, Shutdown.layer()).pipe(
      Layer.provideMerge(LogCapture.layer),
      Layer.provideMerge(TemporaryDatabase.quickDisk),
    ),
  )
  return yield* Effect.gen(function* () {
    const halt = yield* Halt.Halt
    const { entries } = yield* LogCapture.LogCapture
    if (options.log !== undefined) yield* Deferred.succeed(options.log, entries)
    const isBuilt = yield* Deferred.make<void>()
    const running = Effect.gen(function* () {
      // The program may ask to halt; the layer of a session gives it the `StateManager` alone.
      const its = Layer.provide(program, Layer.succeed(Halt.Halt, halt))
      const context = yield* Layer.build(
        Session.layer({ config, invariants: PaperConfig.invariants, parentSessionId, program: its }),
      )
      yield* Deferred.succeed(isBuilt, undefined)
      yield* Effect.provideContext(act, context)
      return yield* Effect.never
    })
    const session = yield* Effect.forkChild(Effect.scoped(Effect.raceFirst(running, halted)), {
      startImmediately: true,
    })
    if (whileStarting !== undefined) yield* whileStarting(session)
    const exit = yield* Fiber.await(session)
    return {
      /** The message of its failure; `halted`, or `interrupted`. */
      returned: Exit.match(exit, {
        onSuccess: () => "halted",
        onFailure: (cause) =>
          Cause.hasInterruptsOnly(cause) ? "interrupted" : (Cause.prettyErrors(cause)[0]?.message ?? ""),
      }),
      /** What the process of such a failure ends with; 0 without one. */
      exitCode: Exit.isFailure(exit) ? Main.exitCodeOf(Cause.squash(exit.cause)) : 0,
      wasBuilt: yield* Deferred.isDone(isBuilt),
      settled: Option.getOrUndefined(yield* halt.settled),
      failedSteps: yield* Shutdown.Shutdown.use(({ failures }) => failures),
      entries,
      /** The lines that are WARN or worse. */
      alarms: entries.filter(({ level }) => ["Warn", "Error", "Fatal"].includes(level)).map(({ event }) => event),
      steps: entries.filter(({ event }) => event === "shutdown step").map(({ fields }) => fields["step"]),
      sidecars: ["-wal", "-shm", "-lease"].filter((suffix) => fs.existsSync(`${file}${suffix}`)),
    }
  }).pipe(Effect.provideContext(foundation))
}, Effect.scoped)

/** What a session leaves that was killed, after an operator had stopped the one before it. */
export const killed = `
  CREATE TABLE engine_state (key TEXT PRIMARY KEY, value TEXT NOT NULL DEFAULT '');
  INSERT INTO engine_state VALUES ('engine_status', 'RUNNING'), ('halt.reason', 'kill_switch'), ('halt.detail', 'by hand');
  CREATE TABLE sessions (session_id INTEGER PRIMARY KEY AUTOINCREMENT, started_at TEXT NOT NULL DEFAULT '', ended_at TEXT,
    halt_reason TEXT, starting_value_rlusd REAL, ending_value_rlusd REAL);
  INSERT INTO sessions (session_id, started_at) VALUES (1, '2026-01-01T00:00:00.000Z');`
