/**
 * The backups beside a database: `<db>.bak.<UTC stamp>` from before a session, `<db>.post.<UTC stamp>` from its clean end,
 * `<db>.manual.<UTC stamp>` made on request, and never removed by Seawall.
 *
 * Each is one whole database file, and has passed `quick_check` before it got its name. A file that is being written has a name
 * that ends in `.partial`, and is no backup.
 */
import { Array as Arr, Clock, DateTime, Effect, FileSystem, Option, Order, Path } from "effect"
import * as DatabaseFile from "../../files/DatabaseFile.ts"
import { isUsing, usingOrThis } from "../../processes/Processes.ts"
import { ofSeawall } from "../DatabaseName.ts"
import { command } from "../ShellCommand.ts"

/** From before a session, or from its clean end. */
export type SessionBackup = "bak" | "post"

/** Those, or asked for. */
type BackupKind = SessionBackup | "manual"

const pattern = /^(.*)\.(bak|post|manual)\.(\d{8}T\d{9}Z)$/
const partial = /^((.*)\.(bak|post|manual)\.\d{8}T\d{9}Z\.partial)(?:-journal|-wal|-shm)?$/

const copy = /\.(?:bak|post|manual|replaced|restoring)\.\d{8}T\d{9}Z(?:\.partial)?$/

/** Whether a file of this name is a copy that a backup or a restore made, or is about to make. */
export const isCopy = (name: string): boolean => copy.test(name)

/** The name of the database that a backup of this name is of. */
export const databaseOf = (name: string): Option.Option<string> => Option.fromNullishOr(pattern.exec(name)?.[1])

/** Milliseconds since 1970 as `20261123T081530123Z`: names sort as times do. */
export const stampOf = (millis: number) => DateTime.formatIso(DateTime.makeUnsafe(millis)).replaceAll(/[-:.]/g, "")

/** The last millisecond whose year has four digits. */
const lastStamped = 253_402_300_799_999

const timeOf = (stamp: string) =>
  DateTime.make(stamp.replace(/^(....)(..)(..)T(..)(..)(..)(...)Z$/, "$1-$2-$3T$4:$5:$6.$7Z")).pipe(
    Option.map(DateTime.toEpochMillis),
    Option.filter((millis) => stampOf(millis) === stamp),
  )

/** When a backup of this name says that it was made, in milliseconds since 1970. */
export const madeAt = (name: string): Option.Option<number> =>
  Option.flatMap(Option.fromNullishOr(pattern.exec(name)?.[3]), timeOf)

/** Which kind a backup of this name is. */
export const kindOf = (name: string): string => pattern.exec(name)?.[2] ?? ""

/** All backups of this database with the time of their stamps, the newest first. None when the folder cannot be read. */
const stamped = Effect.fnUntraced(function* (file: string, kind?: BackupKind) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const names = yield* Effect.orElseSucceed(fs.readDirectory(path.dirname(file)), () => [])
  const found = names.flatMap((name) => {
    const [, base, its, stamp = ""] = pattern.exec(name) ?? []
    if (base !== path.basename(file) || (kind ?? its) !== its) return []
    return Option.toArray(Option.map(timeOf(stamp), (at) => ({ at, name: path.join(path.dirname(file), name) })))
  })
  return Arr.sortWith(found, ({ at }) => at, Order.flip(Order.Number))
})

/** The paths of all backups of this database, the newest first. None when the folder cannot be read. */
export const list = (file: string, kind?: BackupKind) =>
  Effect.map(stamped(file, kind), (all) => all.map(({ name }) => name))

export const nameOf = (file: string, kind: BackupKind, millis: number) => `${file}.${kind}.${stampOf(millis)}`

/**
 * The name of the next backup: its stamp is now, and later than every one of its kind that is there, whatever the clock was when that
 * was made, so that the newest sorts as the newest. `ahead` is the one whose stamp is of the future.
 */
export const next = Effect.fnUntraced(function* (file: string, kind: BackupKind) {
  const now = yield* Clock.currentTimeMillis
  const all = yield* stamped(file, kind)
  const last = Arr.findFirst(all, (it) => it.at < lastStamped)
  const at = Option.match(last, { onNone: () => now, onSome: (it) => Math.max(now, it.at + 1) })
  const ahead = Option.filter(Arr.head(all), (last) => last.at > now + clockTolerance)
  return { name: nameOf(file, kind, at), ahead: Option.map(ahead, ({ name }) => name) }
})

/** Says that a stamp is of the future. */
export const warnAhead = (file: string) =>
  Effect.annotateLogs(Effect.logWarning("backup stamp of the future"), {
    file,
    advice: "the clock was or is wrong; new backups get later stamps than this one, until it is renamed or removed",
  }).pipe(ofSeawall)

/** Two backups in a row may have the same millisecond, and a clock is corrected by some. */
const clockTolerance = 60_000

/**
 * The paths of what interrupted backups left: no visible process has it open, which the process that makes one does all the
 * time (Linux; elsewhere it may be on its way). None when the folder cannot be read.
 */
export const unfinished = Effect.fnUntraced(function* (file: string, kind?: BackupKind) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = path.dirname(file)
  const names = yield* Effect.orElseSucceed(fs.readDirectory(folder), () => [])
  const left = yield* Effect.filter(names, (name) => {
    const [, whole = "", base, found] = partial.exec(name) ?? []
    if (base !== path.basename(file) || (kind ?? found) !== found) return Effect.succeed(false)
    // Looked for again after that: it may have got its name meanwhile.
    return Effect.flatMap(usingOrThis(DatabaseFile.resolve(path.join(folder, whole))), (processes) =>
      Option.exists(processes, (them) => them.some(isUsing))
        ? Effect.succeed(false)
        : Effect.orElseSucceed(fs.exists(path.join(folder, name)), () => false),
    )
  })
  return left.map((name) => path.join(folder, name))
})

/**
 * Removes all but the newest of a kind, never the one just made, and what an interrupted backup of that kind left. What cannot be removed is a WARNING
 * each. Nothing that was asked for goes by itself (`manual`).
 */
export const prune = Effect.fnUntraced(function* (file: string, kind: SessionBackup, keep: number, made?: string) {
  const fs = yield* FileSystem.FileSystem
  const old = (yield* list(file, kind)).filter((name, index) => index >= keep && name !== made)
  yield* Effect.forEach(
    [...old, ...(yield* unfinished(file, kind))],
    (name) =>
      fs
        .remove(name)
        .pipe(Effect.ignore({ log: "Warn", message: "old backup not removed" }), Effect.annotateLogs({ file: name })),
    { discard: true },
  )
})

/** The command that puts a backup in the place of a database. */
export const restoreCommand = (file: string, backup: string) => command("seawall restore", backup, file)
