/** What status and doctor say of an engine, by its lease: one that runs, one that crashed, and one that cannot be told. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import { DatabaseSync } from "node:sqlite"
import * as StatusTable from "../../src/cli/StatusTable.ts"
import * as DatabaseStatus from "../../src/status/DatabaseStatus.ts"
import { about, bytesOf, database, examine, seen } from "../support/examined.ts"

/** An engine that ran, and has not said that it ended. */
const running = database(`
  CREATE TABLE engine_state (key TEXT PRIMARY KEY, value TEXT); INSERT INTO engine_state VALUES ('engine_status', 'RUNNING');
  CREATE TABLE sessions (session_id INTEGER PRIMARY KEY, parent_session_id INTEGER, started_at TEXT, ended_at TEXT,
    halt_reason TEXT);
  INSERT INTO sessions VALUES (1, NULL, '2026-11-01T00:00:00.000Z', NULL, NULL),
    (2, NULL, '2026-11-02T00:00:00.000Z', NULL, NULL)`)

/** Another connection has the lease, as a process in another container would: it is not among the processes that are seen. */
const leased = Effect.fnUntraced(function* (file: string, pid: number, host: string) {
  const db = yield* Effect.acquireRelease(
    Effect.sync(() => new DatabaseSync(`${file}-lease`)),
    (open) => Effect.sync(() => open.close()),
  )
  db.exec(`PRAGMA application_id = 0x7365614c;
    CREATE VIEW lease (pid, command, since, host) AS SELECT ${pid}, 'node x.js', '2026-11-03T00:00:00.000Z', '${host}';
    BEGIN IMMEDIATE`)
  return db
})

const engineLine = (text: string) => text.split("\n").find((line) => line.startsWith("engine"))

describe("an engine that has the lease", () => {
  it.live("runs, and is named, although its process cannot be seen", () =>
    Effect.gen(function* () {
      const file = yield* running
      yield* leased(file, 7, "web-1")
      const status = yield* DatabaseStatus.read(file)
      expect(status).toMatchObject({
        engine_lease: Option.some("held"),
        engine_holder: Option.some({ pid: 7, command: "node x.js", since: "2026-11-03T00:00:00.000Z", host: "web-1" }),
        session_state: Option.some("open"),
        opened_by: Option.some([]),
      })
      const text = engineLine(StatusTable.render(status))
      expect(text).toMatch(/^engine +RUNNING: node x\.js \(pid 7\) on web-1, since 2026-11-03T00:00:00Z \(/)

      const report = yield* examine(file)
      const one = "pid 7 (node x.js) on web-1, since 2026-11-03T00:00:00.000Z"
      expect(seen(report, "open-session")).toBe(`2 sessions without an end, the newest runs: ${one}`)
      expect(about(report, "open-session")?.evidence["session_ids"]).toEqual([1])
      expect(about(report, "open-elsewhere")).toMatchObject({
        severity: "notice",
        message: `an engine runs on it: ${one}`,
        evidence: { pids: [], engine_pid: 7, engine_host: "web-1" },
        remedy: `seawall status ${file}`,
      })
    }).pipe(Effect.scoped),
  )

  it.live("is said beside what else is stored, and when it has not said who it is", () =>
    Effect.gen(function* () {
      const file = yield* running
      const halted = new DatabaseSync(file)
      halted.exec("UPDATE engine_state SET value = 'HALTED'")
      halted.close()
      const lease = yield* leased(file, 7, os.hostname())
      const halting = engineLine(StatusTable.render(yield* DatabaseStatus.read(file)))
      expect(halting).toMatch(/^engine +HALTED; an engine runs on it: node x\.js \(pid 7\), since /)
      lease.exec("DROP VIEW lease; COMMIT; BEGIN IMMEDIATE")
      const status = yield* DatabaseStatus.read(file)
      expect(status).toMatchObject({ engine_lease: Option.some("held"), engine_holder: Option.none() })
      expect(engineLine(StatusTable.render(status))).toMatch(/HALTED; an engine runs on it: an engine that starts$/)
    }).pipe(Effect.scoped),
  )
})

describe("an engine whose lease is free", () => {
  it.live("crashed when the lease was left, also while another process has the database open", () =>
    Effect.gen(function* () {
      const file = yield* running
      const lease = yield* leased(file, 7, os.hostname())
      lease.exec("ROLLBACK")
      const before = bytesOf(file)
      const status = yield* DatabaseStatus.read(file)
      expect(status).toMatchObject({ engine_lease: Option.some("left"), session_state: Option.some("not_closed") })
      expect(engineLine(StatusTable.render(status))).toMatch(
        /RUNNING, but no engine runs: it crashed, and the next start /,
      )
      const report = yield* examine(file)
      expect(about(report, "open-session")?.evidence["session_ids"]).toEqual([1, 2])
      expect(about(report, "open-elsewhere")).toBeUndefined()
      expect(bytesOf(file)).toEqual(before)
    }).pipe(Effect.scoped),
  )

  it.live("is not known to run when it takes no lease", () =>
    Effect.gen(function* () {
      const file = yield* running
      const status = yield* DatabaseStatus.read(file)
      expect(status).toMatchObject({ engine_lease: Option.some("free"), session_state: Option.some("not_closed") })
      expect(engineLine(StatusTable.render(status))).toMatch(
        /RUNNING, but no process is seen to have the database open$/,
      )
    }).pipe(Effect.scoped),
  )

  it.live("cannot be told when the lease is none, and why is said", () =>
    Effect.gen(function* () {
      const file = yield* running
      fs.mkdirSync(`${file}-lease`)
      const status = yield* DatabaseStatus.read(file)
      expect(status).toMatchObject({
        engine_lease: Option.none(),
        engine_lease_reason: Option.some(`${file}-lease is not a regular file; move it away (it was left as it is)`),
        session_state: Option.some("not_closed"),
      })
    }).pipe(Effect.scoped),
  )
})
