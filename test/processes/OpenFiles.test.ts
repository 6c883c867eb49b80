import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { SqlClient } from "effect/sql"
import { SqliteClient } from "@effect/sql-sqlite-node"
import * as fs from "node:fs"
import * as OpenFiles from "../../src/processes/OpenFiles.ts"
import * as Database from "../../src/sqlite/Database.ts"
import { DatabaseControl } from "../../src/sqlite/DatabaseControl.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"

const syncAgain = DatabaseControl.use(({ syncFile }) => syncFile)

describe("the files that this process has open", () => {
  it.effect("count under every name, until the last scope that registered one has closed", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const [first, second] = [yield* Scope.make(), yield* Scope.make()]
      yield* Scope.provide(OpenFiles.register(file), first) // before it is created
      expect(yield* OpenFiles.isOpen(file)).toBe(false)
      fs.writeFileSync(file, "")
      fs.symlinkSync(file, `${file}.link`)
      fs.writeFileSync(`${file}.other`, "")
      yield* Scope.provide(OpenFiles.register(`${file}.link`), second)
      expect(yield* OpenFiles.timesOpen(file)).toBe(2)
      yield* Scope.close(first, Exit.void)
      expect(yield* OpenFiles.isOpen(file)).toBe(true)
      expect(yield* OpenFiles.isOpen(`${file}.other`)).toBe(false)
      yield* Scope.close(second, Exit.void)
      expect(yield* OpenFiles.isOpen(file)).toBe(false)
    }),
  )

  it.live("are those of a `Database` and of one that was adopted, while they are open", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const open = Database.Database.use(() => OpenFiles.isOpen(file))
      expect(yield* Effect.provide(open, Database.layer({ filename: file }), { local: true })).toBe(true)
      expect(yield* OpenFiles.isOpen(file)).toBe(false)
      const adopted = SqlClient.SqlClient.use(() => Effect.provide(open, Database.layerClient()))
      expect(yield* Effect.provide(adopted, SqliteClient.layer({ filename: file }))).toBe(true)
      expect(yield* OpenFiles.isOpen(file)).toBe(false)
    }).pipe(Effect.provide([LogCapture.layer, TemporaryDatabase.quickDisk])),
  )

  it.live.skipIf(!fs.existsSync("/proc/self/fd"))(
    "leave no descriptor behind when they are closed, and their space is free",
    () =>
      Effect.gen(function* () {
        const file = yield* TemporaryDatabase.file
        const descriptors = () => fs.readdirSync("/proc/self/fd").filter((name) => linkOf(name).startsWith(file))
        const linkOf = (name: string) => {
          try {
            return fs.readlinkSync(`/proc/self/fd/${name}`)
          } catch {
            return "" // the one that reads the folder
          }
        }
        for (let n = 0; n < 3; n++) {
          yield* Effect.gen(function* () {
            const { sql } = yield* Database.Database
            const { syncFile } = yield* DatabaseControl
            yield* sql`CREATE TABLE t (a)`
            yield* syncFile
            yield* Effect.provide(syncAgain, Database.layer({ filename: file }), { local: true })
            expect(descriptors().length).toBeGreaterThan(1)
          }).pipe(Effect.provide(Database.layer({ filename: file }), { local: true }))
          fs.rmSync(file)
          expect(descriptors().map(linkOf)).toEqual([])
        }
      }).pipe(Effect.provide([LogCapture.layer])),
  )
})
