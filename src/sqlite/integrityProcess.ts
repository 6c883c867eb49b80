/**
 * The process that `Integrity` starts: opens one file read-only, runs `quick_check`, prints one JSON line.
 *
 * A process of its own, because a check of a large file takes long and a native call cannot be cut, and because closing
 * a file drops every lock its process holds on it. Without a `-wal` the file is opened `immutable`, which creates no
 * sidecars; with one it is opened read-only, which reads the log and writes neither file.
 * https://www.sqlite.org/pragma.html#pragma_quick_check, https://www.sqlite.org/uri.html#uriimmutable
 *
 * Imports single modules: it starts in a fraction of the time that all of Effect takes.
 */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { pathToFileURL } from "node:url"
import { nativeMessage, nativeReason } from "./NativeError.ts"

/** More findings than this say nothing more to whoever must restore a backup. */
const mostFindings = 20

const check = (file: string) => {
  const url = pathToFileURL(file)
  if (!fs.existsSync(`${file}-wal`)) url.searchParams.set("immutable", "1")
  const database = new DatabaseSync(url, { readOnly: true })
  const rows = database.prepare(`PRAGMA quick_check(${mostFindings})`).all()
  database.close()
  return rows.map((row) => String(row["quick_check"])).filter((finding) => finding !== "ok")
}

const verdict = Effect.try({
  try: () => ({ findings: check(process.argv[2] ?? "") }),
  catch: (cause) => ({ reason: nativeReason(cause), detail: nativeMessage(cause) }),
})

process.stdout.write(`${JSON.stringify(Effect.runSync(Effect.catch(verdict, Effect.succeed)))}\n`)
