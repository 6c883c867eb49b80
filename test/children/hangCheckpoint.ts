/**
 * Loaded into every thread of a test's process (`--import`): the checkpoint thread gets stuck at its first checkpoint, in
 * a native call that nothing can cut, as it would inside SQLite on a disk that does not answer.
 */
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { isMainThread } from "node:worker_threads"

const fifo = process.env["STUCK_AT_FIFO"]

if (!isMainThread && fifo !== undefined) {
  const prepare = DatabaseSync.prototype.prepare
  DatabaseSync.prototype.prepare = function (sql, ...rest) {
    if (sql.includes("wal_checkpoint(PASSIVE)")) {
      fs.writeSync(2, "stuck\n")
      fs.openSync(fifo, "r") // waits forever: no process writes to it
    }
    return prepare.call(this, sql, ...rest)
  }
}
