/** The server that all tests of a file share, started by the first that needs it. */
import { Effect, Exit, Scope } from "effect"
import { afterAll } from "vitest"
import * as PostgresServer from "./PostgresServer.ts"

let started: Promise<string> | undefined
const scope = Scope.makeUnsafe()

/** Where it is. */
export const url: Effect.Effect<string> = Effect.promise(() => {
  const given = process.env["SEAWALL_TEST_POSTGRES_URL"]
  started ??=
    given === undefined
      ? Effect.runPromise(Effect.map(Scope.provide(PostgresServer.make(), scope), ({ url: at }) => at))
      : Promise.resolve(given)
  return started
})

/** A schema of its own there. */
export const fresh = Effect.map(url, (at) => PostgresServer.options({ url: at }))

afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
