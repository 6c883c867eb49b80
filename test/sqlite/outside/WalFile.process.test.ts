import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Option, Result, Schema } from "effect"
import * as fs from "node:fs"
import * as DatabaseHeader from "../../../src/sqlite/outside/DatabaseHeader.ts"
import * as WalFile from "../../../src/sqlite/outside/WalFile.ts"
import * as TemporaryDatabase from "../../../src/testing/TemporaryDatabase.ts"
import { copyOf, leftBehind, recovered } from "../../support/LeftFiles.ts"
import { randomOf } from "../../support/random.ts"
import { slice } from "../../support/slice.ts"

const read = (file: string) => WalFile.read(file).pipe(Effect.provide(NodeFileSystem.layer))

/** Of a WAL that exists. */
const readLog = (file: string) => Effect.flatMap(read(`${file}-wal`), (log) => Effect.fromOption(log))

const readBytes = Effect.fnUntraced(function* (bytes: Uint8Array) {
  const file = yield* TemporaryDatabase.file
  fs.writeFileSync(`${file}-wal`, bytes)
  return yield* readLog(file)
})

const headerSize = 32
const offsetOf = (frame: number, pageSize = 4096) => headerSize + (frame - 1) * (24 + pageSize)

/** Flips a bit. */
const flipped = (bytes: Uint8Array, at: number) => {
  const copy = new Uint8Array(bytes)
  copy[at] = copy[at]! ^ 1
  return copy
}

/** Of the database file alone. */
const without = Effect.fnUntraced(function* (file: string) {
  const { rows } = recovered(yield* copyOf(file, undefined))
  const header = yield* Effect.provide(DatabaseHeader.read(file), NodeFileSystem.layer)
  return { rows: Number(rows), pages: Option.getOrThrow(header).pages }
})

/** That the bytes say the same as SQLite, which is asked about a copy. There is a row for each commit. */
const agrees = Effect.fnUntraced(function* (file: string, bytes: Uint8Array, base?: { rows: number; pages: number }) {
  const log = yield* readBytes(bytes)
  const { rows, pages } = base ?? (yield* without(file))
  expect({
    rows: rows + log.commits,
    frames: log.recoverableFrames,
    pages: Option.getOrElse(log.pages, () => pages),
  }).toEqual(recovered(yield* copyOf(file, bytes)))
  return log
})

describe("a WAL that a killed process left", () => {
  it.effect.each([512, 4096, 65_536])("has a commit for each transaction, with pages of %i bytes", (pageSize) =>
    Effect.gen(function* () {
      const { file, said } = yield* leftBehind("for (let n = 0; n < 7; n++) commit(3000 * n); say(noop(db))", pageSize)
      const bytes = fs.readFileSync(`${file}-wal`)
      const log = yield* agrees(file, bytes)
      expect(said).toMatchObject({ log: log.frames })
      expect(log).toMatchObject({
        bytes: bytes.length,
        framesInFile: log.frames,
        commits: 7,
        recoverableFrames: log.frames,
        uncommittedFrames: 0,
        end: { reason: "EndOfFile", frame: log.frames + 1, offset: bytes.length, isCommit: false },
        following: { frames: 0, commits: 0 },
      })
      // The one before was truncated when the table was there.
      expect(Option.getOrThrow(log.header)).toMatchObject({ pageSize, checkpointSequence: 1 })
      expect(fs.readFileSync(`${file}-wal`)).toEqual(bytes)
    }),
  )

  it.effect("has uncommitted frames of a transaction that was too large for the cache", () =>
    Effect.gen(function* () {
      const { file, said } = yield* leftBehind(`commit(10); say(noop(db))
        db.exec("PRAGMA cache_size = 5; BEGIN"); for (let n = 0; n < 50; n++) commit(3000)`)
      const log = yield* agrees(file, fs.readFileSync(`${file}-wal`))
      expect(said).toMatchObject({ log: log.recoverableFrames })
      expect(log.commits).toBe(1)
      expect(log.uncommittedFrames).toBeGreaterThan(10)
      expect(log.frames).toBe(log.recoverableFrames + log.uncommittedFrames)
      expect(log.following.commits).toBe(0)
    }),
  )

  it.effect(
    "ends where a shorter transaction overwrote one that was rolled back, whose frames bear no commit mark",
    () =>
      Effect.gen(function* () {
        const { file } = yield* leftBehind(`db.exec("PRAGMA cache_size = 5; BEGIN")
        for (let n = 0; n < 50; n++) commit(3000)
        db.exec("ROLLBACK"); commit(10)`)
        const log = yield* agrees(file, fs.readFileSync(`${file}-wal`))
        expect(log).toMatchObject({ commits: 1, uncommittedFrames: 0, end: { reason: "Torn", isCommit: false } })
        expect(log.following).toEqual({ frames: log.framesInFile - log.frames - 1, commits: 0 })
        expect(log.following.frames).toBeGreaterThan(10)
      }),
  )

  it.effect("ends where an earlier generation follows after a reset", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind(`for (let n = 0; n < 20; n++) commit(3000)
        db.exec("PRAGMA wal_checkpoint(PASSIVE)"); commit(10); commit(10)`)
      const bytes = fs.readFileSync(`${file}-wal`)
      const log = yield* agrees(file, bytes)
      expect(log).toMatchObject({ commits: 2, frames: 2, end: { reason: "EarlierLog", frame: 3, offset: offsetOf(3) } })
      expect(log.following).toEqual({ frames: 0, commits: 0 })
      expect(log.framesInFile).toBeGreaterThan(20)
      expect(Option.getOrThrow(log.header).checkpointSequence).toBe(2)
      // A size limit cuts what is left in the middle of a frame.
      const cut = yield* agrees(file, bytes.subarray(0, offsetOf(3) + 1000))
      expect(cut.end.reason).toBe("EarlierLog")
    }),
  )

  it.effect("that is longer than what is read at once is read to its end", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("for (let n = 0; n < 40; n++) commit(100000)")
      const bytes = fs.readFileSync(`${file}-wal`)
      expect(bytes.length).toBeGreaterThan(3 * 1_048_576)
      expect((yield* agrees(file, bytes)).commits).toBe(40)
      const log = yield* agrees(file, flipped(bytes, bytes.length - 200_000))
      expect(log).toMatchObject({ end: { reason: "Torn" }, following: { commits: 2 } })
    }),
  )
})

describe("a damaged WAL", () => {
  const left = leftBehind("for (let n = 0; n < 6; n++) commit(10)")

  it.effect("ends before a torn page, and the commits that follow it are counted", () =>
    Effect.gen(function* () {
      const { file } = yield* left
      const bytes = fs.readFileSync(`${file}-wal`)
      const log = yield* agrees(file, flipped(bytes, offsetOf(3) + 2000))
      expect(log).toMatchObject({ commits: 2, end: { reason: "Torn", frame: 3, offset: offsetOf(3), isCommit: true } })
      expect(log.following).toEqual({ frames: 3, commits: 3 })
    }),
  )

  it.effect("is torn, not an earlier one, where the salts of one frame are damaged", () =>
    Effect.gen(function* () {
      const { file } = yield* left
      const bytes = fs.readFileSync(`${file}-wal`)
      const log = yield* agrees(file, flipped(bytes, offsetOf(3) + 9))
      expect(log).toMatchObject({ commits: 2, end: { reason: "Torn", isCommit: false }, following: { commits: 3 } })
    }),
  )

  it.effect("is torn where its last frame is cut short", () =>
    Effect.gen(function* () {
      const { file } = yield* left
      const bytes = fs.readFileSync(`${file}-wal`)
      for (const [length, isCommit] of [
        [bytes.length - 1, true],
        [offsetOf(6) + 16, true],
        [offsetOf(6) + 1, false],
      ] as const) {
        const log = yield* agrees(file, bytes.subarray(0, length))
        expect(log).toMatchObject({ bytes: length, framesInFile: 5, commits: 5, following: { frames: 0, commits: 0 } })
        expect(log.end).toEqual({ reason: "Torn", frame: 6, offset: offsetOf(6), isCommit })
      }
    }),
  )

  it.effect("is ignored whole where its header is damaged, short or something else", () =>
    Effect.gen(function* () {
      const { file } = yield* left
      const bytes = fs.readFileSync(`${file}-wal`)
      const garbage = new TextEncoder().encode("this is a text".repeat(1000))
      const headers = [flipped(bytes, 3), flipped(bytes, 8), flipped(bytes, 13), flipped(bytes, 17), flipped(bytes, 31)]
      for (const each of [...headers, bytes.subarray(0, 31), bytes.subarray(0, 1), garbage]) {
        const log = yield* agrees(file, each)
        expect(log).toMatchObject({ bytes: each.length, frames: 0, commits: 0, end: { reason: "BadHeader", frame: 0 } })
        expect(Option.isNone(log.header)).toBe(true)
      }
    }),
  )

  it.effect("has no frames when it has no more than a header, and is empty without one", () =>
    Effect.gen(function* () {
      const { file } = yield* left
      const bytes = fs.readFileSync(`${file}-wal`)
      const header = yield* agrees(file, bytes.subarray(0, headerSize))
      expect(header).toMatchObject({ framesInFile: 0, commits: 0, end: { reason: "EndOfFile", frame: 1, offset: 32 } })
      expect(Option.isSome(header.header)).toBe(true)
      const empty = yield* agrees(file, new Uint8Array())
      expect(empty).toMatchObject({ bytes: 0, framesInFile: 0, end: { reason: "Empty", frame: 0, offset: 0 } })
    }),
  )
})

describe("a WAL that this machine does not write", () => {
  /** SQLite's sums, byte by byte. */
  const sums = (view: DataView, isLittle: boolean, from: number, to: number, [first, second]: readonly number[]) => {
    let [a, b] = [first ?? 0, second ?? 0]
    for (let at = from; at < to; at += 8) {
      a = (a + view.getUint32(at, isLittle) + b) >>> 0
      b = (b + view.getUint32(at + 4, isLittle) + a) >>> 0
    }
    return [a, b] as const
  }

  /** A WAL that was changed, with checksums that are right, over words of the other byte order. */
  const rewritten = (bytes: Uint8Array, change: (view: DataView) => void) => {
    const view = new DataView(new Uint8Array(bytes).buffer)
    const put = (at: number, [a, b]: readonly [number, number]) => {
      view.setUint32(at, a)
      view.setUint32(at + 4, b)
    }
    view.setUint32(0, view.getUint32(0) ^ 1)
    change(view)
    const isLittle = (view.getUint32(0) & 1) === 0
    let last = sums(view, isLittle, 0, 24, [])
    put(24, last)
    for (let at = headerSize; at < view.byteLength; at += 24 + 4096) {
      last = sums(view, isLittle, at + 24, at + 24 + 4096, sums(view, isLittle, at, at + 8, last))
      put(at + 16, last)
    }
    return new Uint8Array(view.buffer)
  }

  it.effect("is read in the byte order that its magic number names", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("for (let n = 0; n < 6; n++) commit(5000)")
      const bytes = rewritten(fs.readFileSync(`${file}-wal`), () => {})
      expect(yield* agrees(file, bytes)).toMatchObject({ commits: 6, end: { reason: "EndOfFile" } })
      expect((yield* agrees(file, flipped(bytes, bytes.length - 5))).commits).toBe(5)
    }),
  )

  it.effect("ends before a frame of page 0, which no database has", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("for (let n = 0; n < 3; n++) commit(10)")
      const bytes = rewritten(fs.readFileSync(`${file}-wal`), (view) => view.setUint32(offsetOf(2), 0))
      expect(yield* agrees(file, bytes)).toMatchObject({
        commits: 1,
        end: { reason: "Torn" },
        following: { commits: 1 },
      })
    }),
  )

  it.effect("has a version that SQLite refuses to open", () =>
    Effect.gen(function* () {
      const { file } = yield* leftBehind("commit(10)")
      const bytes = rewritten(fs.readFileSync(`${file}-wal`), (view) => view.setUint32(4, 3_008_000))
      expect(yield* readBytes(bytes)).toMatchObject({ commits: 0, end: { reason: "OtherVersion" } })
      const copy = yield* copyOf(file, bytes)
      expect(() => recovered(copy)).toThrow("unable to open database file")
    }),
  )
})

describe("a WAL that cannot be read", () => {
  it.effect("is none when it does not exist, and an error when it is a folder", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      expect(Option.isNone(yield* read(`${folder}/none.db-wal`))).toBe(true)
      const result = yield* Effect.result(read(folder))
      expect(Result.isFailure(result) && result.failure.reason).toBe("NotAFile")
    }),
  )
})

/** A session of commits, rollbacks, resets and a transaction that is not ended. */
const session = (random: (below: number) => number, pageSize: number) => {
  const rows = () => `commit(${random(random(3) === 0 ? 4 * pageSize : 200)});`
  const spilled = () => `db.exec("BEGIN");${Array.from({ length: 5 + random(20) }, rows).join("")}`
  const commits = () => Array.from({ length: 1 + random(12) }, rows).join("")
  const steps = Array.from({ length: 1 + random(4) }, () => {
    const kind = random(3)
    if (kind === 0) return commits()
    if (kind === 1) return `${spilled()}db.exec("ROLLBACK");`
    return `db.exec("PRAGMA wal_checkpoint(PASSIVE)");${commits()}`
  })
  return `db.exec("PRAGMA cache_size = 3");${commits()}${steps.join("")}${random(2) === 0 ? spilled() : ""}`
}

/** Flips a bit in a header or anywhere, clears or repeats a part, cuts the end off, or adds to it. */
const damaged = (original: Uint8Array, random: (below: number) => number, pageSize: number) => {
  const bytes = new Uint8Array(original)
  const frame = 1 + random(Math.ceil(bytes.length / (24 + pageSize)))
  switch (random(7)) {
    case 0:
      return bytes
    case 1:
      return flipped(bytes, random(bytes.length))
    case 2:
      return flipped(bytes, random(headerSize))
    case 3:
      return flipped(bytes, Math.min(bytes.length - 1, offsetOf(frame, pageSize) + random(24)))
    case 4:
      return bytes.subarray(0, random(bytes.length))
    case 5: {
      const at = random(bytes.length)
      return bytes.fill(0, at, at + random(2 * pageSize))
    }
    default:
      return bytes.copyWithin(offsetOf(frame, pageSize), offsetOf(1 + random(frame), pageSize))
  }
}

describe("for any session and any damage of its WAL", () => {
  it.effect.prop(
    "commits, frames and pages are what SQLite recovers",
    [Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 ** 31 }))],
    ([seed]) =>
      Effect.gen(function* () {
        const random = randomOf(seed)
        const pageSize = [512, 4096, 65_536][random(3)] ?? 512
        const { file } = yield* leftBehind(session(random, pageSize), pageSize)
        const bytes = fs.readFileSync(`${file}-wal`)
        const base = yield* without(file)
        yield* agrees(file, bytes, base)
        for (let n = 0; n < 15; n++) yield* Effect.scoped(agrees(file, damaged(bytes, random, pageSize), base))
      }).pipe(Effect.scoped),
    { arbitrary: { runs: slice(12) }, timeout: 60_000 },
  )
})
