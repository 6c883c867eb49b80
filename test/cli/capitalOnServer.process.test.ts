/** `seawall inject-capital` and `write-initial-basis` on a server: as on a file, and refused beside an engine that leads. */
import { expect, it, vi } from "vitest"
import { Effect, Exit, Scope } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { newSchema } from "../support/sharedPostgres.ts"
import * as PostgresServer from "../support/PostgresServer.ts"
import { quick, run, start } from "../support/Seawall.ts"

vi.setConfig({ testTimeout: 60_000 })

it.skipIf(PostgresServer.missing !== undefined)("shows, stores, and refuses what it cannot do", async () => {
  const scope = Scope.makeUnsafe()
  const server = await Effect.runPromise(Scope.provide(PostgresServer.make(), scope))
  const schema = newSchema()
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-capital-"))
  const env = {
    ...quick,
    SEAWALL_POSTGRES_URL: server.url(),
    SEAWALL_POSTGRES_SCHEMA: schema,
    SEAWALL_ENGINE_STORE: "postgres",
  }
  const seawall = (...args: ReadonlyArray<string>) => run(args, { cwd: folder, env })
  const query = (sql: string) => Effect.runPromise(Effect.orDie(server.sql(sql)))
  const inject = ["inject-capital", "--store", "postgres", "--amount", "250", "--source-note", "bank"]

  const tooEarly = await seawall(...inject, "--confirm")
  expect([tooEarly.code, tooEarly.stdout]).toEqual([1, ""])
  expect(tooEarly.stderr).toContain("no engine was ever started there")
  expect(await query(`SELECT nspname FROM pg_namespace WHERE nspname = '${schema}'`)).toEqual([])

  expect((await seawall("run", "--duration-seconds", "0.3", "--dashboard-port", "0")).code).toBe(0)
  const before = await query(`SELECT session_id FROM ${schema}.engine_leader`)
  const shown = await seawall(...inject, "--json")
  expect([shown.code, JSON.parse(shown.stdout)]).toMatchObject([0, { stored: false, event: { amount: 250 } }])
  expect(await query(`SELECT session_id FROM ${schema}.engine_leader`)).toEqual(before)
  expect(await query(`SELECT * FROM ${schema}.capital_events`)).toEqual([])

  const stored = await seawall(...inject, "--confirm", "--json")
  expect([stored.code, JSON.parse(stored.stdout)]).toMatchObject([0, { stored: true, after: { net_basis_rlusd: 250 } }])
  expect(await query(`SELECT amount FROM ${schema}.capital_events`)).toEqual([{ amount: 250 }])
  const basis = ["write-initial-basis", "--store", "postgres", "--amount", "1000", "--confirm", "--json"]
  expect(JSON.parse((await seawall(...basis)).stdout)).toMatchObject({ after: { net_basis_rlusd: 1250 } })
  expect((await seawall(...basis)).stderr).toContain("it was stored before; nothing was changed")

  const engine = start(["run", "--dashboard-port", "0"], { cwd: folder, env })
  await engine.says("leads")
  const refused = await seawall(...inject, "--confirm")
  expect(refused.code).toBe(1)
  expect(refused.stderr).toMatch(/belongs to an engine that runs: pid \d+/)
  engine.kill("SIGTERM")
  expect((await engine.ended).code).toBe(0)
  expect(await query(`SELECT amount FROM ${schema}.capital_events`)).toHaveLength(2)
  await query(`DROP SCHEMA ${schema} CASCADE`)
  fs.rmSync(folder, { recursive: true })
  await Effect.runPromise(Scope.close(scope, Exit.void))
})
