/** `seawall copy-state`: the books of an engine from a SQLite file to a server, once, checked row by row. */
import { Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { SqlClient } from "effect/sql"
import { paperTables } from "../paper/PaperBooks.ts"
import * as ReadOnly from "../sqlite/outside/ReadOnly.ts"
import * as CopyState from "../state/CopyState.ts"
import { engineTables } from "../state/engineMigrations.ts"
import { stateError } from "../state/StateError.ts"
import * as ExitCode from "./ExitCode.ts"
import * as OneShot from "./OneShot.ts"
import * as OnServer from "./OnServer.ts"
import { withoutEngine } from "./WithoutEngine.ts"

const flags = {
  db: Flag.String("db").pipe(
    Flag.withDescription("SQLite database of the engine; must exist"),
    Flag.withMetavar("FILE"),
  ),
  confirm: Flag.Boolean("confirm").pipe(
    Flag.withDescription("Copy; without it the rows are counted, and nothing is changed"),
    Flag.withDefault(false),
  ),
  json: OneShot.json,
}

const tables = { ...engineTables, ...paperTables }

type Input = Command.Command.Config.Infer<typeof flags>

const counted = (input: Input) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    if (!input.confirm) return yield* stateError("count")(CopyState.count(sql, tables))
    const config = yield* OnServer.config
    const { copy } = yield* OnServer.load(() => import("./copyToServer.ts"))
    return yield* copy(config, sql, tables)
  }).pipe(Effect.provide(ReadOnly.layer(input.db, "AtRest")), withoutEngine(input.db))

const copying = Effect.fnUntraced(function* (input: Input) {
  const all = yield* counted(input)
  yield* Console.log(
    input.json
      ? JSON.stringify({
          db: input.db,
          copied: input.confirm,
          tables: Object.fromEntries(all.map((it) => [it.table, it.rows])),
        })
      : OneShot.table([["table", "rows"], ...all.map(({ rows, table }) => [table, String(rows)])]),
  )
  yield* Console.error(
    input.confirm
      ? "copied, and compared row by row; start the engine with engine.store: postgres, and keep the file"
      : "nothing was changed; repeat with --confirm to copy them",
  )
  return ExitCode.ended
})

export const copyState = Command.make("copy-state", flags, (input) => OneShot.run("copy-state", copying(input))).pipe(
  Command.withShortDescription("Copy the books of an engine from a SQLite file to PostgreSQL"),
  Command.withDescription(
    `Copy the books of an engine from a SQLite file to a PostgreSQL server: state keys, sessions, capital events, and the ticks and
fills of paper trading. One transaction, in which every row is read back and compared; the file is only read. Tables of other
programs are left out.

The server is that of SEAWALL_POSTGRES_URL, the schema that of SEAWALL_POSTGRES_SCHEMA (default seawall); made when missing,
and refused when it has rows already.
Refused while an engine runs on the file or on the server, and while another process has the file open.

Exit codes:
  0   done; without --confirm: counted
  1   refused or failed: the server is as it was
  78  SEAWALL_POSTGRES_URL is missing or wrong`,
  ),
  Command.withExamples([
    { command: "seawall copy-state --db engine.db", description: "See what there is to copy" },
    {
      command: "SEAWALL_POSTGRES_URL=postgres://db/engine seawall copy-state --db engine.db --confirm",
      description: "Copy it",
    },
  ]),
)
