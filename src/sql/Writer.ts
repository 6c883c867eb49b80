/**
 * How a program writes, whatever its store: on SQLite writes of many callers become one transaction (`Database.layer`), on
 * PostgreSQL every write is fenced by the leadership of its engine (`PostgresDatabase.layer`).
 */
import { Context, type Effect } from "effect"
import type { WriteFailure } from "./WriterError.ts"

/** One row that a statement returned, by the names of its columns. */
export type Row = Readonly<Record<string, unknown>>

/** Comes with `Database.layer`. When acknowledged, a write is as durable as that promises (`Durability`). */
export class Writer extends Context.Service<
  Writer,
  {
    /**
     * One statement, and the rows that it returns; what follows its semicolon is not run. It stays prepared for the
     * next one of the same text. The parameters are copied, bytes too, so that they may be changed at once.
     */
    readonly execute: <A extends object = Row>(
      sql: string,
      params?: ReadonlyArray<unknown>,
    ) => Effect.Effect<ReadonlyArray<A>, WriteFailure>
    /** The same as a template, with everything that may stand in one of the `SqlClient`: `` writer.sql`INSERT ... ${value}` ``. */
    readonly sql: <A extends object = Row>(
      strings: TemplateStringsArray,
      ...values: ReadonlyArray<unknown>
    ) => Effect.Effect<ReadonlyArray<A>, WriteFailure>
    /**
     * All that `self` writes through the `SqlClient`, or nothing when it fails. It shares its transaction with other
     * callers, so it should write and return; whatever it waits for, they wait for too. It may run again when another
     * caller's write takes the whole transaction with it (`ON CONFLICT ROLLBACK`, a COMMIT that fails). When its caller goes
     * away it is interrupted and rolled back.
     */
    readonly transaction: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | WriteFailure, R>
  }
>()("seawall/sql/Writer") {}
