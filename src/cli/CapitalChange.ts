/**
 * What `seawall inject-capital` and `seawall write-initial-basis` share: a change of capital that is shown before it is
 * made, on `Database` and `StateManager` alone, with no guard, no fiber and no thread.
 *
 * Figures go to standard output, everything else to standard error. Without `--confirm` the file is read at rest and
 * not a byte beside it changes; with it the change is one transaction.
 */
import { Console, Effect, Layer, Option, Result } from "effect"
import { Flag } from "effect/cli"
import { SqlClient } from "effect/sql"
import * as Database from "../sqlite/Database.ts"
import { ensureNotOpen } from "../sqlite/outside/AtRest.ts"
import * as ReadOnly from "../sqlite/outside/ReadOnly.ts"
import { type Capital, type CapitalChange, type CapitalPlan, read } from "../state/Capital.ts"
import { CapitalError } from "../state/CapitalEvent.ts"
import { stateError, type StateError } from "../state/StateError.ts"
import { startingValueKey } from "../state/StateKeys.ts"
import * as StateManager from "../state/StateManager.ts"
import * as ExitCode from "./ExitCode.ts"
import * as OnServer from "./OnServer.ts"
import * as OneShot from "./OneShot.ts"
import { withoutEngine } from "./WithoutEngine.ts"

export const flags = {
  db: Flag.String("db").pipe(
    Flag.withDescription("SQLite database of the engine; must exist"),
    Flag.withMetavar("FILE"),
    Flag.optional,
  ),
  store: OnServer.store,
  confirm: Flag.Boolean("confirm").pipe(
    Flag.withDescription("Make the change; without it nothing is changed"),
    Flag.withDefault(false),
  ),
  json: OneShot.json,
}

export const help = `Prints the figures before and after. Without --confirm nothing is changed, and nothing is created beside the file; a WAL that
a killed engine left is taken over with --confirm, and refused without.
Refused while an engine runs on it, and while another process has the file open (seen on Linux; of another user's process once it has used the WAL).

With --store postgres the books are those of SEAWALL_POSTGRES_URL, in SEAWALL_POSTGRES_SCHEMA (default seawall); refused while an
engine leads there, or where none was ever started.

Exit codes:
  0   done; without --confirm: shown
  1   refused or failed: nothing was stored, unless the message says that the close failed
  78  --db and --store do not fit, or SEAWALL_POSTGRES_URL is missing or wrong`

/** A number as it is typed; what is none is refused by its name. */
export const parseNumber = (field: string, text: string): Result.Result<number, CapitalError> =>
  /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text.trim())
    ? Result.succeed(Number(text))
    : Result.fail(new CapitalError({ field, expected: "a number", got: JSON.stringify(text) }))

interface CapitalCommand {
  readonly command: string
  readonly db: Option.Option<string>
  readonly store: "sqlite" | "postgres"
  readonly confirm: boolean
  readonly json: boolean
  /** What it would do; also what refuses it before any file is touched. */
  readonly plan: Result.Result<CapitalPlan, CapitalError>
  /** What does it. */
  readonly change: (
    state: StateManager.StateManager["Service"],
  ) => Effect.Effect<CapitalChange, StateError | CapitalError>
}

/** A command on a file. */
interface OnFile extends CapitalCommand {
  readonly file: string
}

const shown = ({ file, plan }: OnFile) =>
  Effect.gen(function* () {
    const work = yield* Effect.fromResult(plan)
    const sql = yield* SqlClient.SqlClient
    return yield* Effect.fromResult(work(yield* stateError("capital")(read(sql))))
  }).pipe(Effect.provide(ReadOnly.layer(file, "AtRest")))

/** Checked twice: opening a database that another process has open is not harmless, and a process may open it meanwhile. */
const made = Effect.fnUntraced(
  function* ({ change, file }: OnFile) {
    // There is nothing that could go on while the disk syncs.
    const chain = Layer.provide(
      StateManager.layer(),
      Database.layer({ filename: file, create: false, durability: "full" }),
    )
    yield* ensureNotOpen(file)
    return yield* Effect.provide(
      Effect.gen(function* () {
        const state = yield* StateManager.StateManager
        yield* ensureNotOpen(file)
        return yield* change(state)
      }),
      chain,
    )
  },
  (self, { file }) => withoutEngine(file)(self),
)

/** 15 digits: what a double holds; more than that is noise of the arithmetic. */
const figure = (value: number) => Number(value.toPrecision(15))

const figures = ({ netBasisRlusd, startingValue }: Capital): Readonly<Record<string, number | string | null>> => {
  const text = Option.getOrNull(startingValue)
  const value = Number(text ?? Number.NaN)
  return {
    net_basis_rlusd: figure(netBasisRlusd),
    [startingValueKey]: Number.isFinite(value) ? figure(value) : text,
  }
}

const table = ({ after, before }: CapitalChange) => {
  const [left, right] = [figures(before), figures(after)]
  const rows = Object.keys(left).map((key) => [key, String(left[key] ?? "none"), String(right[key] ?? "none")])
  return OneShot.table([["", "before", "after"], ...rows])
}

const object = ({ command, confirm }: CapitalCommand, { after, before, event }: CapitalChange, where: string) =>
  JSON.stringify({
    command,
    db: where,
    stored: confirm && Option.isSome(event),
    event: Option.match(event, {
      onNone: () => null,
      onSome: ({ amount, asset, basisDeltaRlusd, eventType, priceRlusd, sourceNote }) => ({
        asset,
        event_type: eventType,
        amount,
        price_rlusd: priceRlusd,
        basis_delta_rlusd: figure(basisDeltaRlusd),
        source_note: sourceNote,
      }),
    }),
    before: figures(before),
    after: figures(after),
  })

const report = Effect.fnUntraced(function* (command: CapitalCommand, change: CapitalChange, where: string) {
  yield* Console.log(command.json ? object(command, change, where) : table(change))
  const message = command.confirm ? "stored" : "nothing was changed; repeat with --confirm to store it"
  yield* Console.error(Option.isNone(change.event) ? "it was stored before; nothing was changed" : message)
})

const onFile = Effect.fnUntraced(function* (command: OnFile) {
  yield* report(command, yield* command.confirm ? made(command) : shown(command), command.file)
})

const onServer = Effect.fnUntraced(function* (command: CapitalCommand) {
  const plan = yield* Effect.fromResult(command.plan)
  const config = yield* OnServer.config
  const server = yield* OnServer.load(() => import("./capitalOnServer.ts"))
  const where = yield* server.where(config)
  const change = yield* command.confirm ? server.made(config, command.change) : server.shown(config, plan)
  yield* report(command, change, where)
})

/** Runs the command to its exit code. */
export const run = (command: CapitalCommand) =>
  OneShot.run(
    command.command,
    Effect.gen(function* () {
      const file = yield* OnServer.fileOf(command.store, command.db)
      yield* Effect.fromResult(command.plan)
      yield* Option.match(file, { onNone: () => onServer(command), onSome: (it) => onFile({ ...command, file: it }) })
      return ExitCode.ended
    }),
  )
