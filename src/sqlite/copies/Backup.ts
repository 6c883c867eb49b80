/**
 * Backups of a live database through SQLite's online backup, in a process of their own: the event loop stays alive,
 * readers and writers go on, and one that is called off ends at once.
 *
 * Written aside, checked with `quick_check` in a process of its own, and only then given its name; an old one goes only
 * after that. A backup that fails leaves nothing, and is no reason to stop.
 * https://www.sqlite.org/backup.html
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Clock, Config, Context, Duration, Effect, FileSystem, Layer, Option, Ref, Schema, Stream } from "effect"
import * as DatabaseFile from "../../files/DatabaseFile.ts"
import * as OptionError from "../../options/OptionError.ts"
import * as SystemError from "../../files/SystemError.ts"
import * as Shutdown from "../../shutdown/Shutdown.ts"
import { next, prune, type SessionBackup, warnAhead } from "./BackupFiles.ts"
import * as Database from "../Database.ts"
import { about } from "../DatabaseName.ts"
import { ensureIndex } from "../DatabasePath.ts"
import { giveName } from "./PublishFile.ts"
import * as Integrity from "./Integrity.ts"
import * as OwnerAndMode from "./OwnerAndMode.ts"
import * as ChildTask from "./ChildTask.ts"
import { saysWho } from "../LockedBy.ts"
import { NativeReason } from "../NativeError.ts"

export type { SessionBackup } from "./BackupFiles.ts"

/** A backup that was not made: the database, the disk, the folder, or a copy that did not pass its check. */
export class BackupError extends Schema.TaggedError<BackupError>()("BackupError", {
  /** The name that it was to have. */
  file: Schema.String,
  cause: Schema.Defect(),
}) {
  override get message() {
    return `no backup ${this.file}: ${SystemError.wordsOf(this.cause)}`
  }
}

/** The database that is backed up, and how many backups stay. */
export interface BackupOptions {
  /** The database. Whether it is open here, or in another process, makes no difference. */
  readonly file: string
  /** How many of each kind `run` keeps, the newest; default 10, less than 1 counts as 1. */
  readonly keep?: number
}

/** Neither has a bound in time; interrupted, they end at once. While the copy is made the WAL cannot restart. */
export class Backup extends Context.Service<
  Backup,
  {
    /**
     * Makes one now beside the database (`bak`: before a session, `post`: after its clean end), removes what is too old
     * of its kind (a WARNING when that cannot be) and what an interrupted one of it left, and returns its path.
     */
    readonly run: (kind: SessionBackup) => Effect.Effect<string, BackupError>
    /** Makes one now with this name; fails when something has it already, which is left as it is. Removes nothing. */
    readonly runTo: (name: string) => Effect.Effect<string, BackupError>
  }
>()("seawall/sqlite/copies/Backup") {}

/** Makes nothing by itself: see `aroundSession`. */
export const layer = (options: BackupOptions): Layer.Layer<Backup, OptionError.OptionError> =>
  Layer.effect(Backup, about(options.file)(make(options))).pipe(Layer.provide(NodeServices.layer))

/** The same with options from the configuration: `layerConfig({ file: Config.String("DATABASE") })`. */
export const layerConfig = (
  options: Config.Wrap<BackupOptions>,
): Layer.Layer<Backup, OptionError.OptionError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layer))

/** @internal */
export const defaultKeep = 10

const Line = Schema.Union([
  Schema.Struct({ copied: Schema.Int, pages: Schema.Int }),
  Schema.Struct({ done: Schema.Literal(true) }),
  Schema.Struct({ reason: NativeReason, detail: Schema.String }),
])

/** Copies `file` into `destination`, and says how far it is. Fails with what the process said, or did not say. */
const copy = Effect.fnUntraced(function* (file: string, destination: string) {
  const start = yield* Clock.currentTimeMillis
  const last = yield* Ref.make<typeof Line.Type>({ copied: 0, pages: 0 })
  const target = DatabaseFile.resolve(file)
  if (DatabaseFile.look(target.wal) !== undefined) yield* ensureIndex(target)
  const copying = yield* ChildTask.start("backupProcess", file, destination)
  const running = Effect.gen(function* () {
    const line = yield* Ref.get(last)
    if (!("pages" in line)) return
    yield* Effect.annotateLogs(Effect.logInfo("backup running"), {
      file,
      elapsed_seconds: Math.round(((yield* Clock.currentTimeMillis) - start) / 1000),
      percent: Math.floor((line.copied * 100) / Math.max(1, line.pages)),
    })
  })
  yield* ChildTask.progress(running)
  yield* copying.stdout.pipe(
    Stream.decodeText(),
    Stream.splitLines,
    Stream.map((line) => Schema.decodeOption(Schema.fromJsonString(Line))(line)),
    // Half a line, of a process that was killed, is no news.
    Stream.runForEach(Option.match({ onNone: () => Effect.void, onSome: (line) => Ref.set(last, line) })),
  )
  yield* copying.ended
  const end = yield* Ref.get(last)
  if ("done" in end) return
  if (!("detail" in end)) {
    return yield* new BackupError({ file: destination, cause: "the process that copies did not say how it ended" })
  }
  const isLocked = end.reason === "Busy" || end.reason === "Locked"
  return yield* new BackupError({
    file: destination,
    cause: isLocked ? yield* saysWho(end.detail, file) : end.detail,
  })
}, Effect.scoped)

const make = Effect.fnUntraced(function* ({ file, keep: given = defaultKeep }: BackupOptions) {
  const keep = yield* OptionError.count("keep", given, Number.MIN_SAFE_INTEGER)
  const services = yield* Effect.context<NodeServices.NodeServices>()
  const fs = yield* FileSystem.FileSystem

  const isAheadSaid = yield* Ref.make(false)

  /** Under another name until it has passed its check; a file that has the name already is not written over. */
  const copyTo = Effect.fn("Backup.copyTo")(function* (name: string) {
    const start = yield* Clock.currentTimeMillis
    const aside = `${name}.partial`
    const { size } = yield* Effect.scoped(
      Effect.gen(function* () {
        // Open to the end, so that other processes can see that the copy is being made.
        yield* fs.open(aside, { flag: "wx", mode: OwnerAndMode.whileWritten }).pipe(
          Effect.mapError((cause) =>
            cause.reason._tag === "AlreadyExists"
              ? new BackupError({ file: name, cause: `remove ${aside} first, which is there already` })
              : cause,
          ),
          Effect.andThen(
            Effect.addFinalizer(() =>
              Effect.forEach([aside, DatabaseFile.resolve(aside).journal], (left) => Effect.ignore(fs.remove(left))),
            ),
          ),
          Effect.uninterruptible,
        )
        yield* copy(file, aside)
        yield* Integrity.check(aside)
        const made = yield* fs.stat(aside)
        const { found } = DatabaseFile.resolve(file)
        // The users who may read the database may read its copy, and no others.
        if (found !== undefined) yield* OwnerAndMode.give(aside, found)
        yield* giveName(aside, name)
        return made
      }),
    )
    yield* Effect.annotateLogs(Effect.logInfo("backup"), {
      file: name,
      bytes: Number(size),
      elapsed_ms: (yield* Clock.currentTimeMillis) - start,
    })
    return name
  })
  const typed = <A, R>(name: string, self: Effect.Effect<A, unknown, R>) =>
    Effect.mapError(self, (cause) => (cause instanceof BackupError ? cause : new BackupError({ file: name, cause })))

  const runTo = Effect.fn("Backup.runTo")(function* (name: string) {
    const isTaken = Effect.fail(new BackupError({ file: name, cause: "there is a file of that name already" }))
    const beside = DatabaseFile.besideOf(name)
    if (beside !== undefined) {
      return yield* new BackupError({
        file: name,
        cause: `SQLite would take it for a part of ${beside}; give another name`,
      })
    }
    return yield* typed(name, DatabaseFile.isTaken(name) ? isTaken : copyTo(name))
  }, Effect.provideContext(services))

  const run = Effect.fn("Backup.run")(function* (kind: SessionBackup) {
    const { ahead, name } = yield* next(file, kind)
    if (Option.isSome(ahead) && !(yield* Ref.getAndSet(isAheadSaid, true))) yield* warnAhead(ahead.value)
    return yield* typed(
      name,
      Effect.tap(copyTo(name), () => prune(file, kind, Math.max(1, keep), name)),
    )
  }, Effect.provideContext(services))

  const named = about(file)
  return Backup.of({ run: (kind) => named(run(kind)), runTo: (name) => named(runTo(name)) })
})

/** When the last of the two backups around a session is made. */
export interface AroundSessionOptions {
  /** Asked at the end; default yes. */
  readonly wanted?: Effect.Effect<boolean> | undefined
}

/**
 * One backup before everything above it starts, and one after all of that has ended cleanly: put it right above
 * `Database`. A backup that fails is a WARNING. An empty database gets no first one. The last one is left out when the
 * end was not clean, `wanted` says no, or less than half of the shutdown budget is left; it gets half of what is left.
 */
export const aroundSession = ({ wanted = Effect.succeed(true) }: AroundSessionOptions = {}): Layer.Layer<
  never,
  never,
  Backup | Database.Database
> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const { run } = yield* Backup
      const { filename: file, sql } = yield* Database.Database
      const shutdown = yield* Shutdown.Shutdown
      const skipped = (reason: string) =>
        Effect.andThen(
          shutdown.note({ backup: `none: ${reason}` }),
          Effect.annotateLogs(Effect.logInfo("backup skipped"), { reason }),
        )
      const warned = (backup: Effect.Effect<string, BackupError>) =>
        Effect.catch(backup, (error) =>
          Effect.andThen(
            shutdown.note({ backup: "none: it failed" }),
            Effect.annotateLogs(Effect.logWarning("backup failed"), { error: error.message }),
          ),
        )
      const isEmpty = Effect.match(sql.unsafe("SELECT 1 FROM sqlite_schema LIMIT 1"), {
        onFailure: () => false,
        onSuccess: (rows) => rows.length === 0,
      })
      if (!(yield* Effect.withTracerEnabled(isEmpty, false))) yield* about(file)(warned(run("bak")))

      yield* Effect.addFinalizer((exit) =>
        Effect.gen(function* () {
          if (exit._tag === "Failure") return yield* skipped("the session did not start, or did not end cleanly")
          if ((yield* shutdown.failures).length > 0) return yield* skipped("a step of the shutdown failed")
          if (!(yield* wanted)) return yield* skipped("none is made after such an end")
          if ((yield* shutdown.remainingPart) < 1 / 2) {
            return yield* skipped("less than half of the shutdown budget is left")
          }
          // Half of what is left, so that the close has its time: what is not done by then is a WARNING, too.
          const atMost = Duration.divideUnsafe(yield* shutdown.remaining, 2)
          const bounded = Effect.timeoutOrElse(run("post"), {
            duration: atMost,
            orElse: () => new BackupError({ file, cause: `not done after ${Duration.toSeconds(atMost)} s` }),
          })
          yield* shutdown.note({ backup: "none: that step failed" })
          const made = Effect.tap(bounded, (backup) => shutdown.note({ backup }))
          return yield* Shutdown.step("backup", warned(made))
        }).pipe(Shutdown.contained("backup"), about(file)),
      )
    }),
  )
