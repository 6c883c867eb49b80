/** The backups before a session and after its clean end. */
import { describe, expect, it } from "@effect/vitest"
import { type Duration, Effect, Exit, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import { execFileSync } from "node:child_process"
import * as Shutdown from "../../../src/shutdown/Shutdown.ts"
import * as Backup from "../../../src/sqlite/copies/Backup.ts"
import * as Database from "../../../src/sqlite/Database.ts"
import * as TemporaryDatabase from "../../../src/testing/TemporaryDatabase.ts"
import { list } from "../../support/files.ts"
import * as LogCapture from "../../../src/testing/LogCapture.ts"
import { insert, table } from "../../support/backups.ts"

describe("around a session", () => {
  const opened = Effect.fnUntraced(function* (
    file: string,
    { budget = "10 seconds" as Duration.Input, source = file, wanted = true } = {},
  ) {
    const scope = yield* Scope.make()
    const context = yield* Backup.aroundSession({ wanted: Effect.succeed(wanted) }).pipe(
      Layer.provideMerge(Backup.layer({ file: source })),
      Layer.provideMerge(Layer.provide(Database.layer({ filename: file }), TemporaryDatabase.quickDisk)),
      Layer.provideMerge(Shutdown.layer({ budget })),
      Layer.provideMerge(LogCapture.layer),
      Layer.buildWithScope(scope),
    )
    return {
      inside: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideContext(self, context),
      close: (exit: Exit.Exit<unknown, unknown> = Exit.void) => Scope.close(scope, exit),
    }
  })
  const kinds = (folder: string) =>
    Effect.map(list(folder), (names) => names.map((name) => name.replace(/\d{8}T\d{9}Z/, "stamp")).toSorted())

  it.live("there is one before and one after; nothing is made of a database that is empty", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const first = yield* opened(`${folder}/test.db`)
      yield* first.inside(table)
      expect((yield* kinds(folder)).filter((name) => name.includes("bak"))).toEqual([])
      yield* first.close()
      expect(yield* kinds(folder)).toEqual(["test.db", "test.db.post.stamp"])
      expect((yield* first.inside(LogCapture.steps)).slice(-3)).toEqual(["backup", "drain writes", "close database"])
      const second = yield* opened(`${folder}/test.db`)
      yield* second.close()
      expect(yield* kinds(folder)).toEqual(["test.db", "test.db.bak.stamp", "test.db.post.stamp", "test.db.post.stamp"])
    }),
  )

  it.live("the one after is left out when the end is not clean, or has no time for it", () =>
    Effect.gen(function* () {
      const reasonOf = Effect.fnUntraced(function* (
        options: { readonly wanted?: boolean },
        end: (at: Effect.Success<ReturnType<typeof opened>>) => Effect.Effect<unknown>,
      ) {
        const folder = yield* TemporaryDatabase.folder
        const at = yield* opened(`${folder}/test.db`, options)
        yield* at.inside(table)
        yield* end(at)
        expect(yield* kinds(folder)).toEqual(["test.db"])
        const [line] = yield* at.inside(LogCapture.logged("backup skipped"))
        return line?.fields["reason"]
      })
      expect(yield* reasonOf({}, ({ close }) => close(Exit.fail("no")))).toContain("did not end cleanly")
      expect(yield* reasonOf({ wanted: false }, ({ close }) => close())).toContain("after such an end")
      expect(
        yield* reasonOf({}, ({ close, inside }) =>
          Effect.andThen(inside(Shutdown.Shutdown.use(({ recordFailure }) => recordFailure("a step"))), close()),
        ),
      ).toContain("a step of the shutdown failed")
    }),
  )

  it.effect("the one after is left out when half of the budget is gone", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const { close, inside } = yield* opened(`${folder}/test.db`)
      yield* inside(table)
      yield* inside(Shutdown.Shutdown.use(({ begin }) => begin()))
      yield* TestClock.adjust("6 seconds")
      yield* close()
      expect((yield* inside(LogCapture.logged("backup skipped")))[0]?.fields["reason"]).toContain("less than half")
    }),
  )

  it.live("the one after that takes too long is called off with a WARNING, and the close has its time", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      execFileSync("mkfifo", [`${folder}/fifo`]) // a file that cannot be opened, because no process writes to it
      const { close, inside } = yield* opened(`${folder}/test.db`, { budget: "2 seconds", source: `${folder}/fifo` })
      yield* Effect.andThen(inside(table), close())
      const [line] = yield* inside(LogCapture.logged("backup failed"))
      expect([line?.level, line?.fields["error"]]).toEqual(["Warn", expect.stringContaining("not done after")])
      expect(yield* kinds(folder)).toEqual(["fifo", "test.db"])
      expect(yield* inside(Shutdown.Shutdown.use(({ failures }) => failures))).toEqual([])
    }),
  )

  it.live("a failure is a WARNING, and the session goes on", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const before = yield* opened(`${folder}/test.db`)
      yield* Effect.andThen(before.inside(table), before.close())
      const { close, inside } = yield* opened(`${folder}/test.db`, { source: `${folder}/no-such.db` })
      yield* inside(insert)
      yield* close()
      const lines = yield* inside(LogCapture.logged("backup failed"))
      expect(lines.map(({ level }) => level)).toEqual(["Warn", "Warn"])
      expect(yield* inside(Shutdown.Shutdown.use(({ failures }) => failures))).toEqual([])
    }),
  )
})
