/**
 * One engine a database: the right to run on it, which one engine has at a time, and a second start is refused before it writes,
 * creates or checks anything.
 *
 * It stands lowest in the chain of a session, so it is released after everything else has closed. `layerFile` is a lock on one
 * machine, in all of its containers; it goes with its process, and nothing has to be cleaned up after a crash (`LeaseFile`).
 * `holderOf` asks from outside who has it. A file does not fence: a database on which a program writes without asking is
 * written. The lease in PostgreSQL (`Leadership`) does, can be waited for, and can be lost.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { Context, Data, DateTime, Effect, FileSystem, Layer, Option, Path, Runtime, Schema } from "effect"
import * as os from "node:os"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import { clean } from "../files/Printable.ts"
import { shortCommand } from "../processes/ProcessName.ts"
import { about } from "../sqlite/DatabaseName.ts"
import { DatabaseOpenError, fromNative, systemFailure } from "../sqlite/DatabaseOpenError.ts"
import { messageOf, reasonOf } from "../sqlite/NativeError.ts"
import { checkName, ensureRoom, makeFolder } from "../sqlite/DatabasePath.ts"
import { Held, LeaseHolder, NotALease, probe, suffix, take } from "./LeaseFile.ts"

export { LeaseHolder } from "./LeaseFile.ts"

/** The holder, as part of a sentence; another host is named, because the pid counts there.
 * @internal
 */
export const described = ({ command, host, pid, since }: LeaseHolder): string =>
  `pid ${pid} (${clean(command)})${host === os.hostname() ? "" : ` on ${clean(host)}`}, since ${clean(since)}`

/**
 * An engine that was not started, or a command that changed nothing. `Held`: another engine has the lease. `Unavailable`: it
 * cannot be taken on this file system, with this permission, or beside another file of its name; `detail` says why.
 */
export class LeaseError extends Schema.TaggedError<LeaseError>()("LeaseError", {
  /** The database, as it was given. */
  file: Schema.String,
  reason: Schema.Literals(["Held", "Unavailable"]),
  /** The holder; unknown until the other start has written it. */
  holder: Schema.optionalKey(LeaseHolder),
  detail: Schema.String,
  cause: Schema.optionalKey(Schema.Defect()),
}) {
  override readonly [Runtime.errorExitCode] = 1
  override get message() {
    if (this.reason === "Unavailable") return `no lease for ${this.file}: ${this.detail}`
    return this.holder === undefined
      ? `${this.file} belongs to an engine that starts; end that one first`
      : `${this.file} belongs to an engine that runs: ${described(this.holder)}; end that one first`
  }
}

/** Whether an engine runs on a database. */
export type Occupancy = Data.TaggedEnum<{
  /** One does; who, when it has said that already. */
  Held: { readonly holder: Option.Option<LeaseHolder> }
  /**
   * None does. `wasLeft`: the file of a lease is there all the same, so what had it last was killed, or lost its power. Without
   * it, an engine may run that takes no lease, as one does that is put together without `Session`.
   */
  Free: { readonly wasLeft: boolean }
  /** It cannot be told, for this reason. */
  Unknown: { readonly why: string }
}>
export const Occupancy = Data.taggedEnum<Occupancy>()

/** How the session before ended, for the decision whether to go on after it. */
export interface Ended {
  /** None when it is not known. */
  readonly haltReason: Option.Option<string>
  /** Milliseconds since 1970, on the clock of its machine. */
  readonly endedAt: number
}

/** The lease that this program has. */
export class Lease extends Context.Service<
  Lease,
  {
    readonly holder: LeaseHolder
    /** The number that the session of this lease has, and that every write is fenced by; none where a store has no fence. */
    readonly epoch: Option.Option<number>
    /** Whether another had the lease when this one was asked for. */
    readonly waited: boolean
    /** Succeeds with why, when the lease is lost: from then on nothing may be written. Never, where it is had until it is given back. */
    readonly lost: Effect.Effect<string>
    /** Gives it up for lost, because the store said so first. */
    readonly lose: (why: string) => Effect.Effect<void>
  }
>()("seawall/lease/Lease") {}

/** Whether a store that fails for this reason says that the lease is lost.
 * @internal
 */
export const isLoss = (reason: string): boolean => reason === "Superseded" || reason === "Unreachable"

/** Takes the lease of a database file, which may not exist yet, for the life of the layer; creates missing folders. */
export const layerFile = ({ file }: { readonly file: string }): Layer.Layer<Lease, LeaseError> =>
  Layer.effect(Lease, make(file).pipe(Effect.withTracerEnabled(false), about(file))).pipe(
    Layer.provide([NodeFileSystem.layer, NodePath.layer]),
  )

/** Whether an engine runs on a database file now. Creates nothing and does not wait; never fails. */
export const holderOf = (file: string): Effect.Effect<Occupancy> =>
  probe(DatabaseFile.resolve(file)).pipe(
    Effect.map((wasLeft) => Occupancy.Free({ wasLeft })),
    Effect.catch((error) =>
      Effect.succeed(
        error instanceof Held
          ? Occupancy.Held({ holder: error.holder })
          : Occupancy.Unknown({ why: whyUnknown(file, error) }),
      ),
    ),
    Effect.withTracerEnabled(false),
  )

/** A sentence that says what to do, about the file that the lease is kept in. */
const why = (file: string, error: unknown): string => {
  const lease = `${DatabaseFile.resolve(file).path}${suffix}`
  if (error instanceof DatabaseOpenError) return error.message
  const what = error instanceof NotALease ? error.what : undefined
  const refused = fromNative(lease, error)
  return what === undefined && refused.reason !== "NotADatabase" && refused.reason !== "Corrupt"
    ? refused.message
    : `${lease} is ${what ?? "not a lease"}; move it away (it was left as it is)`
}

/** A lock is asked for without a write, but SQLite gives none on what this user may not write. */
const whyUnknown = (file: string, error: unknown): string =>
  ["ReadOnly", "CannotOpen", "NoPermission"].includes(reasonOf(error))
    ? `${DatabaseFile.resolve(file).path}${suffix} cannot be locked by this user (${messageOf(error)}); ask as the user of the engine`
    : why(file, error)

const failed = (file: string) => (error: unknown) =>
  error instanceof Held
    ? new LeaseError({
        file,
        reason: "Held",
        detail: "",
        ...Option.match(error.holder, { onNone: () => ({}), onSome: (holder) => ({ holder }) }),
      })
    : new LeaseError({ file, reason: "Unavailable", detail: why(file, error), cause: error })

/** This process. Its command line is what the system shows of it.
 * @internal
 */
export const own = Effect.map(DateTime.now, (now): LeaseHolder => {
  const command = clean(shortCommand(process.argv.join(" ")))
  return { pid: process.pid, command, since: DateTime.formatIso(now), host: os.hostname() }
})

/** What the file of a lease takes at most: its page, in the blocks of the file system. */
const leaseBytes = 8192

const make = Effect.fnUntraced(
  function* (file: string) {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const database = DatabaseFile.resolve(file)
    yield* checkName(database, `${suffix}-journal`) // SQLite counts one, also where it keeps it in memory
    const folder = path.dirname(database.path)
    yield* makeFolder(file, folder)
    // SQLite has one word for all that the system may say of a folder.
    yield* Effect.mapError(
      fs.access(folder, { writable: true }),
      (cause) => new DatabaseOpenError({ file, ...systemFailure(cause), cause }),
    )
    yield* ensureRoom(file, folder, leaseBytes, "the lease")
    const holder = yield* own
    yield* take(database, holder)
    return { holder, epoch: Option.none(), waited: false, lost: Effect.never, lose: () => Effect.void }
  },
  (self, file) => Effect.mapError(self, failed(file)),
)
