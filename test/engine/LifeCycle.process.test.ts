/** Ends of a session in which another process takes part: that of the integrity check, and one that holds the lock. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Option, Scope } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Halt from "../../src/engine/Halt.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { foreignConnection } from "../support/ForeignReader.ts"
import { killed, lived, storedIn } from "../support/LifeCycle.ts"
import { writtenBefore } from "../support/StoredRows.ts"

describe("an end on a busy database", () => {
  it.live("names the process that holds the lock", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const shell = yield* Scope.make()
      const act = Effect.gen(function* () {
        const pid = yield* Scope.provide(foreignConnection(file, ["BEGIN IMMEDIATE"]), shell)
        yield* Effect.forkDetach(Effect.delay(Scope.close(shell, Exit.void), "500 millis"))
        yield* Halt.Halt.use((halt) =>
          halt.request({ reason: Option.some("interrupted_sigterm"), detail: String(pid) }),
        )
      })
      const ended = yield* lived({ file, engine: { busy_timeout_seconds: 0.01 }, act })
      const { detail: pid, reason, sessions, status } = storedIn(file)
      expect([reason, status, sessions[0]?.["ended"]]).toEqual(["interrupted_sigterm", "HALTED", 1])
      const [line, ...more] = ended.entries.filter(({ event }) => event === "database busy")
      expect([line?.fields["held_by"], more]).toEqual([expect.stringContaining(`(pid ${pid}, write)`), []])
      expect(ended.failedSteps).toEqual([])
    }),
  )
})

describe("a start that cannot be stored", () => {
  it.effect("because the file is no database leaves every byte of it", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      fs.writeFileSync(file, "no database".repeat(500))
      const ended = yield* lived({ file, engine: { integrity_check: "quick" } })
      expect([ended.wasBuilt, ended.settled, ended.exitCode]).toEqual([false, undefined, 65])
      expect(ended.returned).toContain("not a database")
      expect(fs.readFileSync(file, "utf8")).toBe("no database".repeat(500))
      expect(ended.sidecars).toEqual([])
    }),
  )

  it.effect("because the file is damaged leaves every byte of it", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* writtenBefore(file, `PRAGMA journal_mode = WAL; ${killed}`)
      const damaged = fs.readFileSync(file).fill(0x5a, 4096 + 8, 4096 + 4000)
      fs.writeFileSync(file, damaged)
      const ended = yield* lived({ file, engine: { integrity_check: "quick" } })
      expect([ended.wasBuilt, ended.settled]).toEqual([false, undefined])
      expect([ended.returned, ended.exitCode]).toEqual([expect.stringContaining("integrity"), 65])
      expect(fs.readFileSync(file).equals(damaged)).toBe(true)
    }),
  )
})

/** Waits for the first file of a backup that is being made. */
const backupBegins = (folder: string) =>
  Effect.callback<void>((resume) => {
    const watcher = fs.watch(folder, (_, name) => {
      if (name?.endsWith(".partial") === true) resume(Effect.void)
    })
    return Effect.sync(() => watcher.close())
  })

describe("a start that is halted while its backup is made", () => {
  it.live.each([
    ["crashed", undefined],
    ["recovering", 1],
  ] as const)("is stored in a %s session, below the guard that was never built", ([, parent]) =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* writtenBefore(file, killed)
      const ended = yield* lived({
        file,
        parentSessionId: Option.fromUndefinedOr(parent),
        engine: { backups: 1 },
        whileStarting: () =>
          Effect.andThen(
            backupBegins(path.dirname(file)),
            Halt.Halt.use((halt) => halt.request({ reason: Option.some("interrupted_sigint"), detail: "Ctrl+C" })),
          ),
      })
      expect([ended.returned, ended.wasBuilt]).toEqual(["halted", false])
      const { detail, reason, sessions, status } = storedIn(file)
      expect([reason, detail, status]).toEqual(["interrupted_sigint", "Ctrl+C", "HALTED"])
      expect(sessions.map(({ ended: end, reason: why }) => [end, why])).toEqual([[0, null]])
      expect([ended.alarms, ended.failedSteps, ended.sidecars]).toEqual([[], [], []])
    }),
  )
})
