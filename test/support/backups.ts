/** Databases that are backed up, and what is in their backups. */
import { Layer } from "effect"
import { SqlClient } from "effect/sql"
import { DatabaseSync } from "node:sqlite"
import * as Backup from "../../src/sqlite/copies/Backup.ts"
import * as Database from "../../src/sqlite/Database.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"

export const table = SqlClient.SqlClient.use((sql) => sql`CREATE TABLE IF NOT EXISTS t (a)`)
export const insert = SqlClient.SqlClient.use((sql) => sql`INSERT INTO t (a) VALUES (zeroblob(1000))`)
export const backup = (kind: Backup.SessionBackup) => Backup.Backup.use(({ run }) => run(kind))

export const rowsIn = (file: string) => {
  const database = new DatabaseSync(`file:${file}?immutable=1`, { readOnly: true })
  const count = Number(database.prepare("SELECT count(*) AS n FROM t").get()?.["n"])
  database.close()
  return count
}

export const withBackups = (file: string, keep = 10) =>
  Backup.layer({ file, keep }).pipe(
    Layer.provideMerge(Layer.provide(Database.layer({ filename: file }), TemporaryDatabase.quickDisk)),
    Layer.provideMerge(LogCapture.layer),
  )
