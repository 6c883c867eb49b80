/**
 * The process that `Integrity` starts: opens one file read-only, runs `quick_check`, prints one JSON line.
 *
 * A process of its own, because a check of a large file takes long and a native call cannot be cut, and because closing
 * a file drops every lock its process holds on it. It writes no file, and as a rule creates none: see `address`.
 * https://www.sqlite.org/pragma.html#pragma_quick_check
 *
 * Imports single modules: it starts in a fraction of the time that all of Effect takes.
 */
import * as Effect from "effect/Effect"
import { DatabaseSync } from "node:sqlite"
import { messageOf, reasonOf } from "../NativeError.ts"
import { address } from "../outside/Address.ts"

/** More findings than this would not change the advice: restore a backup. */
const mostFindings = 20

/** How long it waits for a writer where there is no WAL to read beside it, in milliseconds. */
const busyTimeout = 5000

const check = (file: string) => {
  const database = new DatabaseSync(address(file).url, { readOnly: true, timeout: busyTimeout })
  const rows = database.prepare(`PRAGMA quick_check(${mostFindings})`).all()
  database.close()
  return rows.map((row) => String(row["quick_check"])).filter((finding) => finding !== "ok")
}

const verdict = Effect.try({
  try: () => ({ findings: check(process.argv[2] ?? "") }),
  catch: (cause) => ({ reason: reasonOf(cause), detail: messageOf(cause) }),
})

process.stdout.write(`${JSON.stringify(Effect.runSync(Effect.catch(verdict, Effect.succeed)))}\n`)
