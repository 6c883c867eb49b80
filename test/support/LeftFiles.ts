/** Databases as a killed process leaves them: with their log and its index, and open in no process. */
import { Effect, Schema } from "effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"

const program = (file: string, pageSize: number, body: string) => `
const { DatabaseSync } = require("node:sqlite")
const { writeSync } = require("node:fs")
const open = () => new DatabaseSync(${JSON.stringify(file)})
const db = open()
const say = (what) => writeSync(1, JSON.stringify(what))
const commit = (bytes) => db.exec("INSERT INTO t (b) VALUES (randomblob(" + bytes + "))")
const noop = (db) => db.prepare("PRAGMA wal_checkpoint(NOOP)").get()
db.exec("PRAGMA page_size = ${pageSize}; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = OFF")
db.exec("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB); PRAGMA wal_checkpoint(TRUNCATE)")
${body}
process.kill(process.pid, "SIGKILL")
`

/**
 * Runs JavaScript in a process that kills itself at its end. There is `db` with an empty table `t` and an empty log,
 * `open` for another connection, `commit(bytes)` for one row in one transaction, and `say` for what is returned.
 */
export const leftBehind = Effect.fnUntraced(function* (body: string, pageSize = 4096) {
  const file = yield* TemporaryDatabase.file
  const child = spawnSync(process.execPath, ["-e", program(file, pageSize, body)], { encoding: "utf8" })
  if (child.signal !== "SIGKILL") return yield* Effect.die(new Error(child.stderr))
  const said =
    child.stdout === "" ? undefined : yield* Schema.decodeEffect(Schema.fromJsonString(Schema.Unknown))(child.stdout)
  return { file, said }
})

/** A copy of a database with another WAL, or with none, in a folder of its own. Nothing is beside them. */
export const copyOf = Effect.fnUntraced(function* (file: string, log: Uint8Array | undefined) {
  const copy = `${yield* TemporaryDatabase.folder}/copy.db`
  fs.copyFileSync(file, copy)
  if (log !== undefined) fs.writeFileSync(`${copy}-wal`, log)
  return copy
})

/** What SQLite itself makes of a database and its WAL, of which it changes both. */
export const recovered = (file: string) => {
  const database = new DatabaseSync(file)
  try {
    database.exec("PRAGMA synchronous = OFF")
    const rows = database.prepare("SELECT count(*) AS n FROM t").get()?.["n"]
    const frames = database.prepare("PRAGMA wal_checkpoint(NOOP)").get()?.["log"]
    const pages = database.prepare("PRAGMA page_count").get()?.["page_count"]
    return { rows, frames, pages }
  } finally {
    database.close()
  }
}
