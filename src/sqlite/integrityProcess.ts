/**
 * The process that `Integrity` starts: opens one file read-only, runs `quick_check`, prints one JSON line.
 *
 * A process of its own, because a check of a large file takes long and a native call cannot be cut, and because closing
 * a file drops every lock its process holds on it. It writes no file, and as a rule creates none: see `address`.
 * https://www.sqlite.org/pragma.html#pragma_quick_check, https://www.sqlite.org/uri.html#uriimmutable
 *
 * Imports single modules: it starts in a fraction of the time that all of Effect takes.
 */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { pathToFileURL } from "node:url"
import { connectedIn } from "./LockTable.ts"
import { nativeMessage, nativeReason } from "./NativeError.ts"

/** More findings than this say nothing more to whoever must restore a backup. */
const mostFindings = 20

/** How long it waits for a writer where there is no log to read beside it, in milliseconds. */
const busyTimeout = 5000

const sizeOf = (file: string) => fs.statSync(file, { throwIfNoEntry: false })?.size

/** Before there is a connection: closing a descriptor would drop its locks. */
const isWal = (file: string) => {
  const version = new Uint8Array(1)
  const descriptor = fs.openSync(file, "r")
  fs.readSync(descriptor, version, 0, 1, 19)
  fs.closeSync(descriptor)
  return version[0] === 2
}

/** Whether a process has the log's index open: it holds a lock on it. Where that is unknown (no Linux), a log is held. */
const isHeld = (file: string) => {
  if (!fs.existsSync("/proc/locks")) return fs.existsSync(`${file}-wal`)
  const inode = String(fs.statSync(`${file}-shm`).ino)
  return connectedIn(fs.readFileSync("/proc/locks", "utf8"), inode).length > 0
}

/**
 * - No WAL mode: a plain open, which creates nothing and heeds locks and a journal.
 * - No log: `immutable`, because a plain open would create `-wal` and `-shm` and leave them.
 * - A log that nobody has open: `readonly_shm`, which builds the index in memory and leaves the one in the file as it is.
 * - Else a plain open. Only beside a log without an index it creates a file, the index.
 */
const address = (file: string) => {
  const url = pathToFileURL(file)
  const log = sizeOf(`${file}-wal`) ?? 0
  if (!isWal(file) && log === 0) return url
  const index = sizeOf(`${file}-shm`)
  const held = index !== undefined && isHeld(file)
  if (held) return url
  if (log === 0) url.searchParams.set("immutable", "1")
  else if (index !== undefined) url.searchParams.set("readonly_shm", "1")
  return url
}

const check = (file: string) => {
  const database = new DatabaseSync(address(file), { readOnly: true, timeout: busyTimeout })
  const rows = database.prepare(`PRAGMA quick_check(${mostFindings})`).all()
  database.close()
  return rows.map((row) => String(row["quick_check"])).filter((finding) => finding !== "ok")
}

const verdict = Effect.try({
  try: () => ({ findings: check(process.argv[2] ?? "") }),
  catch: (cause) => ({ reason: nativeReason(cause), detail: nativeMessage(cause) }),
})

process.stdout.write(`${JSON.stringify(Effect.runSync(Effect.catch(verdict, Effect.succeed)))}\n`)
