/**
 * The databases of one `seawall guard`: those that were named, and those of folders that were. What cannot be guarded now is said once
 * and tried again, and what appears later is picked up.
 *
 * Files are read as bytes before they are opened, and never one that is open here already, by whatever name: closing it would drop
 * the locks of this process. https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
 */
import { Effect, Exit, Ref, Scope } from "effect"
import * as path from "node:path"
import type * as DatabaseSource from "../dashboard/DatabaseSource.ts"
import * as NamedDatabases from "../facts/NamedDatabases.ts"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import { ensureSameFile } from "../processes/OtherFile.ts"
import { about } from "../sqlite/DatabaseName.ts"
import * as LastWriter from "./LastWriter.ts"

/** One that is guarded. */
interface Guarded {
  readonly file: string
  /** The identity of the file when it was opened. */
  readonly identity: DatabaseFile.Identity | undefined
  readonly watched: DatabaseSource.Watched
}

/** One that is not, or a folder. */
interface NotGuarded {
  readonly file: string
  readonly error: Error
}

interface GuardedSetOptions<E> {
  /** Files and folders, as they were given. */
  readonly names: ReadonlyArray<string>
  /** Opens one and guards it until the scope closes. */
  readonly open: (file: string) => Effect.Effect<DatabaseSource.Watched, E, Scope.Scope>
}

const identityOf = (file: string) => DatabaseFile.resolve(file).found?.identity

export const make = Effect.fnUntraced(function* <E extends Error>({ names, open }: GuardedSetOptions<E>) {
  const all = yield* Scope.fork(yield* Effect.scope, "parallel")
  const guarded = yield* Ref.make<ReadonlyArray<Guarded>>([])
  /** By file or folder: why it is not guarded, as it was said last. */
  const said = new Map<string, string>()

  const guardOne = Effect.fnUntraced(function* (file: string) {
    const scope = yield* Scope.fork(all)
    const opened = Effect.gen(function* () {
      yield* LastWriter.judge(file)
      const identity = identityOf(file)
      return { file, identity, watched: yield* Scope.provide(open(file), scope) } satisfies Guarded
    })
    const one = yield* Effect.onError(opened, (cause) => Scope.close(scope, Exit.failCause(cause)))
    yield* Ref.update(guarded, (them) => [...them, one])
  })

  /** Each is said once, and again when it is for another reason. */
  const sayOne = ({ error, file }: NotGuarded) => {
    if (said.get(file) === error.message) return Effect.void
    said.set(file, error.message)
    return Effect.annotateLogs(Effect.logWarning("database not guarded"), {
      database: file,
      error: error.message,
      advice: "it is tried again every few seconds; with --strict the guard would not have started",
    })
  }
  const say = (all: ReadonlyArray<NotGuarded>) => Effect.forEach(all, sayOne, { discard: true })

  /** Guards what is not; succeeds with what could not be, and why. */
  const look = Effect.gen(function* () {
    const them = yield* Ref.get(guarded)
    const known = new Set(them.flatMap(({ identity }) => identity ?? []))
    const isKnown = (file: string) => {
      const identity = identityOf(file)
      return identity !== undefined && known.has(identity)
    }
    const { failures, files } = yield* NamedDatabases.find(names, isKnown)
    // A folder of which everything is guarded has nothing new; one that is replaced is left alone until the process ends.
    const empty = failures.filter(({ file: folder }) => !them.some(({ file }) => path.dirname(file) === folder))
    const missing = files.filter((file) => !isKnown(file) && !them.some((it) => it.file === file))
    const check = (file: string) => Effect.exit(about(file)(ensureSameFile(DatabaseFile.resolve(file))))
    // One walk through the processes for all of them, before the first is opened.
    const checks = yield* Effect.forEach(missing, check, { concurrency: "unbounded" })
    const opened = yield* Effect.forEach(missing, (file, index) =>
      Effect.andThen(checks[index]!, about(file)(guardOne(file))).pipe(
        Effect.tap(() => Effect.sync(() => said.delete(file))),
        Effect.match({ onSuccess: () => [], onFailure: (error): ReadonlyArray<NotGuarded> => [{ file, error }] }),
      ),
    )
    return [...empty.map((error): NotGuarded => ({ file: error.file, error })), ...opened.flat()]
  })

  return { look, say, watched: Effect.map(Ref.get(guarded), (them) => them.map((it) => it.watched)) }
})
