/**
 * The `SqliteClient` of the driver over a safe client: the same client, with what only the driver's connection can do.
 *
 * A backup, or the loading of an extension, has the connection to itself: no statement comes between. For a copy that is also
 * verified, and made beside the event loop, there is `Backup`.
 * https://www.sqlite.org/backup.html https://www.sqlite.org/loadext.html
 */
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Effect, Option } from "effect"
import { SqlError } from "effect/sql"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import type { DatabaseOptions } from "./DatabaseOptions.ts"
import type { DriverConnection } from "./DriverConnection.ts"
import type { DurabilityError } from "../sql/Durability.ts"
import { codeOf } from "./NativeError.ts"
import type { SafeClient } from "./SafeClient.ts"
import { StatementRefused, toSqlError } from "./StatementRefused.ts"

interface DriverClientOptions {
  readonly client: Pick<SafeClient, "sql" | "exclusive">
  readonly driver: DriverConnection
  readonly options: DatabaseOptions
  /** The database that is open. */
  readonly path: string
  /** Why nothing of it may be used any more, if so. */
  readonly refusal: () => DurabilityError | undefined
}

/** It would be read and overwritten at the same time, or lose what its WAL holds. */
const isOfDatabase = (destination: string, path: string) => {
  const own = DatabaseFile.resolve(path)
  const given = DatabaseFile.resolve(destination)
  const isSame = own.found !== undefined && own.found.identity === given.found?.identity
  return isSame || [own.path, own.wal, own.shm, own.journal].includes(given.path)
}

const refused = (advice: string) => Effect.fail(toSqlError(new StatementRefused({ statement: "backup", advice })))

/** For a locked destination SQLite answers code 0, "not an error". */
const explained = (destination: string) => (error: SqlError.SqlError) => {
  if (!Option.contains(codeOf(error), 0)) return error
  const message = `${destination} is locked, or a transaction is open on it; end that and try again`
  return new SqlError.SqlError({
    reason: new SqlError.LockTimeoutError({ cause: error, message, operation: "backup" }),
  })
}

/** Puts them on the client itself, so that the services of both names are one. */
export const make = ({ client, driver, options, path, refusal }: DriverClientOptions): SqliteClient.SqliteClient => {
  const backup = (destination: string) =>
    client.exclusive(
      "backup",
      Effect.suspend(() => {
        const replaced = refusal()
        if (replaced?.reason === "Replaced") return refused(replaced.message)
        if (isOfDatabase(destination, path)) return refused("the destination is the database itself; name another file")
        return Effect.mapError(driver.backup(destination), explained(destination))
      }),
    )
  const loadExtension = (extension: string) => client.exclusive("loadExtension", driver.loadExtension(extension))
  return Object.assign(client.sql, {
    [SqliteClient.TypeId]: SqliteClient.TypeId,
    config: options,
    backup,
    loadExtension,
  }) as SqliteClient.SqliteClient
}
