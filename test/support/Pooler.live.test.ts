import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import * as fs from "node:fs"
import { because, onPostgres } from "./onPostgres.ts"
import * as Pooler from "./Pooler.ts"
import { isTaken } from "./ports.ts"

const { missing } = Pooler

onPostgres("a server", (server) => {
  describe.skipIf(missing !== undefined)(`behind a pooler in transaction mode${because(missing)}`, () => {
    it.live("refuses a client that asks for a setting of its session", () =>
      Effect.gen(function* () {
        const { sql, url } = server()
        const { at } = yield* Pooler.make({ url: url() })
        expect(yield* sql("SELECT 1 AS a", [], at)).toEqual([{ a: 1 }])
        const refused = yield* Effect.flip(sql("SELECT 1", [], { ...at, schema: "another" }))
        expect(String(refused.reason.cause)).toContain("unsupported startup parameter: options")
      }).pipe(Effect.scoped),
    )

    it.live("ignores settings that it was told to ignore", () =>
      Effect.gen(function* () {
        const { sql, url } = server()
        const { at } = yield* Pooler.make({ url: url(), ignores: ["options", "search_path"] })
        const asked = { schema: "another" }
        expect(yield* sql("SHOW search_path", [], asked)).toEqual([{ search_path: "another" }])
        expect(yield* sql("SHOW search_path", [], { ...asked, ...at })).toEqual([{ search_path: '"$user", public' }])
      }).pipe(Effect.scoped),
    )

    it.live("keeps a session lock that its client has left, and gives it to the next", () =>
      Effect.gen(function* () {
        const { sql, url } = server()
        const { at } = yield* Pooler.make({ url: url() })
        const lock = "SELECT pg_try_advisory_lock(19) AS taken"
        expect(yield* sql(lock, [], at)).toEqual([{ taken: true }])
        expect(yield* sql(lock)).toEqual([{ taken: false }])
        expect(yield* sql(lock, [], at)).toEqual([{ taken: true }])
      }).pipe(Effect.scoped),
    )

    it.live("leaves nothing", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { at, folder } = yield* Scope.provide(Pooler.make({ url: server().url() }), scope)
        yield* Scope.close(scope, Exit.void)
        expect(fs.existsSync(folder)).toBe(false)
        expect(yield* Effect.promise(() => isTaken(at))).toBe(false)
      }),
    )
  })
})
