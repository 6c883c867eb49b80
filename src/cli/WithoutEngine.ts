/**
 * What commands share that write to the database of an engine: they have its lease while they do, so that they are refused while an
 * engine runs, and none starts beside them.
 */
import { Effect } from "effect"
import * as path from "node:path"
import * as Lease from "../lease/Lease.ts"
import * as DatabaseFile from "../files/DatabaseFile.ts"

/** In a folder that does not exist there is no engine, and the command itself says what is wrong: nothing is created for that. */
export const withoutEngine =
  (file: string) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | Lease.LeaseError, R> =>
    Effect.suspend((): Effect.Effect<A, E | Lease.LeaseError, R> => {
      const folder = path.dirname(DatabaseFile.resolve(file).path)
      return DatabaseFile.look(folder) === undefined ? self : Effect.provide(self, Lease.layerFile({ file }))
    })
