/**
 * What an engine remembers: its state keys, its sessions, its paper ticks, its capital.
 *
 * One method per intent, each one transaction; callers never see SQL, so that another store can take its place.
 * The layer brings the schema up to date and starts nothing: no fiber, no checkpoint. Everything it writes goes through
 * the `Writer`, and has returned when it is as durable as the `Database` promises; so inside a transaction of the
 * `SqlClient` it can read only.
 */
import { SqliteMigrator } from "@effect/sql-sqlite-node"
import { Array as Arr, Context, DateTime, Effect, Layer, Option, Schema } from "effect"
import { SqlClient } from "effect/sql"
import type { Row } from "../sqlite/SafeClient.ts"
import { Writer } from "../sqlite/Writer.ts"
import * as CapitalIntents from "./CapitalIntents.ts"
import { finite, finiteText } from "./Finite.ts"
import { migrations, tables } from "./migrations.ts"
import * as OwnTables from "./OwnTables.ts"
import { stateError, StateError } from "./StateError.ts"

/** One run of an engine. No `endedAt` may come from a crash long ago: it is not proof that an engine is running. */
export class SessionRow extends Schema.Class<SessionRow>("seawall/state/SessionRow")({
  sessionId: Schema.Int,
  parentSessionId: Schema.OptionFromNullOr(Schema.Int),
  /** ISO 8601, UTC. */
  startedAt: Schema.String,
  /** ISO 8601, UTC. */
  endedAt: Schema.OptionFromNullOr(Schema.String),
  haltReason: Schema.OptionFromNullOr(Schema.String),
  startingValueRlusd: Schema.OptionFromNullOr(Schema.Finite),
  endingValueRlusd: Schema.OptionFromNullOr(Schema.Finite),
}) {}

/** What we did. */
export const Side = Schema.Literals(["buy", "sell"])
export type Side = typeof Side.Type

/** One paper tick as it is stored: the book and balances after it, what was filled in it, and the state keys it moves. */
export interface PaperTick {
  readonly sessionId: number
  /** The best prices of the book, in RLUSD per XRP. */
  readonly bid: number
  readonly ask: number
  readonly xrp: number
  readonly rlusd: number
  readonly valueRlusd: number
  readonly fills: ReadonlyArray<PaperFill>
  /** Keys that are set with it. */
  readonly state: Readonly<Record<string, string>>
}

/** An order of ours that was filled. */
export interface PaperFill {
  readonly side: Side
  /** RLUSD per XRP. */
  readonly price: number
  readonly xrp: number
  /** What this fill earned against the middle of the book when it was quoted. */
  readonly spreadPnlRlusd: number
}

/** What a session was worth, in RLUSD. */
export interface Worth {
  readonly starting: number
  readonly ending: number
}

type Result<A> = Effect.Effect<A, StateError>

/** The memory of an engine. Each method fails with a `StateError`, those of the capital also with a `CapitalError`. */
export class StateManager extends Context.Service<
  StateManager,
  CapitalIntents.CapitalIntents & {
    /** The value of a key; none when it was never set, or was cleared. */
    readonly get: (key: string) => Result<Option.Option<string>>
    /** An integer; 0 when absent, unreadable, or beyond what a number holds exactly. */
    readonly getInt: (key: string) => Result<number>
    /** Any text; the empty one clears the key. */
    readonly set: (key: string, value: string) => Result<void>
    /** All of them or none. */
    readonly setMany: (entries: Readonly<Record<string, string>>) => Result<void>
    /** Clearing a key means writing the empty string. */
    readonly clear: (...keys: ReadonlyArray<string>) => Result<void>
    /** Opens a session now and returns its number; `parentSessionId` is the one that it recovers. */
    readonly openSession: (options: { readonly parentSessionId: Option.Option<number> }) => Result<number>
    /** Closes a session now, with its worth where that is known; fails when nobody opened one of this number. */
    readonly closeSession: (options: {
      readonly sessionId: number
      readonly haltReason: string
      readonly worth: Option.Option<Worth>
    }) => Result<void>
    /** The session with the highest number. */
    readonly lastSession: Result<Option.Option<SessionRow>>
    /** Stores snapshot, fills and state of one paper tick, in one transaction. */
    readonly recordTick: (tick: PaperTick) => Result<void>
  }
>()("seawall/state/StateManager") {
  /**
   * On SQLite. Fails when the schema cannot be brought up to date: then nothing is changed, as where a table of our names is
   * another program's, or a later release wrote it (`OwnTables`). Other tables stay. A function: each database has its own.
   */
  static readonly layer = (): Layer.Layer<StateManager, StateError, SqlClient.SqlClient | Writer> =>
    Layer.effect(StateManager, make)
}

const upsert =
  "INSERT INTO engine_state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"

const lastSession = `SELECT session_id AS sessionId, parent_session_id AS parentSessionId, started_at AS startedAt,
  ended_at AS endedAt, halt_reason AS haltReason, starting_value_rlusd AS startingValueRlusd,
  ending_value_rlusd AS endingValueRlusd FROM sessions ORDER BY session_id DESC LIMIT 1`

const Value = Schema.Array(Schema.Struct({ value: Schema.String }))
const NewId = Schema.NonEmptyArray(Schema.Struct({ id: Schema.Int }))

const finiteTick = Effect.fnUntraced(function* ({ ask, bid, fills, rlusd, state, valueRlusd, xrp }: PaperTick) {
  yield* finite({ bid, ask, xrp, rlusd, valueRlusd })
  for (const [i, fill] of fills.entries()) {
    const { price, spreadPnlRlusd, xrp: filled } = fill
    yield* finite({
      [`fills[${i}].price`]: price,
      [`fills[${i}].xrp`]: filled,
      [`fills[${i}].spreadPnlRlusd`]: spreadPnlRlusd,
    })
  }
  yield* finiteText(state)
})

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const writer = yield* Writer
  yield* OwnTables.check({ migrationsTable: "effect_sql_migrations", migrations, tables }).pipe(
    Effect.andThen(SqliteMigrator.run({ loader: SqliteMigrator.fromRecord(migrations) })),
    Effect.catchDefect(Effect.fail), // a step that fails is a defect of the migrator
    stateError("schema"),
  )

  const setError = stateError("set")
  const now = Effect.map(DateTime.now, DateTime.formatIso)
  const idOf = (rows: ReadonlyArray<Row>) => Effect.map(Schema.decodeUnknownEffect(NewId)(rows), ([{ id }]) => id)
  const setKey = (key: string, value: string) => sql.unsafe(upsert, [key, value])
  const write = (entries: Readonly<Record<string, string>>) =>
    Effect.forEach(Object.entries(entries), ([key, value]) => setKey(key, value), { discard: true })

  const get = Effect.fn("StateManager.get")(function* (key: string) {
    const rows = yield* sql.unsafe(
      "SELECT CAST(COALESCE(value, '') AS TEXT) AS value FROM engine_state WHERE key = ?",
      [key],
    )
    const values = yield* Schema.decodeUnknownEffect(Value)(rows)
    return Option.filter(
      Option.map(Arr.head(values), ({ value }) => value),
      (value) => value !== "",
    )
  }, stateError("get"))

  const setMany = Effect.fn("StateManager.setMany")(function* (entries: Readonly<Record<string, string>>) {
    yield* writer.transaction(write(entries))
  }, stateError("setMany"))

  return StateManager.of({
    ...CapitalIntents.make({ sql, set: setKey }, writer),
    get,
    getInt: (key) =>
      Effect.map(get(key), (value) => {
        const text = Option.getOrElse(value, () => "0")
        const parsed = /^\s*[+-]?\d+\s*$/.test(text) ? Number(text) : 0
        return Number.isSafeInteger(parsed) ? parsed : 0
      }),
    // The hot path of an engine: one statement, and no span around it.
    set: (key, value) => setError(Effect.asVoid(writer.execute(upsert, [key, value]))),
    setMany,
    clear: (...keys) => setMany(Object.fromEntries(keys.map((key) => [key, ""]))),

    openSession: Effect.fn("StateManager.openSession")(function* ({ parentSessionId }) {
      const rows = yield* writer.execute(
        "INSERT INTO sessions (parent_session_id, started_at) VALUES (?, ?) RETURNING session_id AS id",
        [Option.getOrNull(parentSessionId), yield* now],
      )
      return yield* idOf(rows)
    }, stateError("openSession")),

    closeSession: Effect.fn("StateManager.closeSession")(function* ({ sessionId, haltReason, worth }) {
      if (Option.isSome(worth))
        yield* finite({ "worth.starting": worth.value.starting, "worth.ending": worth.value.ending })
      const { starting, ending } = Option.getOrElse(worth, () => ({ starting: null, ending: null }))
      const rows = yield* writer.execute(
        `UPDATE sessions SET ended_at = ?, halt_reason = ?, starting_value_rlusd = ?, ending_value_rlusd = ?
         WHERE session_id = ? RETURNING session_id AS id`,
        [yield* now, haltReason, starting, ending, sessionId],
      )
      yield* idOf(rows)
    }, stateError("closeSession")),

    lastSession: Effect.gen(function* () {
      const rows = yield* sql.unsafe(lastSession)
      return Arr.head(yield* Schema.decodeUnknownEffect(Schema.Array(SessionRow))(rows))
    }).pipe(Effect.withSpan("StateManager.lastSession"), stateError("lastSession")),

    recordTick: Effect.fn("StateManager.recordTick")(function* (tick) {
      yield* finiteTick(tick)
      const at = yield* now
      yield* writer.transaction(
        Effect.gen(function* () {
          const rows = yield* sql.unsafe<Row>(
            `INSERT INTO paper_ticks (session_id, recorded_at, bid, ask, xrp, rlusd, value_rlusd)
             VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING tick_id AS id`,
            [tick.sessionId, at, tick.bid, tick.ask, tick.xrp, tick.rlusd, tick.valueRlusd],
          )
          const tickId = yield* idOf(rows)
          for (const fill of tick.fills) {
            yield* sql.unsafe(
              "INSERT INTO paper_fills (tick_id, side, price, xrp, spread_pnl_rlusd) VALUES (?, ?, ?, ?, ?)",
              [tickId, fill.side, fill.price, fill.xrp, fill.spreadPnlRlusd],
            )
          }
          yield* write(tick.state)
        }),
      )
    }, stateError("recordTick")),
  })
})
