/** What a database stores, asked through the client in context or made before anything of Seawall opens it. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { DatabaseSync } from "node:sqlite"

export const rows = (query: string) =>
  Effect.map(
    SqlClient.SqlClient.use((sql) => sql.unsafe<Record<string, unknown>>(query)),
    (found) => found.map((row) => ({ ...row })),
  )

/** What another program, or an older one, left: a database that it wrote and closed. */
export const writtenBefore = (file: string, script: string) =>
  Effect.sync(() => {
    const database = new DatabaseSync(file)
    database.exec(script)
    database.close()
  })
