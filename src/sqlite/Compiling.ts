/**
 * Corrects what the driver does with statements that do not compile: each is a typed failure, and is compiled again the next
 * time.
 */
import { Effect, Stream } from "effect"
import { SqlError, type SqlConnection } from "effect/sql"
import { StatementRefused, toSqlError } from "./StatementRefused.ts"

/**
 * A cursor holds its read transaction until its consumer has taken the last row: of the one connection, so that nothing else runs, or of one more, so that
 * the WAL cannot start from its beginning. https://www.sqlite.org/wal.html#avoiding_excessively_large_wal_files
 */
const streamRefused = new StatementRefused({
  statement: "stream",
  advice:
    "a cursor would hold the connection, and keep the WAL from being emptied, for as long as its consumer takes; " +
    "read in pages: WHERE key > the last one ORDER BY key LIMIT n",
})

const failure = (cause: unknown, message: string, operation: "prepare" | "execute") =>
  new SqlError.SqlError({ reason: SqlError.classifySqliteError(cause, { message, operation }) })

/** The driver compiles "unprepared" statements outside of any effect, so a bad one throws from the call itself. */
export const compiling = <A>(run: () => Effect.Effect<A, SqlError.SqlError>): Effect.Effect<A, SqlError.SqlError> =>
  Effect.flatten(Effect.try({ try: run, catch: (cause) => failure(cause, "Failed to prepare statement", "prepare") }))

/** For a statement that the driver prepares and caches. */
export const didNotCompile = ({ reason }: SqlError.SqlError) => reason.operation === "prepare"

/**
 * The driver's connection with both corrected. The driver remembers for ten minutes that a statement did not compile, though
 * the table that it names may exist by now: such a statement is compiled again each time. (The raw form offers no way to.)
 */
export const compilingAnew = (driver: SqlConnection.Connection): SqlConnection.Connection => {
  const executeUnprepared: SqlConnection.Connection["executeUnprepared"] = (sql, params, transform) =>
    compiling(() => driver.executeUnprepared(sql, params, transform))
  const executeValuesUnprepared: SqlConnection.Connection["executeValuesUnprepared"] = (sql, params) =>
    compiling(() => driver.executeValuesUnprepared(sql, params))
  return {
    execute: (sql, params, transform) =>
      Effect.catchIf(driver.execute(sql, params, transform), didNotCompile, () =>
        executeUnprepared(sql, params, transform),
      ),
    executeRaw: (sql, params) => driver.executeRaw(sql, params),
    executeValues: (sql, params) =>
      Effect.catchIf(driver.executeValues(sql, params), didNotCompile, () => executeValuesUnprepared(sql, params)),
    executeUnprepared,
    executeValuesUnprepared,
    executeStream: () => {
      return Stream.fail(toSqlError(streamRefused))
    },
  }
}
