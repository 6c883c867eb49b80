/**
 * Puts a backup in the place of a database. The backup is checked first; a database that another process has open is left alone;
 * what was there is kept beside it under another name, and nothing is ever overwritten.
 *
 * The copy is written aside and synced before the first file moves; if the last step fails, everything is put back, unless
 * another process has taken a name meanwhile. The database's WAL, index and journal move with it: none of them is the backup's.
 * Does not look into the database that it replaces, which may be damaged.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Clock, Effect, FileSystem, Option, Path, Schema, Stream } from "effect"
import * as DatabaseFile from "../../files/DatabaseFile.ts"
import * as Room from "../../files/Room.ts"
import * as SystemError from "../../files/SystemError.ts"
import { stampOf } from "./BackupFiles.ts"
import { giveName } from "./PublishFile.ts"
import { ofSeawall } from "../DatabaseName.ts"
import * as Integrity from "./Integrity.ts"
import * as OwnerAndMode from "./OwnerAndMode.ts"
import * as OpenFiles from "../../processes/OpenFiles.ts"
import { ensureNotOpen } from "../outside/AtRest.ts"

/** A database that was not replaced: it is as it was, or, after the last two reasons, under the names that the message says. */
export class RestoreError extends Schema.TaggedError<RestoreError>()("RestoreError", {
  file: Schema.String,
  reason: Schema.Literals([
    "NoBackup",
    "NotWhole",
    "SameFile",
    "InUse",
    "NoFolder",
    "NotAFile",
    "Beside",
    "NoPermission",
    "NoSpace",
    "Failed",
    "NameTaken",
    "NotPutBack",
  ]),
  detail: Schema.String,
}) {
  override get message() {
    const unchanged = "Nothing was changed"
    switch (this.reason) {
      case "NoBackup":
        return `${this.detail} is not there, or is empty; name a backup`
      case "NotWhole":
        return `${this.detail} has a WAL or a journal beside it, so it is no backup but a database; make a backup of it, and restore that`
      case "SameFile":
        return `${this.file} is the backup itself`
      case "InUse":
        return `${this.file} is open in ${this.detail}; stop that first. ${unchanged}`
      case "NoFolder":
        return `the folder of ${this.file} does not exist; create it, or correct the path`
      case "NotAFile":
        return `${this.file} is ${this.detail}; name the database that the backup takes the place of. ${unchanged}`
      case "Beside":
        return `${this.file} has the name of a WAL, an index or a journal of ${this.detail}; name the database. ${unchanged}`
      case "NoPermission":
        return `this user may make no file in ${this.detail}; run it as the user of the database, or as root. ${unchanged}`
      case "NoSpace":
        return `there is not enough room for ${this.file}: ${this.detail}. ${unchanged}`
      case "Failed":
        return `${this.file} was not restored: ${this.detail}. ${unchanged}`
      case "NameTaken":
        return `${this.file} was not restored: another process made a file of that name meanwhile, which is left alone; what was there before is ${this.detail}`
      case "NotPutBack":
        return `${this.file} was not restored, and could not be put back; rename it yourself: ${this.detail}`
    }
  }
}

/** In bytes: what is in memory of a backup while it is copied. */
const chunkSize = 1024 * 1024

const warnOwner = (file: string, missing: string) =>
  Effect.annotateLogs(Effect.logWarning("restored with another owner"), {
    file,
    missing,
    advice: "the program of that user may not open it; give it back as root (chown)",
  }).pipe(ofSeawall)

/** What became of the files. */
export interface Restored {
  readonly file: string
  /** Where the files that were there are now. */
  readonly kept: ReadonlyArray<string>
}

/** What a restore would do. */
export interface RestorePlan {
  readonly file: string
  /** The files that are there, and would be kept under another name. */
  readonly keeps: ReadonlyArray<string>
  /** What the restored database would take, in bytes. */
  readonly bytes: number
}

/** The backup, and the database that it replaces. */
export interface RestoreOptions {
  /** It is read, and stays where it is. */
  readonly backup: string
  /** The database that it takes the place of; may be missing. */
  readonly file: string
}

const exists = (name: string) => FileSystem.FileSystem.use((fs) => Effect.orElseSucceed(fs.exists(name), () => false))

/** Which files of a database are there, by what their names end in. */
const thereOf = (name: string) => Effect.filter(DatabaseFile.suffixes, (suffix) => exists(name + suffix))

/** Everything that is looked at before a file moves, and fails as the restore would. */
const check = Effect.fnUntraced(function* ({ backup, file }: RestoreOptions) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const refuse = (reason: RestoreError["reason"], detail = "") => new RestoreError({ file, reason, detail })
  const sizeOf = (name: string) =>
    fs.stat(name).pipe(
      Effect.map(({ size, type }) => (type === "File" ? size : 0n)),
      Effect.orElseSucceed(() => 0n),
    )
  const copied = DatabaseFile.resolve(backup)
  const replaced = DatabaseFile.resolve(file)
  /** What a symbolic link leads to: its WAL stands beside that. */
  const target = Option.isSome(yield* Effect.option(fs.readLink(file))) ? replaced.path : file
  const notInUse = Effect.gen(function* () {
    if (yield* OpenFiles.isOpen(target)) return yield* refuse("InUse", "this process")
    yield* Effect.mapError(ensureNotOpen(target), ({ what }) => refuse("InUse", what.join(", ")))
  })

  const bytes = Number(yield* sizeOf(backup))
  if (bytes === 0) return yield* refuse("NoBackup", backup)
  for (const beside of [copied.wal, copied.journal]) {
    if ((yield* sizeOf(beside)) > 0n) return yield* refuse("NotWhole", backup)
  }
  const folder = path.dirname(replaced.path)
  if (!(yield* exists(folder))) return yield* refuse("NoFolder")
  const { found } = replaced
  if (found !== undefined && found.kind !== "file") {
    return yield* refuse("NotAFile", found.kind === "folder" ? "a folder" : "no regular file")
  }
  const beside = DatabaseFile.besideOf(replaced.path)
  if (beside !== undefined) return yield* refuse("Beside", beside)
  const isSame = copied.path === replaced.path || copied.found?.identity === replaced.found?.identity
  if (isSame) return yield* refuse("SameFile")
  yield* notInUse
  yield* Integrity.check(backup)
  yield* Effect.mapError(fs.access(folder, { writable: true }), (error) =>
    SystemError.isPermission(error) ? refuse("NoPermission", folder) : refuse("Failed", SystemError.wordsOf(error)),
  )
  const { free } = yield* Effect.orElseSucceed(Room.at(folder), () => ({ free: Infinity }))
  if (free < bytes) return yield* refuse("NoSpace", `it has ${bytes} bytes, and ${free} are free`)
  return { target, bytes, notInUse, found }
})

/** The same on the file system that is provided.
 * @internal
 */
export const restoreOn = Effect.fn("Restore.restore")(function* ({ backup, file }: RestoreOptions) {
  const fs = yield* FileSystem.FileSystem
  const refuse = (reason: RestoreError["reason"], detail = "") => new RestoreError({ file, reason, detail })
  const { found, notInUse, target } = yield* check({ backup, file })
  const stamp = stampOf(yield* Clock.currentTimeMillis)
  const aside = `${target}.restoring.${stamp}`
  const keptAs = `${target}.replaced.${stamp}`
  const left = Effect.map(thereOf(keptAs), (kept) => kept.map((suffix) => keptAs + suffix))
  const [occupied] = yield* left
  if (occupied !== undefined) return yield* refuse("Failed", `there is a file ${occupied}`)

  /** The database first, so that no process opens it without what stands beside it. */
  const moveAway = Effect.flatMap(thereOf(target), (suffixes) =>
    Effect.as(
      Effect.forEach(suffixes, (suffix) => fs.rename(target + suffix, keptAs + suffix), { discard: true }),
      suffixes,
    ),
  )
  /** The database last, and nothing onto a name that is taken meanwhile: its WAL would be read into another database. */
  const putBack = Effect.gen(function* () {
    const moved = yield* thereOf(keptAs)
    const taken = yield* Effect.filter(moved, (suffix) => exists(target + suffix))
    if (taken.length > 0) return
    yield* Effect.forEach(moved.toReversed(), (suffix) => fs.rename(keptAs + suffix, target + suffix))
  })

  return yield* Effect.gen(function* () {
    // Not by the system's own copy, which would give it the mode of the backup at once.
    yield* Stream.run(fs.stream(backup, { chunkSize }), fs.sink(aside, { flag: "wx", mode: OwnerAndMode.whileWritten }))
    const missing = yield* OwnerAndMode.give(aside, found ?? (yield* OwnerAndMode.ofFolder(target)))
    yield* Effect.scoped(Effect.flatMap(fs.open(aside, { flag: "r+" }), (copy) => copy.sync))
    yield* notInUse // it took a while
    const moved = yield* Effect.uninterruptible(
      Effect.tap(moveAway, () => giveName(aside, target)).pipe(Effect.onError(() => Effect.ignore(putBack))),
    )
    if (Option.isSome(missing)) yield* warnOwner(file, missing.value)
    return { file, kept: moved.map((suffix) => keptAs + suffix) } satisfies Restored
  }).pipe(
    Effect.catch((error) =>
      Effect.flatMap(left, (names) => {
        if (names.length === 0)
          return Effect.fail(error instanceof RestoreError ? error : refuse("Failed", SystemError.wordsOf(error)))
        const isTaken = names.some((name) => name === keptAs) ? exists(target) : Effect.succeed(false)
        return Effect.flatMap(isTaken, (taken) =>
          taken
            ? refuse("NameTaken", names.join(", "))
            : refuse("NotPutBack", `it is ${names.join(", ")} now (${SystemError.wordsOf(error)})`),
        )
      }),
    ),
    Effect.ensuring(Effect.ignore(fs.remove(aside))),
  )
})

/** What a restore would do: it looks at all that may be wrong, checks the backup, and changes nothing. */
export const plan = (options: RestoreOptions): Effect.Effect<RestorePlan, RestoreError | Integrity.IntegrityError> =>
  Effect.gen(function* () {
    const { bytes, target } = yield* check(options)
    const keeps = (yield* thereOf(target)).map((suffix) => target + suffix)
    return { file: options.file, keeps, bytes } satisfies RestorePlan
  }).pipe(Effect.provide(NodeServices.layer))

/**
 * Returns once the backup is, on disk, the database. It does not ask for the lease of an engine: take it around this where one
 * may start meanwhile (`Lease.layerFile`).
 */
export const restore = (options: RestoreOptions): Effect.Effect<Restored, RestoreError | Integrity.IntegrityError> =>
  Effect.provide(restoreOn(options), NodeServices.layer)
