/**
 * Which statements a shared connection does not run, and why: those that would open or end a transaction behind the client's
 * back, and those that would void what the database promises.
 */
import { Context } from "effect"
import { StatementRefused } from "./StatementRefused.ts"
import type { Pragma, StatementKind } from "./StatementKind.ts"

/** A PRAGMA that Seawall itself sets.
 */
export const Trusted = Context.Reference<boolean>("seawall/sqlite/Trusted", { defaultValue: () => false })

/** How a connection is used: by all callers, a statement at a time; by one transaction; or by the caller that reserved it.
 */
export type Use = "shared" | "transaction" | "reserved"

const onShared =
  "it would carry the statements of every other caller into one transaction; use sql.withTransaction or Writer.transaction, " +
  "or a connection of your own (sql.reserve)"
const inTransaction =
  "the client begins, commits and rolls back this transaction; nest sql.withTransaction for a savepoint, and fail to roll back"

/** What the open database relies on, where a PRAGMA may be set again to what it is.
 */
export interface Settings {
  /** Whether each commit is synced (`synchronous=FULL`). */
  readonly everyCommitSyncs: boolean
  /** Whether a guard has set `wal_autocheckpoint`. */
  readonly isGuarded: () => boolean
}

interface Relied {
  readonly isHarmless: (value: string, settings: Settings) => boolean
  readonly advice: string
}

const relied: Readonly<Record<string, Relied>> = {
  synchronous: {
    isHarmless: (value, { everyCommitSyncs }) => (everyCommitSyncs ? ["full", "2"] : ["normal", "1"]).includes(value),
    advice: "choose the durability where the database is opened",
  },
  journal_mode: {
    isHarmless: (value) => value === "wal",
    advice: "the database was opened in WAL mode and stays in it",
  },
  locking_mode: {
    isHarmless: (value) => value === "normal",
    advice: "an exclusive lock keeps the checkpointer and every other process out",
  },
  journal_size_limit: { isHarmless: () => false, advice: "the database bounds the file of its WAL by itself" },
  wal_autocheckpoint: {
    isHarmless: (_, { isGuarded }) => !isGuarded(),
    advice: "a guard checkpoints this database; choose its interval and maxFrames",
  },
}

const ofPragma = ({ name, schema, value }: Pragma, settings: Settings) => {
  const rule = Object.hasOwn(relied, name) ? relied[name] : undefined
  if (rule === undefined || value === undefined) return undefined
  if (name !== "wal_autocheckpoint" && !["", "main"].includes(schema)) return undefined // which has no schema
  return rule.isHarmless(value, settings)
    ? undefined
    : new StatementRefused({ statement: `PRAGMA ${name} = ${value}`, advice: rule.advice })
}

/** Why a statement may not run there, if so.
 */
export const refusalOf = (kind: StatementKind, use: Use, settings: Settings): StatementRefused | undefined => {
  switch (kind._tag) {
    case "Opens":
    case "Ends":
    case "Nests":
      return use === "reserved"
        ? undefined
        : new StatementRefused({ statement: kind.verb, advice: use === "shared" ? onShared : inTransaction })
    case "Pragma":
      return ofPragma(kind, settings)
    default:
      return undefined
  }
}
