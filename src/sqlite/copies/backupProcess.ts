/**
 * The process that `Backup` starts: copies one database into a new file through SQLite's online backup, and prints how far
 * it is and how it ended, one JSON line each.
 *
 * A process of its own, because a backup under way cannot be called off, and a process can: it holds a snapshot for
 * reading and nothing else. The snapshot stays the same from the first page to the last, so that writers never make it
 * start again; the WAL grows meanwhile, and a guard names this process. https://www.sqlite.org/backup.html
 */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import { backup, DatabaseSync } from "node:sqlite"
import * as DatabaseFile from "../../files/DatabaseFile.ts"
import { messageOf, reasonOf } from "../NativeError.ts"
import { address } from "../outside/Address.ts"

/** Pages between two lines: 40 MB at the default page size. */
const rate = 10_000

const [, , file = "", destination = ""] = process.argv
process.title = "seawall backup"

const log = DatabaseFile.resolve(file).wal
const modified = () => fs.statSync(file, { bigint: true }).mtimeNs

const say = (line: object) => fs.writeSync(1, `${JSON.stringify(line)}\n`)

const failure = (cause: unknown) => ({ reason: reasonOf(cause), detail: messageOf(cause) })

const copy = Effect.gen(function* () {
  const { situation, source, unchanged } = yield* Effect.try({
    try: () => {
      const unchanged = modified()
      const { isWal, situation, url } = address(file)
      const opened = new DatabaseSync(url, { readOnly: true, timeout: 5000 })
      // Without a WAL a snapshot would keep writers out: there the backup starts again after each write.
      if (isWal) opened.exec("BEGIN")
      opened.prepare("SELECT 1 FROM sqlite_schema").all()
      return { situation, source: opened, unchanged }
    },
    catch: failure,
  })
  yield* Effect.tryPromise({
    try: () =>
      backup(source, destination, {
        rate,
        progress: ({ remainingPages, totalPages }) => say({ copied: totalPages - remainingPages, pages: totalPages }),
      }),
    catch: failure,
  })
  source.close()
  if (situation === "AtRest" && (fs.existsSync(log) || modified() !== unchanged)) {
    return yield* Effect.fail({
      reason: "Busy" as const,
      detail: "another process has locked the database, or opened it meanwhile; try again",
    })
  }
})

say(await Effect.runPromise(Effect.match(copy, { onFailure: (failure) => failure, onSuccess: () => ({ done: true }) })))
