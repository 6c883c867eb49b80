/**
 * What the first bytes of a `-shm` file, the index of the WAL, say: how long the WAL is for the connections that are open
 * now, and how far it is checkpointed. Not atomic: beside a live writer the copies may differ; then read again. After the
 * last connection has gone it says what was; the next one rebuilds it from the WAL.
 *
 * Takes no lock. Only for a process that holds no SQLite connection to the database: POSIX drops all of a process's locks
 * on a file when any descriptor for it is closed. https://www.sqlite.org/walformat.html#the_wal_index_file_format
 */
import { Effect, Option, Schema } from "effect"
import * as FileBytes from "./FileBytes.ts"
import * as WalChecksum from "./WalChecksum.ts"

/**
 * What SQLite makes of the two copies of the header. All but `Valid` and `OtherVersion` make it recover the WAL:
 * `Uninitialised` after it was created or cleared, `CopiesDiffer` in the middle of a write or after a kill there.
 */
const WalIndexState = Schema.Literals(["Valid", "Uninitialised", "CopiesDiffer", "BadChecksum", "OtherVersion"])
type WalIndexState = typeof WalIndexState.Type

/** The numbers are those of the first copy, and only to be trusted when the state is `Valid`. */
export interface WalIndex {
  readonly state: WalIndexState
  /** Counts transactions; wraps. */
  readonly changeCounter: number
  /** In bytes. 0 when the index is not initialised. */
  readonly pageSize: number
  /** The last committed frame of the WAL. */
  readonly mxFrame: number
  /** The size of the database in pages after that frame. */
  readonly nPage: number
  /** Equal to those in the WAL's header, when the index is of that WAL. */
  readonly salts: readonly [number, number]
  /** Frames that are copied into the database. */
  readonly nBackfill: number
  /** Frames that may be copied, after a checkpoint that did not end. */
  readonly nBackfillAttempted: number
  /** The last frame that a reader in this slot may use. None when the slot is unused. A mark is no proof of a reader. */
  readonly readMarks: ReadonlyArray<Option.Option<number>>
}

const copySize = 48
const size = 136
const version = 3_007_000
const unusedMark = 0xffffffff

const stateOf = (bytes: Uint8Array, view: DataView, isLittle: boolean): WalIndexState => {
  for (let at = 0; at < copySize; at++) if (bytes[at] !== bytes[copySize + at]) return "CopiesDiffer"
  if (view.getUint8(12) === 0) return "Uninitialised"
  const checksum = WalChecksum.make(WalChecksum.isNativeBigEndian)
  checksum.add(new Int32Array(bytes.buffer), 0, 10)
  if (!checksum.equals(view.getInt32(40, isLittle), view.getInt32(44, isLittle))) return "BadChecksum"
  return view.getUint32(0, isLittle) === version ? "Valid" : "OtherVersion"
}

const parse = (bytes: Uint8Array): WalIndex => {
  const view = new DataView(bytes.buffer)
  const isLittle = !WalChecksum.isNativeBigEndian
  const word = (at: number) => view.getUint32(at, isLittle)
  const pageSize = view.getUint16(14, isLittle)
  return {
    state: stateOf(bytes, view, isLittle),
    changeCounter: word(8),
    pageSize: (pageSize & 0xfffe) + ((pageSize & 1) << 16), // 65536 has no place in 16 bits, and is 1
    mxFrame: word(16),
    nPage: word(20),
    // Copied from the WAL as bytes, so these are big-endian everywhere.
    salts: [view.getUint32(32), view.getUint32(36)],
    nBackfill: word(96),
    nBackfillAttempted: word(128),
    readMarks: [100, 104, 108, 112, 116].map((at) =>
      Option.liftPredicate(word(at), (mark: number) => mark !== unusedMark),
    ),
  }
}

/** Reads the index of a WAL. None when the file does not exist or is empty. */
export const read = Effect.fn("WalIndex.read")(function* (file: string) {
  const opened = yield* FileBytes.open(file)
  if (Option.isNone(opened) || opened.value.size === 0) return Option.none()
  // What a shorter file lacks is zero: the first connection cuts the file to 3 bytes before it builds the index.
  const bytes = new Uint8Array(size)
  yield* opened.value.readInto(bytes)
  return Option.some(parse(bytes))
}, Effect.scoped)

/** How many committed frames are not in the database file yet. Not below 0, for both numbers were not read at one instant. */
export const framesNotCheckpointed = ({ mxFrame, nBackfill }: Pick<WalIndex, "mxFrame" | "nBackfill">) =>
  Math.max(0, mxFrame - nBackfill)
