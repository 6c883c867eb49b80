/** The one gathering of facts: what it reads, what it leaves unread, and where it refuses. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Option, Result } from "effect"
import * as fs from "node:fs"
import * as Facts from "../../src/facts/Facts.ts"
import * as Database from "../../src/sqlite/Database.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { bytesOf, database } from "../support/examined.ts"
import { leftBehind } from "../support/LeftFiles.ts"
import { owner } from "../support/Owner.ts"

const gather = (file: string, wal: Facts.GatherOptions["wal"]) =>
  Effect.provide(Facts.gather(file, { wal }), NodeServices.layer)

const commitsOf = ({ wal }: Facts.Facts) =>
  Option.getOrNull(Option.map(Option.flatten(Result.getSuccess(wal)), ({ commits }) => commits))

describe("facts", () => {
  it.live("of a WAL that was left are read frame by frame, and every file stays as it is", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("commit(10); commit(10)")
      const before = bytesOf(file)
      const facts = yield* gather(file, "whenLeft")
      expect(bytesOf(file)).toEqual(before)
      expect(commitsOf(facts)).toBe(2)
      expect(Facts.walSize(facts)).toBe(fs.statSync(`${file}-wal`).size)
      expect(facts.bytes).toBe(fs.statSync(file).size)
      expect(Facts.isAtRest(facts)).toBe(process.platform === "linux")
    }),
  )

  it.live.skipIf(process.platform !== "linux")(
    "of a WAL in use are read frame by frame only when that is asked for",
    () =>
      Effect.gen(function* () {
        const file = yield* database()
        const pid = yield* owner(file, { before: "commit(10); commit(10)" })
        const quick = yield* gather(file, "whenLeft")
        expect(commitsOf(quick)).toBeNull()
        expect(Option.getOrThrow(Facts.valid(quick.laterIndex)).mxFrame).toBe(2)
        expect(Result.isSuccess(quick.walHeader)).toBe(true)
        expect(Option.getOrThrow(quick.processes).map((it) => it.pid)).toEqual([pid])
        expect(commitsOf(yield* gather(file, "always"))).toBe(2)
      }),
  )

  it.live("are refused in the process that has the database open, which reading would harm", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const inside = Effect.all([Effect.flip(gather(file, "whenLeft")), Effect.flip(gather(file, "always"))])
      const errors = yield* Effect.provide(inside, Database.layer({ filename: file }), { local: true })
      expect(errors.map(({ _tag }) => _tag)).toEqual(["OpenHereError", "OpenHereError"])
    }).pipe(Effect.provide(LogCapture.layer)),
  )
})
