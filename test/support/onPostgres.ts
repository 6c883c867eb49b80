/** Tests that need PostgreSQL: one server for each `describe`, and a name that says why they are skipped without one. */
import { Effect, Exit, Scope } from "effect"
import { afterAll, beforeAll, describe } from "vitest"
import * as PostgresServer from "./PostgresServer.ts"

/** For the name of tests that are skipped. */
export const because = (missing: string | undefined) => (missing === undefined ? "" : ` (${missing})`)

const on =
  <S>(missing: string | undefined, make: (options: PostgresServer.PostgresServerOptions) => Start<S>) =>
  (name: string, tests: (server: () => S) => void, options: PostgresServer.PostgresServerOptions = {}) =>
    describe.skipIf(missing !== undefined)(`${name}${because(missing)}`, () => {
      const scope = Scope.makeUnsafe()
      let server: S | undefined
      beforeAll(async () => {
        server = await Effect.runPromise(Scope.provide(make(options), scope))
      })
      afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
      tests(() => {
        if (server === undefined) throw new Error("there is a server while a test runs")
        return server
      })
    })

type Start<S> = Effect.Effect<S, never, Scope.Scope>

/** On the server that `SEAWALL_TEST_POSTGRES_URL` names, else on one of our own. */
export const onPostgres = on(PostgresServer.missing, PostgresServer.make)

/** On one that the tests may stop and freeze. */
export const onOwnPostgres = on(PostgresServer.missingOwn, PostgresServer.makeOwn)
