/** The server that all tests of a file share, started by the first that needs it. */
import { Effect, Exit, Redacted, Scope } from "effect"
import { randomUUID } from "node:crypto"
import { afterAll } from "vitest"
import * as PostgresServer from "./PostgresServer.ts"

let started: Promise<string> | undefined
const scope = Scope.makeUnsafe()

/** Where it is. */
export const url: Effect.Effect<string> = Effect.promise(() => {
  started ??= Effect.runPromise(Effect.map(Scope.provide(PostgresServer.make(), scope), (server) => server.url()))
  return started
})

/** A schema that nothing else uses. */
export const newSchema = () => `t_${randomUUID().replaceAll("-", "").slice(0, 12)}`

/** A schema of its own on a server. */
export const optionsOf = (at: string) => ({ url: Redacted.make(at), schema: newSchema() })

/** The same on the server that is shared. */
export const fresh = Effect.map(url, optionsOf)

afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
