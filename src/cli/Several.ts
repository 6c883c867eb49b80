/**
 * What commands share that answer about several databases: each is answered, whatever becomes of another one, a few at the
 * same time and in their order. However many there are, only the answers that are being made are in memory.
 */
import { Effect, type Result, Stream } from "effect"
import { CommandError } from "./CommandError.ts"

interface Each<A, E, R, R2> {
  readonly files: ReadonlyArray<string>
  /** How many are asked about at the same time. */
  readonly concurrency: number
  readonly ask: (file: string) => Effect.Effect<A, E, R>
  readonly tell: (answer: Result.Result<A, E | CommandError>, file: string) => Effect.Effect<void, never, R2>
}

const failure = (file: string) => (defect: unknown) =>
  new CommandError({
    detail: `${file} was not examined: ${defect instanceof Error ? defect.message : String(defect)}`,
  })

/** A defect is the failure of that database alone. */
export const each = <A, E, R, R2>({ ask, concurrency, files, tell }: Each<A, E, R, R2>) => {
  const answer = (file: string) =>
    ask(file).pipe(
      Effect.catchDefect(failure(file)),
      Effect.result,
      Effect.map((result) => ({ result, file })),
    )
  return Stream.fromIterable(files).pipe(
    Stream.mapEffect(answer, { concurrency }),
    Stream.runForEach(({ result, file }) => tell(result, file)),
  )
}

/** For the help of such commands. */
export const help = `DB is a database, or a folder: the SQLite databases directly in it, by name, without their sidecars and without the copies that Seawall made. A database that is named twice is shown once. A failure of one does not stop the others.`
