/**
 * How a session ends, as a table: every place where a start can fail, in a fresh, a crashed and a recovering session, and every
 * way to end, each with what is stored, logged, left and returned.
 */
// @effect-diagnostics globalErrorInEffectFailure:off -- what a program fails with is its own
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Option } from "effect"
import * as fs from "node:fs"
import { TestClock } from "effect/testing"
import * as EngineProgram from "../../src/engine/EngineProgram.ts"
import * as Halt from "../../src/engine/Halt.ts"
import type { Halting } from "../../src/engine/HaltReason.ts"
import { paperHaltReasons } from "../../src/paper/PaperHaltReasons.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { killed, type LifeCycle, lived, type Program, storedIn } from "../support/LifeCycle.ts"
import { writtenBefore } from "../support/StoredRows.ts"

const { haltWith, token } = paperHaltReasons

const ask = (reason: Parameters<typeof token>[0], detail = "") =>
  Halt.Halt.use((halt) => halt.request({ reason: Option.some(token(reason)), detail }))

const program = (starting: Effect.Effect<unknown, unknown, Halt.Halt>): Program =>
  Layer.effect(EngineProgram.EngineProgram, Effect.as(starting, { tick: () => Effect.succeed(EngineProgram.noHalt) }))

/** Refuses a value of a state key, as a full disk or a broken trigger would. */
const refusing = (value: string, event: "INSERT" | "UPDATE") =>
  `CREATE TRIGGER refuse_${event} BEFORE ${event} ON engine_state WHEN new.value = '${value}'
   BEGIN SELECT RAISE(ABORT, 'refused'); END;`

interface FailingStart {
  /** Run on the file before the session. */
  readonly script?: string
  readonly options?: Partial<LifeCycle>
  readonly returned: string
  readonly stored: { readonly reason: string; readonly detail: string }
  /** How the row of the session is closed, where it got one. */
  readonly row?: string
  /** The first step of the close; default that which stores the reason. */
  readonly firstStep?: string
}

const table = `CREATE TABLE IF NOT EXISTS engine_state (key TEXT PRIMARY KEY, value TEXT NOT NULL DEFAULT '');`

const failed = (detail: string) => ({ reason: "startup_failure", detail })

/** Interrupts a start that waits in its program forever. */
const hanging = (then: (starting: Fiber.Fiber<unknown, unknown>) => Effect.Effect<unknown, never, Halt.Halt>) => {
  const reached = Deferred.makeUnsafe<void>()
  return {
    program: program(Effect.andThen(Deferred.succeed(reached, undefined), Effect.never)),
    whileStarting: (starting: Fiber.Fiber<unknown, unknown>) => Effect.andThen(Deferred.await(reached), then(starting)),
  }
}

const invariant = "expected strategy.requote_interval_seconds to equal engine.tick_interval_seconds (4), got 8"

/** Each is made for its test: what it waits for is its own. */
const failingStarts: Readonly<Record<string, () => FailingStart>> = {
  "the invariants of its configuration": () => ({
    options: { strategy: { requote_interval_seconds: 8 } },
    returned: `the configuration was refused:\n  ${invariant}`,
    stored: { reason: "config_mismatch", detail: invariant },
    firstStep: "drain writes",
  }),
  "storing the invariants that do not hold": () => ({
    script: table + refusing(invariant, "INSERT") + refusing(invariant, "UPDATE"),
    options: { strategy: { requote_interval_seconds: 8 } },
    returned: "setMany failed: refused",
    stored: failed("setMany failed: refused"),
  }),
  "a program that fails": () => ({
    options: { program: program(Effect.fail(new Error("no such market"))) },
    returned: "no such market",
    stored: failed("no such market"),
  }),
  "a program that fails with a text": () => ({
    options: { program: program(Effect.fail("no such market")) },
    returned: "no such market",
    stored: failed("no such market"),
  }),
  "a program that dies": () => ({
    options: { program: program(Effect.die(new Error("no such thing"))) },
    returned: "no such thing",
    stored: failed("no such thing"),
  }),
  "a program that fails in two places at once": () => ({
    options: {
      program: program(
        Effect.all([Effect.fail(new Error("first")), Effect.ensuring(Effect.never, Effect.die(new Error("second")))], {
          concurrency: "unbounded",
        }),
      ),
    },
    returned: "first",
    stored: failed("first"),
  }),
  "a signal while its program starts": () => ({
    options: hanging(() => ask("interrupted_sigterm", "SIGTERM of pid 1")),
    returned: "halted",
    stored: { reason: "interrupted_sigterm", detail: "SIGTERM of pid 1" },
  }),
  "an interruption while its program starts": () => ({
    options: hanging(Fiber.interrupt),
    returned: "interrupted",
    stored: { reason: "interrupted_other", detail: "" },
  }),
  "a program that asks to halt and then fails": () => ({
    options: {
      program: program(Effect.andThen(ask("risk_gateway_unhealthy", "no gateway"), Effect.fail(new Error("closed")))),
    },
    returned: "halted",
    stored: { reason: "risk_gateway_unhealthy", detail: "no gateway" },
  }),
  "the row of its session": () => ({
    script: `CREATE TABLE IF NOT EXISTS sessions (session_id INTEGER PRIMARY KEY AUTOINCREMENT, started_at TEXT NOT NULL DEFAULT '');
      CREATE TRIGGER no_row BEFORE INSERT ON sessions BEGIN SELECT RAISE(ABORT, 'no more rows'); END;`,
    returned: "openSession failed: no more rows",
    stored: failed("openSession failed: no more rows"),
  }),
  "RUNNING, with the row of its session open": () => ({
    script: table + refusing("RUNNING", "INSERT") + refusing("RUNNING", "UPDATE"),
    returned: "set failed: refused",
    stored: failed("set failed: refused"),
    row: "startup_failure",
  }),
}

const row = (id: number, reason: string | null, worth: { starting: number; ending: number } | null = null) => ({
  id,
  ended: reason === null ? 0 : 1,
  reason,
  starting: worth?.starting ?? null,
  ending: worth?.ending ?? null,
})

const worth = { starting: 100, ending: 107 }

const sessionKinds = [
  ["fresh", "", undefined],
  ["crashed", killed, undefined],
  ["recovering", killed, 1],
] as const

describe("a start that fails at", () => {
  for (const [place, make] of Object.entries(failingStarts)) {
    for (const [kind, before, parent] of sessionKinds) {
      it.effect(`${place} is stored in a ${kind} session, and nothing is left RUNNING`, () =>
        Effect.gen(function* () {
          const { firstStep = "halt.reason", options, returned, ...start } = make()
          const { row: own, script = "", stored } = start
          const file = yield* TemporaryDatabase.file
          yield* writtenBefore(file, before + script)
          const ended = yield* lived({ file, parentSessionId: Option.fromUndefinedOr(parent), ...options })
          expect([ended.returned, ended.wasBuilt]).toEqual([returned, false])
          const earlier = before === "" ? [] : [row(1, null)]
          const rows = own === undefined ? [] : [row(earlier.length + 1, own, worth)]
          expect(storedIn(file)).toEqual({ ...stored, status: "HALTED", sessions: [...earlier, ...rows] })
          expect(ended.settled).toBe(stored.reason)
          expect([ended.alarms, ended.failedSteps]).toEqual([[], []])
          expect(ended.entries.map(({ event }) => event)).not.toContain("engine running")
          // Before the guard ends, whose end closes the `Writer`.
          expect([ended.steps[0], ended.steps.at(-1)]).toEqual([firstStep, "release lease"])
          expect(ended.entries.find(({ event }) => event === "shutdown step failed")).toBeUndefined()
          expect(ended.sidecars).toEqual([])
        }),
      )
    }
  }
})

/** What is refused before anything of a session may be stored: the log and the exit code are all there is. */
const unstorableStarts = {
  "a database of a later release": {
    script: `CREATE TABLE effect_sql_migrations (migration_id integer PRIMARY KEY NOT NULL, created_at datetime, name VARCHAR(255));
      INSERT INTO effect_sql_migrations VALUES (9999, '', 'later');`,
    returned: "schema failed: written by a later version of Seawall (schema 9999, this one knows 4): use that version",
  },
  "a table of another program": {
    script: "CREATE TABLE capital_events (event_id TEXT)",
    returned:
      "schema failed: the table capital_events is not Seawall's: it lacks the column id; nothing was changed: use another file",
  },
}

describe("a start that cannot be stored", () => {
  for (const [place, { returned, script }] of Object.entries(unstorableStarts)) {
    for (const [kind, before, parent] of sessionKinds) {
      it.effect(`at ${place}, in a ${kind} session, says why, and changes nothing`, () =>
        Effect.gen(function* () {
          const file = yield* TemporaryDatabase.file
          yield* writtenBefore(file, before + script)
          const left = storedIn(file)
          const ended = yield* lived({ file, parentSessionId: Option.fromUndefinedOr(parent) })
          expect([ended.returned, ended.exitCode, ended.wasBuilt]).toEqual([returned, 1, false])
          // The start says why, and there is no place of ours to store it in.
          expect([ended.settled, ended.alarms, ended.failedSteps]).toEqual(["startup_failure", [], []])
          expect(storedIn(file)).toEqual(left)
          expect(ended.sidecars).toEqual([])
        }),
      )
    }
  }

  it.effect("because the parent session is none of the database keeps what belongs to the one that was meant", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* writtenBefore(file, killed)
      const left = storedIn(file)
      const ended = yield* lived({ file, parentSessionId: Option.some(2) })
      expect(ended.returned).toContain("expected the parent session to be one of this database (1 to 1), got 2")
      expect(ended.exitCode).toBe(78)
      expect([ended.settled, ended.alarms, storedIn(file)]).toEqual(["config_mismatch", [], left])
    }),
  )

  it.effect("because the file is no database leaves every byte of it", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      fs.writeFileSync(file, "no database".repeat(500))
      const ended = yield* lived({ file, engine: { integrity_check: "off" } })
      expect([ended.wasBuilt, ended.settled]).toEqual([false, undefined])
      expect(ended.returned).toContain("not a database")
      expect(ended.exitCode).toBe(1)
      expect(fs.readFileSync(file, "utf8")).toBe("no database".repeat(500))
      expect(ended.sidecars).toEqual([])
    }),
  )
})

interface End {
  readonly options: Omit<LifeCycle, "file">
  readonly returned?: string
  readonly reason: string
  readonly detail?: string
  readonly worth?: typeof worth | null
  readonly alarms?: ReadonlyArray<string>
  readonly failedSteps?: ReadonlyArray<string>
}

const ticking = (tick: Effect.Effect<Option.Option<Halting>, unknown>): Program =>
  Layer.succeed(EngineProgram.EngineProgram, {
    tick: () => tick,
    worth: Effect.succeedSome(worth),
    haltReasons: paperHaltReasons,
  })

const leaving = (its: Effect.Effect<Option.Option<typeof worth>, unknown>): Omit<LifeCycle, "file"> => ({
  program: Layer.succeed(EngineProgram.EngineProgram, {
    tick: () => Effect.succeed(EngineProgram.noHalt),
    worth: its as Effect.Effect<Option.Option<typeof worth>>,
  }),
  act: ask("interrupted_sigint"),
})

const unknownWorth = {
  reason: "interrupted_sigint",
  worth: null,
  alarms: ["session worth unknown"],
  failedSteps: ["session worth"],
}

const ends: Readonly<Record<string, End>> = {
  "by its duration": {
    options: { engine: { duration_seconds: 30 }, act: TestClock.adjust("30 seconds") },
    reason: "duration_elapsed",
  },
  "by a signal": {
    options: { act: ask("interrupted_sigterm", "SIGTERM") },
    reason: "interrupted_sigterm",
    detail: "SIGTERM",
  },
  "by a tick that decides to": {
    options: { program: ticking(Effect.succeed(haltWith("risk_stale_ledger", "12 ledgers behind"))) },
    reason: "risk_stale_ledger",
    detail: "12 ledgers behind",
  },
  "by a tick that fails": {
    options: { program: ticking(Effect.fail(new Error("no such ledger"))) },
    reason: "unhandled_exception",
    detail: "no such ledger",
    alarms: ["tick failed"],
  },
  "by a tick that dies": {
    options: { program: ticking(Effect.die(new Error("no such ledger"))) },
    reason: "unhandled_exception",
    detail: "no such ledger",
    alarms: ["tick failed"],
  },
  "by a failure beside it in its scope": {
    options: { act: Effect.fail(new Error("no route")) },
    returned: "no route",
    reason: "unhandled_exception",
    detail: "no route",
  },
  "by a defect beside it in its scope": {
    options: { act: Effect.die(new Error("no route")) },
    returned: "no route",
    reason: "unhandled_exception",
    detail: "no route",
  },
  "by an interruption that was not asked for": {
    options: { act: Effect.interrupt },
    returned: "interrupted",
    reason: "interrupted_other",
  },
  "with a worth that is not known yet": {
    options: leaving(Effect.succeedNone),
    reason: "interrupted_sigint",
    worth: null,
  },
  "with a worth that fails": { options: leaving(Effect.fail("no price")), ...unknownWorth },
  "with a worth that dies": { options: leaving(Effect.die(new Error("no price"))), ...unknownWorth },
  "with a worth that interrupts itself": { options: leaving(Effect.interrupt), ...unknownWorth },
  "with a worth that is no answer": { options: leaving(Effect.succeed(null as never)), ...unknownWorth },
  "with a worth that is not finite": {
    options: leaving(Effect.succeedSome({ starting: 100, ending: Number.NaN })),
    ...unknownWorth,
  },
}

describe("a session that ends", () => {
  for (const [way, end] of Object.entries(ends)) {
    for (const [kind, before, parent] of sessionKinds) {
      it.effect(`${way}, ${kind}, is stored as a whole, and leaves one file`, () =>
        Effect.gen(function* () {
          const { alarms = [], detail = "", failedSteps = [], options, reason, returned = "halted" } = end
          const file = yield* TemporaryDatabase.file
          yield* writtenBefore(file, before)
          const ended = yield* lived({ file, parentSessionId: Option.fromUndefinedOr(parent), ...options })
          expect([ended.returned, ended.wasBuilt]).toEqual([returned, true])
          const earlier = before === "" ? [] : [row(1, null)]
          const own = row(earlier.length + 1, reason, end.worth === undefined ? worth : end.worth)
          expect(storedIn(file)).toEqual({ reason, detail, status: "HALTED", sessions: [...earlier, own] })
          expect(ended.settled).toBe(reason)
          expect(ended.alarms).toEqual(alarms)
          expect(ended.failedSteps).toEqual(failedSteps)
          expect(ended.steps).toEqual([
            "stop ticking",
            "halt.reason",
            "close session",
            "engine_status HALTED",
            "stop wal_checkpoint loop",
            "drain writes",
            "wal_checkpoint truncate",
            "restore autocheckpoint",
            "close database",
            "release lease",
          ])
          expect(ended.sidecars).toEqual([])
        }),
      )
    }
  }

  it.effect("with a worth that does not end closes its row after half of what is left of the budget", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const reached = yield* Deferred.make<void>()
      const options = leaving(
        Effect.uninterruptible(Effect.andThen(Deferred.succeed(reached, undefined), Effect.never)),
      )
      const living = yield* Effect.forkChild(lived({ file, ...options }))
      yield* Deferred.await(reached)
      yield* TestClock.adjust("4999 millis")
      expect(living.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust("1 millis")
      const ended = yield* Fiber.join(living)
      expect(storedIn(file).sessions).toEqual([row(1, "interrupted_sigint")])
      expect([ended.alarms, ended.failedSteps]).toEqual([["session worth unknown"], ["session worth"]])
      const line = ended.entries.find(({ event }) => event === "session worth unknown")
      expect(line?.cause).toContain("it did not end within 5 s")
    }),
  )
})
