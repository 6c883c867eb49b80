/**
 * Puts a backup in the place of a database. The backup is checked first; a database that another process has open is left alone;
 * what was there is kept beside it under another name, and nothing is ever overwritten.
 *
 * The copy is written aside and synced before the first file moves; if the last step fails, everything is put back, unless
 * another process has taken a name meanwhile. The database's WAL, index and journal move with it: none of them is the backup's.
 * Does not look into the database that it replaces, which may be damaged.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Clock, Effect, FileSystem, Option, Path, Schema } from "effect"
import * as DatabaseFile from "../../files/DatabaseFile.ts"
import { stampOf } from "./BackupFiles.ts"
import { giveName } from "./Aside.ts"
import * as Integrity from "./Integrity.ts"
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
      case "Failed":
        return `${this.file} was not restored: ${this.detail}. ${unchanged}`
      case "NameTaken":
        return `${this.file} was not restored: another process made a file of that name meanwhile, which is left alone; what was there before is ${this.detail}`
      case "NotPutBack":
        return `${this.file} was not restored, and could not be put back; rename it yourself: ${this.detail}`
    }
  }
}

/** What became of the files. */
export interface Restored {
  readonly file: string
  /** Where the files that were there are now. */
  readonly kept: ReadonlyArray<string>
}

/** What is restored, and where. */
export interface RestoreOptions {
  /** It is read, and stays where it is. */
  readonly backup: string
  /** The database that it takes the place of; may be missing. */
  readonly file: string
}

/** The same on the file system that is provided.
 * @internal
 */
export const restoreOn = Effect.fn("Restore.restore")(function* ({ backup, file }: RestoreOptions) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const refuse = (reason: RestoreError["reason"], detail = "") => new RestoreError({ file, reason, detail })
  const failed = (error: { readonly message: string }) => refuse("Failed", error.message)
  const exists = (name: string) => Effect.orElseSucceed(fs.exists(name), () => false)
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

  if ((yield* sizeOf(backup)) === 0n) return yield* refuse("NoBackup", backup)
  for (const beside of [copied.wal, copied.journal]) {
    if ((yield* sizeOf(beside)) > 0n) return yield* refuse("NotWhole", backup)
  }
  if (!(yield* exists(path.dirname(replaced.path)))) return yield* refuse("NoFolder")
  const isSame = copied.path === replaced.path || copied.found?.identity === replaced.found?.identity
  if (isSame) return yield* refuse("SameFile")
  yield* notInUse
  yield* Integrity.check(backup)

  const stamp = stampOf(yield* Clock.currentTimeMillis)
  const aside = `${target}.restoring.${stamp}`
  const keptAs = `${target}.replaced.${stamp}`
  const thereOf = (name: string) => Effect.filter(DatabaseFile.suffixes, (suffix) => exists(name + suffix))
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
    yield* fs.copyFile(backup, aside)
    yield* Effect.scoped(Effect.flatMap(fs.open(aside, { flag: "r+" }), (copy) => copy.sync))
    yield* notInUse // it took a while
    const moved = yield* Effect.uninterruptible(
      Effect.tap(moveAway, () => giveName(aside, target)).pipe(Effect.onError(() => Effect.ignore(putBack))),
    )
    return { file, kept: moved.map((suffix) => keptAs + suffix) } satisfies Restored
  }).pipe(
    Effect.catch((error) =>
      Effect.flatMap(left, (names) => {
        if (names.length === 0) return Effect.fail(error instanceof RestoreError ? error : failed(error))
        const isTaken = names.some((name) => name === keptAs) ? exists(target) : Effect.succeed(false)
        return Effect.flatMap(isTaken, (taken) =>
          taken
            ? refuse("NameTaken", names.join(", "))
            : refuse("NotPutBack", `it is ${names.join(", ")} now (${error.message})`),
        )
      }),
    ),
    Effect.ensuring(Effect.ignore(fs.remove(aside))),
  )
})

/**
 * Returns once the backup is, on disk, the database. It does not ask for the lease of an engine: take it around this where one
 * may start meanwhile (`Lease.layerFile`).
 */
export const restore = (options: RestoreOptions): Effect.Effect<Restored, RestoreError | Integrity.IntegrityError> =>
  Effect.provide(restoreOn(options), NodeServices.layer)
