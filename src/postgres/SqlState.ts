/**
 * Why PostgreSQL failed, read once from its SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
 *
 * The driver knows only some of them (a shutdown, an aborted transaction and a read-only server all arrive as its
 * `UnknownError`), so this reads the code from wherever in the chain of causes it hides. Loads nothing of the driver.
 */
import { Option, Predicate, Schema } from "effect"
import { SqlError } from "effect/sql"

/**
 * What a caller can act on; everything else is `Unknown`.
 *
 * - `Unreachable`: no connection, or it was lost. A write whose COMMIT was under way may have happened.
 * - `Superseded`: another engine leads now; nothing was written.
 * - `Timeout`: the server gave up on a lock or a statement; nothing was written.
 * - `Conflict`: a deadlock, or a transaction that cannot be serialized; nothing was written.
 * - `NoPermission`: the role, its password, or what it may do.
 */
const PostgresReason = Schema.Literals([
  "Unreachable",
  "Superseded",
  "Timeout",
  "Conflict",
  "NoPermission",
  "Constraint",
  "ReadOnly",
  "Full",
  "NoMemory",
  "Unknown",
])
type PostgresReason = typeof PostgresReason.Type

/** The SQLSTATE of a write under an epoch that is over. Its class is used neither by the standard nor by PostgreSQL. */
export const supersededState = "SW001"

const byState: Readonly<Record<string, PostgresReason>> = {
  [supersededState]: "Superseded",
  "25006": "ReadOnly",
  "25P03": "Timeout", // idle_in_transaction_session_timeout
  "40001": "Conflict",
  "40P01": "Conflict",
  "42501": "NoPermission",
  "53100": "Full",
  "53200": "NoMemory",
  "53300": "Unreachable", // too many connections
  "55P03": "Timeout",
  "57014": "Timeout",
  "57P01": "Unreachable", // shut down, or ended by an administrator
  "57P02": "Unreachable",
  "57P03": "Unreachable",
  "57P05": "Unreachable", // idle_session_timeout
}

const byClass: Readonly<Record<string, PostgresReason>> = {
  "08": "Unreachable",
  "23": "Constraint",
  "28": "NoPermission",
}

interface Native {
  readonly code: string
  readonly text: string
}

const isState = (code: unknown): code is string => typeof code === "string" && /^[0-9A-Z]{5}$/.test(code)

const property = (value: unknown, key: string): unknown => (Predicate.hasProperty(value, key) ? value[key] : undefined)

const find = (error: unknown, depth: number): Option.Option<Native> => {
  if (error === undefined || depth === 0) return Option.none()
  const code = property(error, "code")
  return isState(code) && !(code in errnos)
    ? Option.some({ code, text: error instanceof Error ? error.message : "" })
    : Option.orElse(find(property(error, "reason"), depth - 1), () => find(property(error, "cause"), depth - 1))
}

/** Codes of the system that look like a SQLSTATE. */
const errnos: Readonly<Record<string, true>> = { EPERM: true, EPIPE: true, EBADF: true, EBUSY: true, EINTR: true }

/** error -> SqlError -> its reason -> the error of the server; a `StateError` is one level more. */
const native = (error: unknown) => find(error, 8)

/** The SQLSTATE, if a server of PostgreSQL was the origin. */
export const stateOf = (error: unknown): Option.Option<string> => Option.map(native(error), ({ code }) => code)

const isLost = (error: unknown, depth: number): boolean =>
  depth > 0 &&
  error !== undefined &&
  (SqlError.isSqlError(error) ? error.reason._tag === "ConnectionError" : isLost(property(error, "cause"), depth - 1))

/** Why it failed, read from an error or from what it wraps; `Unknown` when it was not PostgreSQL that failed. */
export const reasonOf = (error: unknown): PostgresReason =>
  Option.match(stateOf(error), {
    onNone: () => (isLost(error, 4) ? "Unreachable" : "Unknown"),
    onSome: (code) => byState[code] ?? byClass[code.slice(0, 2)] ?? "Unknown",
  })

/** The last words of a chain of causes. */
const deepest = (error: unknown, depth: number): string => {
  const below = property(error, "cause") ?? property(error, "reason")
  if (depth > 0 && below instanceof Error && below.message !== "") return deepest(below, depth - 1)
  return error instanceof Error ? error.message : String(error)
}

/** The server's own words, else those of the system. */
export const messageOf = (error: unknown): string =>
  Option.match(native(error), { onNone: () => deepest(error, 6), onSome: ({ text }) => text })
