/** `seawall copy-state` as a real process, from a file that an engine left to a server. */
import { expect, it, vi } from "vitest"
import { Effect, Exit, Scope } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as PostgresServer from "../support/PostgresServer.ts"
import { quick, run } from "../support/Seawall.ts"

vi.setConfig({ testTimeout: 60_000 })

const query = (server: PostgresServer.PostgresServer, sql: string) =>
  Effect.runPromise(Effect.orDie(server.sql(sql))).then((rows) => rows.map((row) => Object.values(row)))

/** In an order of their own, whole numbers alike. */
const textsOf = (rows: ReadonlyArray<ReadonlyArray<unknown>>) =>
  rows.map((row) => JSON.stringify(row.map((it) => (typeof it === "bigint" ? Number(it) : it)))).toSorted()

it.skipIf(PostgresServer.missing !== undefined)("copies every row once, and an engine goes on with them", async () => {
  const scope = Scope.makeUnsafe()
  const server = await Effect.runPromise(Scope.provide(PostgresServer.make(), scope))
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-copy-"))
  const schema = `copy_${process.pid}`
  const env = { SEAWALL_POSTGRES_URL: server.url(), SEAWALL_POSTGRES_SCHEMA: schema }
  const seawall = (args: ReadonlyArray<string>, more = {}) => run(args, { cwd: folder, env: { ...env, ...more } })
  const copy = ["copy-state", "--db", "engine.db"]
  const started = await run(["run", "--db", "engine.db", "--duration-seconds", "1", "--dashboard-port", "0"], {
    cwd: folder,
    env: quick,
  })
  expect([started.code, started.stderr].slice(0, 1)).toEqual([0])
  const file = fs.readFileSync(path.join(folder, "engine.db"))

  const shown = await seawall(copy)
  expect([shown.code, shown.stderr]).toEqual([0, "nothing was changed; repeat with --confirm to copy them\n"])
  const refused = await seawall([...copy, "--confirm"], { SEAWALL_POSTGRES_URL: "postgres://a:secret@127.0.0.1:1/b" })
  expect(refused.code).toBe(1)
  expect(refused.stderr).toMatch(/ECONNREFUSED.*start the server/)
  expect(refused.stderr).not.toContain("secret")

  const done = await seawall([...copy, "--confirm", "--json"])
  expect([done.code, done.stderr].slice(0, 1)).toEqual([0])
  const { tables } = JSON.parse(done.stdout) as { readonly tables: Readonly<Record<string, number>> }
  const database = new DatabaseSync(path.join(folder, "engine.db"), { readOnly: true })
  for (const table of ["engine_state", "sessions", "capital_events", "paper_ticks", "paper_fills"]) {
    const rows = database.prepare(`SELECT * FROM ${table}`).all().map(Object.values)
    expect([table, tables[table]]).toEqual([table, rows.length])
    const there = await query(server, `SELECT * FROM ${schema}.${table}`)
    expect(textsOf(there)).toEqual(textsOf(rows))
  }
  database.close()
  expect(fs.readFileSync(path.join(folder, "engine.db")).equals(file)).toBe(true)

  const again = await seawall([...copy, "--confirm"])
  expect([again.code, again.stderr]).toEqual([
    1,
    `seawall copy-state: the table engine_state of the target has ${tables["engine_state"]} rows already; nothing was copied: use an empty schema\n`,
  ])
  const next = await seawall(["run", "--duration-seconds", "1", "--dashboard-port", "0"], {
    ...quick,
    SEAWALL_ENGINE_STORE: "postgres",
  })
  expect([next.code, next.stderr].slice(0, 1)).toEqual([0])
  const [first, second] = await query(server, `SELECT session_id, halt_reason FROM ${schema}.sessions ORDER BY 1`)
  expect(first?.[1]).toBe("duration_elapsed")
  expect(Number(second?.[0])).toBeGreaterThan(Number(first?.[0]))
  fs.rmSync(folder, { recursive: true })
  await Effect.runPromise(Effect.orDie(server.sql(`DROP SCHEMA ${schema} CASCADE`)))
  await Effect.runPromise(Scope.close(scope, Exit.void))
})
