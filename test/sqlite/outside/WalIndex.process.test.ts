import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Option, Result } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as WalFile from "../../../src/sqlite/outside/WalFile.ts"
import * as WalIndex from "../../../src/sqlite/outside/WalIndex.ts"
import * as TemporaryDatabase from "../../../src/testing/TemporaryDatabase.ts"
import { leftBehind } from "../../support/LeftFiles.ts"

const read = (file: string) => WalIndex.read(file).pipe(Effect.provide(NodeFileSystem.layer))

/** Of an index that exists. */
const readIndex = (file: string) => Effect.flatMap(read(`${file}-shm`), (index) => Effect.fromOption(index))

const readBytes = Effect.fnUntraced(function* (bytes: Uint8Array) {
  const file = yield* TemporaryDatabase.file
  fs.writeFileSync(`${file}-shm`, bytes)
  return yield* readIndex(file)
})

describe("the index of a WAL", () => {
  it.effect.each([512, 4096, 65_536])("says what its connections knew, with pages of %i bytes", (pageSize) =>
    Effect.gen(function* () {
      const { file, said } = yield* leftBehind(
        "for (let n = 0; n < 5; n++) commit(10); say([noop(db), db.prepare('PRAGMA page_count').get()])",
        pageSize,
      )
      const index = yield* readIndex(file)
      expect(said).toEqual([{ busy: 0, log: index.mxFrame, checkpointed: 0 }, { page_count: index.nPage }])
      expect(index).toMatchObject({ state: "Valid", pageSize, mxFrame: 5, nBackfill: 0, nBackfillAttempted: 0 })
      expect(WalIndex.framesNotCheckpointed(index)).toBe(5)
      const log = yield* Effect.provide(WalFile.read(`${file}-wal`), NodeFileSystem.layer)
      const header = Option.getOrThrow(Option.flatMap(log, ({ header }) => header))
      expect({ salts: index.salts, pageSize: index.pageSize }).toEqual({ salts: header.salts, pageSize })
    }),
  )

  it.effect("says how far a checkpoint came under a reader, and at which frame the reader is", () =>
    Effect.gen(function* () {
      const { file, said } = yield* leftBehind(`const reader = open()
        commit(10); commit(10)
        reader.exec("BEGIN; SELECT count(*) FROM t")
        commit(10); commit(10); commit(10)
        db.exec("PRAGMA wal_checkpoint(PASSIVE)"); say(noop(db))`)
      const index = yield* readIndex(file)
      expect(said).toMatchObject({ log: 5, checkpointed: 2 })
      expect(index).toMatchObject({ state: "Valid", mxFrame: 5, nBackfill: 2, nBackfillAttempted: 2 })
      expect(WalIndex.framesNotCheckpointed(index)).toBe(3)
      const [first, ...others] = index.readMarks
      expect(first).toEqual(Option.some(0)) // of who reads the database file alone
      expect(others).toHaveLength(4)
      expect(others).toContainEqual(Option.some(2))
      expect(others).toContainEqual(Option.none())
    }),
  )

  it.effect("counts the transactions, and begins again with a reset", () =>
    Effect.gen(function* () {
      const before = yield* Effect.flatMap(leftBehind("commit(10); commit(10)"), ({ file }) => readIndex(file))
      const after = yield* Effect.flatMap(
        leftBehind(`commit(10); commit(10); db.exec("PRAGMA wal_checkpoint(PASSIVE)"); commit(10)`),
        ({ file }) => readIndex(file),
      )
      expect(before).toMatchObject({ mxFrame: 2, nBackfill: 0 })
      expect(after).toMatchObject({ mxFrame: 1, nBackfill: 0, changeCounter: before.changeCounter + 1 })
      expect(WalIndex.framesNotCheckpointed({ mxFrame: 1, nBackfill: 2 })).toBe(0)
    }),
  )

  it.effect("is not trusted when SQLite would not trust it", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("commit(10)")
      const bytes = fs.readFileSync(`${file}-shm`)
      const stateWith = (change: (bytes: Buffer) => unknown) => {
        const copy = Buffer.from(bytes)
        change(copy)
        return Effect.map(readBytes(copy), ({ state }) => state)
      }
      expect(yield* stateWith(() => {})).toBe("Valid")
      expect(yield* stateWith((copy) => copy.writeUInt8(99, 16))).toBe("CopiesDiffer")
      expect(yield* stateWith((copy) => copy.writeUInt8(99, 48 + 40))).toBe("CopiesDiffer")
      expect(yield* stateWith((copy) => copy.fill(99, 16, 20).fill(99, 64, 68))).toBe("BadChecksum")
      expect(yield* stateWith((copy) => copy.fill(0))).toBe("Uninitialised")
      expect(yield* Effect.map(readBytes(bytes.subarray(0, 3)), ({ state }) => state)).not.toBe("Valid")
      expect(yield* Effect.map(readBytes(new Uint8Array(3)), ({ state }) => state)).toBe("Uninitialised")
    }),
  )

  it.effect("of another version of the format is told apart from a damaged one", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("commit(10)")
      const bytes = fs.readFileSync(`${file}-shm`)
      const isLittle = os.endianness() === "LE"
      const view = new DataView(bytes.buffer, bytes.byteOffset)
      view.setUint32(0, view.getUint32(0, isLittle) + 1000, isLittle)
      let [first, second] = [0, 0]
      for (let at = 0; at < 40; at += 8) {
        first = (first + view.getUint32(at, isLittle) + second) >>> 0
        second = (second + view.getUint32(at + 4, isLittle) + first) >>> 0
      }
      view.setUint32(40, first, isLittle)
      view.setUint32(44, second, isLittle)
      bytes.copyWithin(48, 0, 48)
      expect((yield* readBytes(bytes)).state).toBe("OtherVersion")
    }),
  )

  it.effect("is none when it does not exist or is empty, and an error when it is a folder", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      fs.writeFileSync(`${folder}/empty.db-shm`, "")
      expect(Option.isNone(yield* read(`${folder}/none.db-shm`))).toBe(true)
      expect(Option.isNone(yield* read(`${folder}/empty.db-shm`))).toBe(true)
      const result = yield* Effect.result(read(folder))
      expect(Result.isFailure(result) && result.failure.message).toContain("is no regular file")
    }),
  )
})
