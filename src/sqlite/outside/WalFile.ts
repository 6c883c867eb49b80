/**
 * What a `-wal` file holds, frame by frame, by the rules of SQLite's recovery: which commits it would keep, and where and
 * why it would stop. Reads in chunks, so the length of the WAL costs time and no memory. Beside a live writer the last
 * transaction may look torn, and a reset may happen in between: `WalIndex` says more there.
 *
 * Takes no lock. Only for a process that holds no SQLite connection to the database: POSIX drops all of a process's locks
 * on a file when any descriptor for it is closed. https://www.sqlite.org/fileformat2.html#walformat
 */
import { Effect, Option, Schema } from "effect"
import * as FileBytes from "./FileBytes.ts"
import * as WalChecksum from "./WalChecksum.ts"

/**
 * Why the WAL ends:
 * - `Empty`: it has no bytes.
 * - `BadHeader`: shorter than a header, or the header is damaged. SQLite ignores the whole WAL.
 * - `OtherVersion`: a sound header of a format that SQLite does not open ("unable to open database file").
 * - `EndOfFile`: with its last frame. Clean.
 * - `EarlierLog`: what follows has other salts: left by an earlier generation, or never written. Normal after a reset.
 * - `Torn`: the next frame is of this WAL but its checksum is not, it is cut short, or frames of this WAL follow.
 */
export const WalEndReason = Schema.Literals(["Empty", "BadHeader", "OtherVersion", "EndOfFile", "EarlierLog", "Torn"])
export type WalEndReason = typeof WalEndReason.Type

interface WalEnd {
  readonly reason: WalEndReason
  /** The number of the first frame that does not count, from 1; 0 for the header. */
  readonly frame: number
  /** The byte at which that frame starts, or would start. */
  readonly offset: number
  /** Whether it bears a commit mark and this WAL's salts: a commit that is torn, which a recovery drops. */
  readonly isCommit: boolean
}

export interface WalHeader {
  /** In bytes: a power of two from 512 to 65536. */
  readonly pageSize: number
  /** How often the WAL was reset. */
  readonly checkpointSequence: number
  readonly salts: readonly [number, number]
}

export interface WalFile {
  readonly bytes: number
  /** None when it is not sound: there are no frames then. */
  readonly header: Option.Option<WalHeader>
  /** Whole frames, whatever they hold. */
  readonly framesInFile: number
  /** Valid ones, from the start of the WAL. */
  readonly frames: number
  /** Commit marks in them: the transactions that a recovery keeps (each counts twice or more if opened with `psow=0`). */
  readonly commits: number
  /** Up to the last commit mark: the WAL's length after a recovery. */
  readonly recoverableFrames: number
  /** Valid, but of a transaction that was not committed. */
  readonly uncommittedFrames: number
  /** The size of the database in pages after the last commit. */
  readonly pages: Option.Option<number>
  readonly end: WalEnd
  /**
   * Frames with this WAL's salts behind the first that does not count, and commit marks in them, which a recovery drops
   * without a word. Without a commit mark they are what a rollback or a kill leaves of a spilled transaction. With one,
   * the WAL was damaged in the middle, or a crash without a sync lost a part of it, now or before an earlier recovery.
   */
  readonly following: { readonly frames: number; readonly commits: number }
}

const headerSize = 32
const frameHeaderSize = 24
const version = 3_007_000
/** Its last bit is set when the words of the checksum are big-endian. */
const magic = 0x377f0682

/** Bytes of one read: more is not faster. */
const chunkSize = 1_048_576

interface Sound {
  readonly header: WalHeader
  readonly isOtherVersion: boolean
  /** Goes on with the first frame. */
  readonly checksum: WalChecksum.WalChecksum
}

const parseHeader = (buffer: ArrayBuffer): Sound | undefined => {
  const view = new DataView(buffer)
  const pageSize = view.getUint32(8)
  const isPageSize = pageSize >= 512 && pageSize <= 65_536 && (pageSize & (pageSize - 1)) === 0
  if ((view.getUint32(0) & ~1) !== magic || !isPageSize) return undefined
  const checksum = WalChecksum.make((view.getUint32(0) & 1) === 1)
  checksum.add(new Int32Array(buffer), 0, 6)
  if (!checksum.equals(view.getInt32(24), view.getInt32(28))) return undefined
  return {
    header: {
      pageSize,
      checkpointSequence: view.getUint32(12),
      salts: [view.getUint32(16), view.getUint32(20)],
    },
    isOtherVersion: view.getUint32(4) !== version,
    checksum,
  }
}

/** Counts frames as they come. */
const counter = ({ checksum, header }: Sound) => {
  const frameSize = frameHeaderSize + header.pageSize
  const found = { frames: 0, commits: 0, recoverableFrames: 0, pages: 0 }
  const following = { frames: 0, commits: 0 }
  let isCommit = false
  let stopped: "no" | "own salts" | "other salts" = "no"

  const hasSalts = (view: DataView, at: number) =>
    view.getUint32(at + 8) === header.salts[0] && view.getUint32(at + 12) === header.salts[1]

  const isSound = (view: DataView, words: Int32Array, at: number) => {
    if (view.getUint32(at) === 0) return false // there is no page 0
    const word = at / 4
    checksum.add(words, word, word + 2)
    checksum.add(words, word + frameHeaderSize / 4, word + frameSize / 4)
    return checksum.equals(view.getInt32(at + 16), view.getInt32(at + 20))
  }

  return {
    /** Whole frames, at the start of the buffer. */
    add: (buffer: ArrayBuffer, count: number) => {
      const view = new DataView(buffer)
      const words = new Int32Array(buffer)
      for (let at = 0; at < count * frameSize; at += frameSize) {
        const isOwn = hasSalts(view, at)
        const pages = view.getUint32(at + 4) // 0 but in the last frame of a transaction
        if (stopped !== "no") {
          if (!isOwn) continue
          following.frames++
          if (pages > 0) following.commits++
        } else if (isOwn && isSound(view, words, at)) {
          found.frames++
          if (pages === 0) continue
          found.commits++
          found.recoverableFrames = found.frames
          found.pages = pages
        } else {
          stopped = isOwn ? "own salts" : "other salts"
          isCommit = isOwn && pages > 0
        }
      }
    },
    /** The bytes of the file behind the whole frames. */
    addRest: (buffer: ArrayBuffer, at: number, length: number) => {
      if (stopped !== "no" || length === 0) return
      // A size limit cuts leftovers of an earlier log anywhere.
      const view = new DataView(buffer)
      const isOwn = length < 16 || hasSalts(view, at)
      stopped = isOwn ? "own salts" : "other salts"
      isCommit = length >= 16 && isOwn && view.getUint32(at + 4) > 0
    },
    result: (): Pick<WalFile, "frames" | "commits" | "recoverableFrames" | "pages" | "end" | "following"> => ({
      ...found,
      pages: found.commits > 0 ? Option.some(found.pages) : Option.none(),
      end: {
        reason:
          stopped === "no" ? "EndOfFile" : stopped === "own salts" || following.frames > 0 ? "Torn" : "EarlierLog",
        frame: found.frames + 1,
        offset: headerSize + found.frames * frameSize,
        isCommit,
      },
      following,
    }),
  }
}

const ignored = (bytes: number, reason: WalEndReason): WalFile => ({
  bytes,
  header: Option.none(),
  framesInFile: 0,
  frames: 0,
  commits: 0,
  recoverableFrames: 0,
  uncommittedFrames: 0,
  pages: Option.none(),
  end: { reason, frame: 0, offset: 0, isCommit: false },
  following: { frames: 0, commits: 0 },
})

/** A WAL that is not there, or has no bytes. */
export const empty: WalFile = ignored(0, "Empty")

/** Reads a WAL, as long as it is when it is opened. None when the file does not exist. */
export const read = Effect.fn("WalFile.read")(function* (file: string) {
  const opened = yield* FileBytes.open(file)
  if (Option.isNone(opened)) return Option.none()
  const { readInto, size } = opened.value
  if (size === 0) return Option.some(ignored(size, "Empty"))

  const start = new Uint8Array(headerSize)
  const sound = (yield* readInto(start)) < headerSize ? undefined : parseHeader(start.buffer)
  if (sound === undefined) return Option.some(ignored(size, "BadHeader"))
  if (sound.isOtherVersion) return Option.some(ignored(size, "OtherVersion"))

  const counting = counter(sound)
  const frameSize = frameHeaderSize + sound.header.pageSize
  const chunk = new Uint8Array(Math.max(1, Math.floor(chunkSize / frameSize)) * frameSize)
  let bytes = headerSize
  while (bytes < size) {
    const wanted = Math.min(chunk.length, size - bytes)
    const filled = yield* readInto(chunk.subarray(0, wanted))
    const count = Math.floor(filled / frameSize)
    counting.add(chunk.buffer, count)
    counting.addRest(chunk.buffer, count * frameSize, filled - count * frameSize)
    bytes += filled
    if (filled < wanted) break // it was truncated meanwhile
  }

  const result = counting.result()
  return Option.some<WalFile>({
    ...result,
    bytes,
    header: Option.some(sound.header),
    framesInFile: Math.floor((bytes - headerSize) / frameSize),
    uncommittedFrames: result.frames - result.recoverableFrames,
  })
}, Effect.scoped)

/** Reads the header of a WAL alone, which is quick however long the WAL is. None when there is none that is sound. */
export const readHeader = Effect.fn("WalFile.readHeader")(function* (file: string) {
  const opened = yield* FileBytes.open(file)
  if (Option.isNone(opened)) return Option.none()
  const start = new Uint8Array(headerSize)
  const sound = (yield* opened.value.readInto(start)) < headerSize ? undefined : parseHeader(start.buffer)
  return Option.map(Option.fromUndefinedOr(sound), ({ header }) => header)
}, Effect.scoped)
