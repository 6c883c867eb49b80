/**
 * What the first 100 bytes of a database file say. In WAL mode that is as of the last checkpoint of page 1: a newer page 1
 * may be in the WAL.
 *
 * Takes no lock. Only for a process that holds no SQLite connection to the file: POSIX drops all of a process's locks on a
 * file when any descriptor for it is closed. https://www.sqlite.org/fileformat.html#the_database_header
 */
import { Effect, Option, Schema } from "effect"
import * as DatabaseFile from "../../files/DatabaseFile.ts"
import * as FileBytes from "./FileBytes.ts"

/** `NotADatabase`: by the rules of SQLite itself, so a header that is damaged or encrypted is none, too. */
export class DatabaseHeaderError extends Schema.TaggedError<DatabaseHeaderError>()("DatabaseHeaderError", {
  file: Schema.String,
  reason: Schema.Literals(["NotADatabase", "Missing", "WalWithoutDatabase", "NotAFile", "Unreadable"]),
  cause: Schema.optionalKey(Schema.Defect()),
}) {
  override get message() {
    switch (this.reason) {
      case "NotADatabase":
        return `${this.file} is not a SQLite database, or its header is damaged or encrypted; check the path, or restore a backup`
      case "Missing":
        return `${this.file} does not exist; check the path`
      case "WalWithoutDatabase":
        return `${this.file} does not exist, but its WAL does, and holds commits; put the database back beside it, or move the WAL away`
      default:
        return this.cause instanceof Error ? this.cause.message : `${this.file} could not be read`
    }
  }
}

export interface DatabaseHeader {
  /** In bytes: a power of two from 512 to 65536. */
  readonly pageSize: number
  /** The size in pages: the header's own when it is valid, else that of the file, as SQLite does. */
  readonly pages: number
  /** How a reader has to read the file. */
  readonly journalMode: "wal" | "rollback"
  /** Free pages among them: left by deletions, and used again. https://www.sqlite.org/fileformat2.html#the_freelist */
  readonly freePages: number
  /** https://www.sqlite.org/pragma.html#pragma_user_version */
  readonly userVersion: number
  /** https://www.sqlite.org/pragma.html#pragma_application_id */
  readonly applicationId: number
  readonly fileChangeCounter: number
  /** The change counter when `pages` and `writtenBy` were stored; another one means that they are stale. */
  readonly versionValidFor: number
  /** The SQLite that last wrote page 1, such as "3.53.1". */
  readonly writtenBy: Option.Option<string>
}

const headerSize = 100
const magic = "SQLite format 3\0"

const versionOf = (number: number) =>
  number < 3_000_000
    ? Option.none()
    : Option.some(`${Math.floor(number / 1_000_000)}.${Math.floor(number / 1000) % 1000}.${number % 1000}`)

const hasMagic = (bytes: Uint8Array) => String.fromCharCode(...bytes.subarray(0, magic.length)) === magic

/** The rules by which SQLite itself says "file is not a database". */
const parse = (bytes: Uint8Array, fileSize: number): DatabaseHeader | undefined => {
  const view = new DataView(bytes.buffer)
  const stored = view.getUint16(16)
  const pageSize = stored === 1 ? 65_536 : stored
  const readVersion = view.getUint8(19)
  const isHeader =
    hasMagic(bytes) &&
    pageSize >= 512 &&
    (pageSize & (pageSize - 1)) === 0 &&
    readVersion <= 2 &&
    view.getUint8(21) === 64 && // the payload fractions, which never had other values
    view.getUint8(22) === 32 &&
    view.getUint8(23) === 32
  if (!isHeader) return undefined
  const fileChangeCounter = view.getUint32(24)
  const versionValidFor = view.getUint32(92)
  const isValid = fileChangeCounter === versionValidFor
  const pages = view.getUint32(28)
  return {
    pageSize,
    pages: isValid && pages > 0 ? pages : Math.floor(fileSize / pageSize),
    journalMode: readVersion === 2 ? "wal" : "rollback",
    freePages: view.getUint32(36),
    userVersion: view.getInt32(60),
    applicationId: view.getInt32(68),
    fileChangeCounter,
    versionValidFor,
    writtenBy: isValid ? versionOf(view.getUint32(96)) : Option.none(),
  }
}

/** Reads the header of a database file. None when the file is empty, which is a database without anything in it. */
export const read = Effect.fn("DatabaseHeader.read")(
  function* (file: string) {
    const opened = yield* FileBytes.open(file)
    if (Option.isNone(opened)) {
      const hasWal = (DatabaseFile.look(DatabaseFile.resolve(file).wal)?.bytes ?? 0) > DatabaseFile.walHeaderBytes
      return yield* new DatabaseHeaderError({ file, reason: hasWal ? "WalWithoutDatabase" : "Missing" })
    }
    const { readInto, size } = opened.value
    if (size === 0) return Option.none()
    const bytes = new Uint8Array(headerSize)
    const header = (yield* readInto(bytes)) < headerSize ? undefined : parse(bytes, size)
    if (header === undefined) return yield* new DatabaseHeaderError({ file, reason: "NotADatabase" })
    return Option.some(header)
  },
  Effect.scoped,
  Effect.catchTag("FileBytesError", (cause) =>
    Effect.fail(new DatabaseHeaderError({ file: cause.file, reason: cause.reason, cause })),
  ),
)

/** Whether a regular file begins as a SQLite database does, whatever follows; also yes when it cannot be read. */
export const mayBegin = (file: string) =>
  Effect.gen(function* () {
    const opened = yield* FileBytes.open(file)
    if (Option.isNone(opened)) return false
    const bytes = new Uint8Array(magic.length)
    yield* opened.value.readInto(bytes)
    return hasMagic(bytes)
  }).pipe(
    Effect.scoped,
    Effect.catchTag("FileBytesError", ({ reason }) => Effect.succeed(reason === "Unreadable")),
  )
