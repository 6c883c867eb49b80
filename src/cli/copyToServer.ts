/** What `seawall copy-state --confirm` does on the server. Loaded for that alone, because it needs the driver of PostgreSQL. */
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { optionsOf } from "../engine/PostgresSession.ts"
import type { EngineConfig } from "../engine/EngineConfig.ts"
import * as PaperBooks from "../paper/PaperBooks.ts"
import * as Leadership from "../postgres/Leadership.ts"
import * as PostgresDatabase from "../postgres/PostgresDatabase.ts"
import { Writer } from "../sql/Writer.ts"
import * as CopyState from "../state/CopyState.ts"
import type { OwnTable } from "../state/OwnTables.ts"
import { stateError } from "../state/StateError.ts"
import * as StateManager from "../state/StateManager.ts"

/** No engine leads there meanwhile; the tables are made where they are missing. */
export const copy = (config: EngineConfig, from: SqlClient.SqlClient, tables: Readonly<Record<string, OwnTable>>) => {
  const options = optionsOf(config)
  return Effect.gen(function* () {
    const copying = CopyState.copy({ from, to: yield* SqlClient.SqlClient, writer: yield* Writer, tables })
    return yield* Effect.catchIf(
      copying,
      (error) => !(error instanceof CopyState.CopyError),
      (error) => stateError("copy")(Effect.fail(error)),
    )
  }).pipe(
    Effect.provide(
      PaperBooks.layer().pipe(
        Layer.provideMerge(StateManager.layer()),
        Layer.provideMerge(PostgresDatabase.layer(options)),
        Layer.provideMerge(Leadership.layer({ ...options, standby: false })),
      ),
      { local: true },
    ),
  )
}
