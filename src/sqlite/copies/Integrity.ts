/**
 * Looks whether a database is sound, before any connection of this process exists. Fails closed: what could not be
 * checked is not opened. Leaves the main file and its WAL byte-identical; all that it may create is an index, beside a
 * log that has none.
 *
 * The check runs in a process of its own, so that signals stay alive and it can be stopped; it says how far it is.
 * A file that does not exist yet, or is empty, is sound. Index content, UNIQUE and foreign keys are not looked at.
 * https://www.sqlite.org/pragma.html#pragma_quick_check
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Clock, Config, Effect, FileSystem, Layer, Option, Result, Runtime, Schema, Stream } from "effect"
import * as DatabaseFile from "../../files/DatabaseFile.ts"
import * as SystemError from "../../files/SystemError.ts"
import type { DatabaseOpenError } from "../DatabaseOpenError.ts"
import { ensureIndex, ensureUsable } from "../DatabasePath.ts"
import { saysWho } from "../LockedBy.ts"
import { NativeReason } from "../NativeError.ts"
import * as BackupFiles from "./BackupFiles.ts"
import { ofSeawall } from "../DatabaseName.ts"
import * as ChildTask from "./ChildTask.ts"

/** `Damaged`: the check found something, or the file is no database. `NotChecked`: there is no verdict. */
export class IntegrityError extends Schema.TaggedError<IntegrityError>()("IntegrityError", {
  file: Schema.String,
  reason: Schema.Literals(["Damaged", "NotChecked"]),
  /** What SQLite said, the first 20 lines; of `NotChecked`: why. */
  findings: Schema.Array(Schema.String),
  /** What to do about a damaged file. */
  advice: Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed("restore a backup"))),
}) {
  /** 65 (EX_DATAERR) when the file is damaged, else 1. */
  override readonly [Runtime.errorExitCode] = this.reason === "Damaged" ? 65 : 1
  override get message() {
    const found = this.findings.join("; ")
    return this.reason === "Damaged"
      ? `${this.file} failed its integrity check: ${found}. Nothing was changed; ${this.advice}`
      : `${this.file} could not be checked, and is not opened unchecked: ${found}`
  }
}

const Verdict = Schema.Union([
  Schema.Struct({ findings: Schema.Array(Schema.String) }),
  Schema.Struct({ reason: NativeReason, detail: Schema.String }),
])

/**
 * Runs `quick_check` on the file, the WAL included. Succeeds when it is sound or does not exist, else `IntegrityError`.
 * It takes as long as reading the whole file, without a bound; interrupted, it ends at once.
 */
export const check = Effect.fn("Integrity.check")(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const notChecked = (error: unknown) =>
    new IntegrityError({ file, reason: "NotChecked", findings: [SystemError.wordsOf(error)] })

  const size = yield* fs.stat(file).pipe(
    Effect.map((info) => (info.type === "File" ? info.size : 0n)),
    Effect.catchReason("PlatformError", "NotFound", () => Effect.succeed(0n)),
    Effect.mapError(notChecked),
  )
  if (size === 0n) return
  const target = DatabaseFile.resolve(file)
  if (DatabaseFile.look(target.wal) !== undefined) yield* Effect.mapError(ensureIndex(target), notChecked)
  yield* Effect.annotateLogs(ofSeawall(Effect.logDebug("integrity_check started")), { file, bytes: Number(size) })

  const output = yield* Effect.gen(function* () {
    const checking = yield* ChildTask.start("integrityProcess", file)
    yield* progress(file, checking.pid, size)
    const output = yield* checking.stdout.pipe(Stream.decodeText(), Stream.mkString)
    yield* checking.ended
    return output
  }).pipe(Effect.scoped, Effect.mapError(notChecked))
  const verdict = yield* Effect.mapError(Schema.decodeEffect(Schema.fromJsonString(Verdict))(output), notChecked)

  if ("findings" in verdict) {
    if (verdict.findings.length === 0) return
    return yield* new IntegrityError({ file, reason: "Damaged", findings: verdict.findings })
  }
  const damaged = verdict.reason === "Corrupt" || verdict.reason === "NotADatabase"
  const isLocked = verdict.reason === "Busy" || verdict.reason === "Locked"
  return yield* new IntegrityError({
    file,
    reason: damaged ? "Damaged" : "NotChecked",
    findings: [isLocked ? yield* saysWho(verdict.detail, file) : verdict.detail],
  })
})

/** A check reads each page about once, so the bytes its process has read (Linux) tell how far it is. */
const progress = Effect.fnUntraced(function* (file: string, pid: number, size: bigint) {
  const fs = yield* FileSystem.FileSystem
  const start = yield* Clock.monotonicTimeNanos
  const line = Effect.gen(function* () {
    const io = yield* Effect.orElseSucceed(fs.readFileString(`/proc/${pid}/io`), () => "")
    const read = Option.fromNullishOr(/^rchar: (\d+)$/m.exec(io)?.[1])
    const elapsed_seconds = Math.round(Number((yield* Clock.monotonicTimeNanos) - start) / 1e9)
    yield* Effect.annotateLogs(ofSeawall(Effect.logInfo("integrity_check running")), {
      file,
      elapsed_seconds,
      percent: Option.match(read, {
        onNone: () => "unknown",
        onSome: (bytes) => Math.min(99, Math.floor((Number(bytes) * 100) / Number(size))),
      }),
    })
  })
  yield* ChildTask.progress(line)
})

/** The first that passes its own check; of the newest first, the newest. @internal */
export const newestSound = (backups: ReadonlyArray<string>) =>
  Effect.findFirst(backups, (backup) => Effect.map(Effect.result(check(backup)), Result.isSuccess))

/** Which file is checked before it is opened, and how. */
export interface IntegrityOptions {
  readonly file: string
  /** `quick`: `check`. `off`: no check. */
  readonly check: "quick" | "off"
}

/** A damaged file's error, with the command that restores the newest backup which is sound. */
const advised = Effect.fnUntraced(function* (error: IntegrityError) {
  if (error.reason !== "Damaged") return yield* error
  const { file, findings, reason } = error
  const advice = Option.match(yield* newestSound(yield* BackupFiles.list(file)), {
    onNone: () => "there is no backup beside it that passes its own check",
    onSome: (backup) =>
      `restore the newest backup that passes its own check: ${BackupFiles.restoreCommand(file, backup)}`,
  })
  return yield* new IntegrityError({ file, reason, findings, advice })
})

/**
 * Checks once, when the layer is built: put it below `Database`. For a damaged file it checks the backups, too, the
 * newest first, until one is sound, and its error has the command that restores that one.
 */
export const layer = (options: IntegrityOptions): Layer.Layer<never, IntegrityError | DatabaseOpenError> =>
  options.check === "off"
    ? Layer.empty
    : Layer.effectDiscard(
        Effect.andThen(
          ensureUsable(DatabaseFile.resolve(options.file), false), // the check opens it, too
          Effect.catch(check(options.file), advised),
        ),
      ).pipe(Layer.provide(NodeServices.layer))

/** The same with options from the configuration: `layerConfig({ file: Config.String("DATABASE") })`. */
export const layerConfig = (
  options: Config.Wrap<IntegrityOptions>,
): Layer.Layer<never, IntegrityError | DatabaseOpenError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layer))
