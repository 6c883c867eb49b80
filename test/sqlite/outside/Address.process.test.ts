/** In which situation a database is, as a process finds that starts with a file name alone. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { address, urlOf } from "../../../src/sqlite/outside/Address.ts"
import * as TemporaryDatabase from "../../../src/testing/TemporaryDatabase.ts"
import { foreignConnection } from "../../support/ForeignReader.ts"
import { copyOf, leftBehind } from "../../support/LeftFiles.ts"

const create = (file: string, journalMode: string) => {
  const database = new DatabaseSync(file)
  database.exec(`PRAGMA journal_mode = ${journalMode}; CREATE TABLE t (a)`)
  database.close()
}

describe("the address of a database", () => {
  it.effect("is that of the file itself, with what SQLite is asked for", () =>
    Effect.gen(function* () {
      const file = `${yield* TemporaryDatabase.folder}/what?mode=rwc#1.db`
      create(file, "WAL")
      const link = `${yield* TemporaryDatabase.folder}/link.db`
      fs.symlinkSync(file, link)
      expect(address(link)).toEqual({ url: urlOf(file, "AtRest"), situation: "AtRest", isWal: true })
      const asked = (["Open", "OpenBriefly", "AtRest", "WalLeft"] as const).map((it) => urlOf(file, it).search)
      expect(asked).toEqual(["", "?readonly_shm=1", "?immutable=1", "?readonly_shm=1"])
    }),
  )

  it.effect("is plain without WAL mode, where nothing is created beside it", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      create(file, "DELETE")
      expect(address(file)).toEqual({ url: urlOf(file, "Open"), situation: "Open", isWal: false })
    }),
  )

  it.effect("is that of a WAL that was left while no process has its index open; without one it is plain", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("commit(10)")
      expect(address(file)).toMatchObject({ situation: "WalLeft", isWal: true })
      const copy = yield* copyOf(file, fs.readFileSync(`${file}-wal`))
      expect(address(copy)).toMatchObject({ situation: "Open", isWal: true })
    }),
  )

  it.live("is plain while another process has it open", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      create(file, "WAL")
      yield* foreignConnection(file, ["SELECT * FROM t"])
      expect(address(file)).toEqual({ url: urlOf(file, "Open"), situation: "Open", isWal: true })
    }).pipe(Effect.scoped),
  )
})
