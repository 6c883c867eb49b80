/** Loaded into every thread of a test's process (`--import`): the first checkpoint of the thread takes a third of a second. */
import { DatabaseSync } from "node:sqlite"
import { isMainThread } from "node:worker_threads"

if (!isMainThread) {
  const prepare = DatabaseSync.prototype.prepare
  DatabaseSync.prototype.prepare = function (sql, ...rest) {
    if (sql.includes("wal_checkpoint(PASSIVE)")) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 333)
    return prepare.call(this, sql, ...rest)
  }
}
