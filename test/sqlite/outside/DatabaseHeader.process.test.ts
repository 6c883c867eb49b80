import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Option, PlatformError } from "effect"
import * as fs from "node:fs"
import * as DatabaseHeader from "../../../src/sqlite/outside/DatabaseHeader.ts"
import * as TemporaryDatabase from "../../../src/testing/TemporaryDatabase.ts"
import { leftBehind } from "../../support/LeftFiles.ts"

const read = (file: string) => DatabaseHeader.read(file).pipe(Effect.provide(NodeFileSystem.layer))

/** Of a file that has one. */
const readHeader = (file: string) => Effect.flatMap(read(file), (header) => Effect.fromOption(header))

/** Of a sound database, changed before it is read. */
const changed = Effect.fnUntraced(function* (change: (bytes: Buffer) => unknown) {
  const { file } = yield* leftBehind("")
  const bytes = fs.readFileSync(file)
  change(bytes)
  fs.writeFileSync(file, bytes)
  return file
})

describe("the header of a database", () => {
  it.effect.each([512, 4096, 65_536])("says what SQLite says, with pages of %i bytes", (pageSize) =>
    Effect.gen(function* () {
      const { file, said } = yield* leftBehind(
        `for (let n = 0; n < 20; n++) commit(5000)
        db.exec("PRAGMA wal_checkpoint(TRUNCATE)")
        say([db.prepare("PRAGMA page_count").get(), db.prepare("SELECT sqlite_version() AS version").get()])`,
        pageSize,
      )
      const header = yield* readHeader(file)
      expect(said).toEqual([{ page_count: header.pages }, { version: Option.getOrThrow(header.writtenBy) }])
      expect(header).toMatchObject({ pageSize, journalMode: "wal", versionValidFor: header.fileChangeCounter })
    }),
  )

  it.effect("tells a database with a rollback journal from one with a WAL, and counts its changes", () =>
    Effect.gen(function* () {
      const none = yield* leftBehind(`db.exec("PRAGMA journal_mode = DELETE"); commit(10)`)
      const two = yield* leftBehind(`db.exec("PRAGMA journal_mode = DELETE"); commit(10); commit(10); commit(10)`)
      const [before, after] = [yield* readHeader(none.file), yield* readHeader(two.file)]
      expect([before.journalMode, after.journalMode]).toEqual(["rollback", "rollback"])
      expect(after.fileChangeCounter).toBe(before.fileChangeCounter + 2)
    }),
  )

  it.effect("counts pages by the size of the file, and names no version, when another program wrote last", () =>
    Effect.gen(function* () {
      const header = yield* readHeader(
        yield* changed((bytes) => bytes.writeUInt32BE(999, 28) + bytes.writeUInt8(9, 95)),
      )
      expect(header).toMatchObject({ pages: 2, versionValidFor: 9, writtenBy: Option.none() })
      const unknown = yield* readHeader(yield* changed((bytes) => bytes.fill(0, 96, 100)))
      expect(unknown.writtenBy).toEqual(Option.none())
      const old = yield* readHeader(yield* changed((bytes) => bytes.writeUInt32BE(3_007_017, 96)))
      expect(old.writtenBy).toEqual(Option.some("3.7.17"))
    }),
  )

  it.effect("is none in an empty file", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      fs.writeFileSync(file, "")
      expect(Option.isNone(yield* read(file))).toBe(true)
    }),
  )
})

describe("what is not a database", () => {
  it.effect("is refused by the rules by which SQLite refuses it", () =>
    Effect.gen(function* () {
      const files = [
        yield* changed((bytes) => bytes.write("SQLite format 4")),
        yield* changed((bytes) => bytes.writeUInt16BE(1000, 16)),
        yield* changed((bytes) => bytes.writeUInt16BE(256, 16)),
        yield* changed((bytes) => bytes.writeUInt8(3, 19)),
        yield* changed((bytes) => bytes.writeUInt8(0, 21)),
      ]
      const text = yield* TemporaryDatabase.file
      fs.writeFileSync(text, "this is a text".repeat(1000))
      const short = yield* TemporaryDatabase.file
      fs.writeFileSync(short, fs.readFileSync(text).subarray(0, 99))
      for (const file of [...files, text, short]) {
        const error = yield* Effect.flip(read(file))
        expect(error.reason).toBe("NotADatabase")
        expect(error.message).toContain(`${file} is not a SQLite database`)
      }
    }),
  )

  it.effect("is told apart from what is not there, what is a folder and what may not be read", () =>
    Effect.gen(function* () {
      const file = yield* changed(() => {})
      const missing = yield* Effect.flip(read(`${file}.none`))
      expect([missing.reason, missing.message]).toEqual(["Missing", `${file}.none does not exist; check the path`])
      const folder = yield* Effect.flip(read(yield* TemporaryDatabase.folder))
      expect(folder.reason).toBe("NotAFile")
      expect(folder.message).toContain("is no regular file; give the path of a database")
      const denied = PlatformError.systemError({ _tag: "PermissionDenied", module: "FileSystem", method: "open" })
      const locked = Layer.effect(
        FileSystem.FileSystem,
        Effect.map(FileSystem.FileSystem, (real) => ({ ...real, open: () => Effect.fail(denied) })),
      ).pipe(Layer.provide(NodeFileSystem.layer))
      const unreadable = yield* Effect.flip(Effect.provide(DatabaseHeader.read(file), locked))
      expect(unreadable.reason).toBe("Unreadable")
      expect(unreadable.message).toContain(`${file} could not be read; check that this user may read it`)
      expect(unreadable.message).toContain("PermissionDenied")
    }),
  )
})
