/** Which databases a name stands for: files, and what is in a folder. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as NamedDatabases from "../../src/facts/NamedDatabases.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"

const find = (...names: ReadonlyArray<string>) => Effect.provide(NamedDatabases.find(names), NodeServices.layer)

const create = (...files: ReadonlyArray<string>) =>
  files.forEach((file) => {
    const database = new DatabaseSync(file)
    database.exec("CREATE TABLE t (a)")
    database.close()
  })

const stamp = "20261101T000000000Z"

/** What is found in a folder that `fill` made, by name. */
const foundIn = Effect.fnUntraced(function* (fill: (folder: string) => void) {
  const folder = yield* TemporaryDatabase.folder
  fill(folder)
  const before = fs.readdirSync(folder)
  const { failures, files } = yield* find(folder)
  expect(fs.readdirSync(folder)).toEqual(before)
  return { files: files.map((file) => file.slice(folder.length + 1)), failures: failures.map(({ message }) => message) }
})

describe("a folder", () => {
  it.effect("is the databases directly in it, by name, whatever they are called", () =>
    Effect.gen(function* () {
      const { failures, files } = yield* foundIn((folder) => {
        create(`${folder}/b.db`, `${folder}/a.sqlite`, `${folder}/plain`, `${folder}/B.db`)
        fs.mkdirSync(`${folder}/below`)
        create(`${folder}/below/c.db`)
        fs.writeFileSync(`${folder}/notes.txt`, "no database")
        fs.writeFileSync(`${folder}/short.db`, "SQLite")
      })
      expect(files).toEqual(["B.db", "a.sqlite", "b.db", "plain"])
      expect(failures).toEqual([])
    }),
  )

  it.effect("has none of what stands beside a database, and no copy that Seawall made", () =>
    Effect.gen(function* () {
      const { files } = yield* foundIn((folder) => {
        const kinds = ["bak", "post", "manual", "replaced", "restoring"]
        create(`${folder}/a.db`, `${folder}/my.bak.db`)
        for (const suffix of ["-wal", "-shm", "-journal", "-lease"]) {
          fs.copyFileSync(`${folder}/a.db`, `${folder}/a.db${suffix}`)
        }
        for (const kind of kinds) fs.copyFileSync(`${folder}/a.db`, `${folder}/a.db.${kind}.${stamp}`)
        fs.copyFileSync(`${folder}/a.db`, `${folder}/a.db.manual.${stamp}.partial`)
      })
      expect(files).toEqual(["a.db", "my.bak.db"])
    }),
  )

  it.effect("has an empty file when a WAL is beside it, and none without", () =>
    Effect.gen(function* () {
      const { files } = yield* foundIn((folder) => {
        for (const name of ["a.db", "a.db-wal", "b.db"]) fs.writeFileSync(`${folder}/${name}`, "")
      })
      expect(files).toEqual(["a.db"])
    }),
  )

  it.effect("has what was a database: without its header, or missing, while its WAL or a backup is there", () =>
    Effect.gen(function* () {
      const { files } = yield* foundIn((folder) => {
        for (const name of ["backed.db", "written.db"]) fs.writeFileSync(`${folder}/${name}`, Buffer.alloc(8192, 7))
        create(`${folder}/backed.db.post.${stamp}`)
        for (const name of ["written.db-wal", "gone.db-wal"]) fs.writeFileSync(`${folder}/${name}`, Buffer.alloc(4096))
        fs.writeFileSync(`${folder}/closed.db-wal`, "")
      })
      expect(files).toEqual(["backed.db", "gone.db", "written.db"])
    }),
  )

  it.effect("has no link, folder or pipe, also beside a WAL, and waits for none", () =>
    Effect.gen(function* () {
      const elsewhere = `${yield* TemporaryDatabase.folder}/elsewhere.db`
      create(elsewhere)
      const { files } = yield* foundIn((folder) => {
        create(`${folder}/a.db`)
        fs.symlinkSync("a.db", `${folder}/0.db`)
        fs.symlinkSync(elsewhere, `${folder}/1.db`)
        fs.symlinkSync("nowhere", `${folder}/2.db`)
        fs.mkdirSync(`${folder}/3.db`)
        if (process.platform !== "win32") execFileSync("mkfifo", [`${folder}/4.db`])
        fs.writeFileSync(`${folder}/3.db-wal`, Buffer.alloc(4096))
      })
      expect(files).toEqual(["a.db"])
    }),
  )

  it.effect("without a database is a failure that names it", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const { failures, files } = yield* find(folder)
      expect(files).toEqual([])
      expect(failures.map(({ message }) => message)).toEqual([
        `${folder} is a folder without a SQLite database in it; name a database, or the folder that holds it`,
      ])
    }),
  )

  it.effect("of thousands is answered whole, and in order", () =>
    Effect.gen(function* () {
      const { files } = yield* foundIn((folder) => {
        create(`${folder}/0000`)
        for (let n = 1; n < 3000; n++) fs.copyFileSync(`${folder}/0000`, `${folder}/${String(n).padStart(4, "0")}`)
      })
      expect(files).toHaveLength(3000)
      expect(files).toEqual(files.toSorted())
    }),
  )
})

describe("several names", () => {
  it.effect("are answered in their order, each file once under its first name", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const at = (name: string) => `${folder}/${name}`
      create(at("a.db"), at("b.db"))
      fs.symlinkSync(at("a.db"), at("link"))
      fs.linkSync(at("b.db"), at("hard.db"))
      expect((yield* find(at("link"), at("b.db"), at("a.db"), at("hard.db"), folder)).files).toEqual([
        at("link"),
        at("b.db"),
      ])
      expect((yield* find(folder)).files).toEqual([at("a.db"), at("b.db")])
    }),
  )

  it.effect("that are no files are left to their reader, and stand once too", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const missing = `${folder}/none.db`
      expect(yield* find(missing, `${folder}/./none.db`, missing)).toEqual({ files: [missing], failures: [] })
    }),
  )

  it.effect("are answered beside a folder that has none", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      create(`${folder}/a.db`)
      fs.mkdirSync(`${folder}/empty`)
      const { failures, files } = yield* find(`${folder}/empty`, folder)
      expect(files).toEqual([`${folder}/a.db`])
      expect(failures.map(({ file }) => file)).toEqual([`${folder}/empty`])
    }),
  )
})
