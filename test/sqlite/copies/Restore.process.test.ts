/** What a restore does when a step of it fails: the disk is the real one but for that step. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { describe, expect, it } from "@effect/vitest"
import { Effect, FileSystem, PlatformError } from "effect"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as Restore from "../../../src/sqlite/copies/Restore.ts"
import * as TemporaryDatabase from "../../../src/testing/TemporaryDatabase.ts"
import { list } from "../../support/files.ts"

const database = (file: string, rows: number) => {
  const connection = new DatabaseSync(file)
  connection.exec("CREATE TABLE t (a)")
  for (let n = 0; n < rows; n++) connection.exec("INSERT INTO t VALUES (1)")
  connection.close()
}

const prepared = Effect.gen(function* () {
  const folder = yield* TemporaryDatabase.folder
  database(`${folder}/test.db`, 1)
  database(`${folder}/backup`, 2)
  return { folder, file: `${folder}/test.db`, before: fs.readFileSync(`${folder}/test.db`) }
})

const withDisk = (change: (disk: FileSystem.FileSystem) => Partial<FileSystem.FileSystem>) =>
  Effect.fnUntraced(function* (backup: string, file: string) {
    const real = yield* FileSystem.FileSystem
    return yield* Effect.provideService(Restore.restoreOn({ backup, file }), FileSystem.FileSystem, {
      ...real,
      ...change(real),
    })
  }, Effect.provide(NodeServices.layer))

const broken = (method: string) =>
  Effect.fail(PlatformError.systemError({ _tag: "Unknown", module: "FileSystem", method, description: "EIO" }))

describe("a restore", () => {
  it.live("leaves alone what another process made meanwhile, and says where the database is", () =>
    Effect.gen(function* () {
      const { before, file, folder } = yield* prepared
      fs.writeFileSync(`${file}-wal`, "the WAL of the database that was there")
      const restore = withDisk((disk) => ({
        link: (from, to) => Effect.andThen(disk.writeFileString(to, "of another process"), disk.link(from, to)),
      }))
      const error = yield* Effect.flip(restore(`${folder}/backup`, file))
      expect(error).toMatchObject({ _tag: "RestoreError", reason: "NameTaken" })
      expect(fs.readFileSync(file, "utf8")).toBe("of another process")
      const kept = (yield* list(folder)).find((name) => name.startsWith("test.db.replaced.")) ?? ""
      expect(error.message).toContain(kept)
      expect(fs.readFileSync(`${folder}/${kept}`)).toEqual(before)
      expect(fs.readFileSync(`${folder}/${kept}-wal`, "utf8")).toBe("the WAL of the database that was there")
      expect(yield* list(folder)).toHaveLength(4) // and no WAL beside what belongs to another process
    }),
  )

  it.live("puts everything back when the last step fails", () =>
    Effect.gen(function* () {
      const { before, file, folder } = yield* prepared
      fs.writeFileSync(`${file}-wal`, "its WAL")
      const restore = withDisk((disk) => ({
        link: () => broken("link"),
        rename: (from, to) => (from.includes(".restoring.") ? broken("rename") : disk.rename(from, to)),
      }))
      const error = yield* Effect.flip(restore(`${folder}/backup`, file))
      expect(error).toMatchObject({ _tag: "RestoreError", reason: "Failed" })
      expect(fs.readFileSync(file)).toEqual(before)
      expect(fs.readFileSync(`${file}-wal`, "utf8")).toBe("its WAL")
      expect(yield* list(folder)).toEqual(["backup", "test.db", "test.db-wal"])
    }),
  )

  it.live("puts everything back when what stands beside the database cannot be moved", () =>
    Effect.gen(function* () {
      const { before, file, folder } = yield* prepared
      fs.writeFileSync(`${file}-wal`, "its WAL")
      fs.writeFileSync(`${file}-shm`, "its index")
      const restore = withDisk((disk) => ({
        rename: (from, to) => (from.endsWith("-shm") ? broken("rename") : disk.rename(from, to)),
      }))
      const error = yield* Effect.flip(restore(`${folder}/backup`, file))
      expect(error).toMatchObject({ _tag: "RestoreError", reason: "Failed" })
      expect(fs.readFileSync(file)).toEqual(before)
      expect(fs.readFileSync(`${file}-wal`, "utf8")).toBe("its WAL")
      expect(yield* list(folder)).toEqual(["backup", "test.db", "test.db-shm", "test.db-wal"])
    }),
  )

  it.live("says where the database is when it cannot be put back", () =>
    Effect.gen(function* () {
      const { before, file, folder } = yield* prepared
      const restore = withDisk((disk) => ({
        link: () => broken("link"),
        rename: (from, to) => (to === file ? broken("rename") : disk.rename(from, to)),
      }))
      const error = yield* Effect.flip(restore(`${folder}/backup`, file))
      expect(error).toMatchObject({ _tag: "RestoreError", reason: "NotPutBack" })
      const kept = (yield* list(folder)).find((name) => name.startsWith("test.db.replaced.")) ?? ""
      expect(error.message).toContain(kept)
      expect(fs.readFileSync(`${folder}/${kept}`)).toEqual(before)
    }),
  )

  it.live("works where there are no links, and where a folder cannot be synced", () =>
    Effect.gen(function* () {
      const { file, folder } = yield* prepared
      const restore = withDisk((disk) => ({
        link: () => broken("link"),
        open: (name, options) => (name === folder ? broken("open") : disk.open(name, options)),
      }))
      const { kept } = yield* restore(`${folder}/backup`, file)
      expect(kept).toHaveLength(1)
      expect(fs.readFileSync(file)).toEqual(fs.readFileSync(`${folder}/backup`))
    }),
  )
})
