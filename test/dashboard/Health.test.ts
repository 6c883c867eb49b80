import { describe, expect, it } from "@effect/vitest"
import { well } from "./well.ts"
import * as Health from "../../src/dashboard/Health.ts"
import type { DatabaseStatus, LeadershipStatus } from "../../src/dashboard/Snapshot.ts"

const blocked = { outcome: "ReaderBlocked", runs: 4, since_ms: 1000, seconds: 12.34, blockers: [] } as const
const reporter = { pid: 4711, command: "reporter", lock: "read1", since_ms: 1000, seconds: 12.34 } as const

const led: LeadershipStatus = {
  where: "PostgreSQL at db/engine, schema seawall",
  leads_here: false,
  leader: { session_id: 3, pid: 7, command: "node", host: "a", since_ms: 1000, heard_seconds: 4 },
  standbys: ["b:8"],
  lease_seconds: 3,
  leaderless_seconds: 0,
  problem: null,
}

describe("health", () => {
  it("has no reason against a database that is guarded, up to twice its interval", () => {
    expect(Health.reasons([well, { ...well, exposure_seconds: 0 }])).toEqual([])
  })

  it.each<[DatabaseStatus, string, string]>([
    [
      { ...well, exposure_seconds: 20.1 },
      "exposure",
      "a power cut could take commits of the last 20.1 s, expected at most 20 s",
    ],
    [{ ...well, failures: 1 }, "failing", "1 checkpoint in a row failed; the log says why"],
    [{ ...well, failures: 3 }, "failing", "3 checkpoints in a row failed; the log says why"],
    [{ ...well, blocked }, "blocked", "ReaderBlocked for 12.3 s by an unknown process"],
    [
      { ...well, blocked: { ...blocked, blockers: [reporter] } },
      "blocked",
      "ReaderBlocked for 12.3 s by reporter (pid 4711, read1)",
    ],
    [{ ...well, state: "replaced" }, "replaced", "the file was moved or replaced; restart to guard what is there now"],
  ])("says what it is", (status, reason, detail) => {
    expect(Health.reasons([status])).toEqual([{ reason, database: "app.db", detail }])
  })

  it("asks nothing of a guard that is off", () => {
    expect(Health.reasons([{ ...well, state: "off", interval_seconds: 0, exposure_seconds: 1000 }])).toEqual([])
  })

  it("has no reason in an exposure that cannot be known", () => {
    expect(Health.reasons([{ ...well, exposure_seconds: null }])).toEqual([])
  })

  it("names each database that has a reason", () => {
    const all = [well, { ...well, name: "b.db", failures: 1, blocked }, { ...well, name: "c.db", failures: 1 }]
    expect(Health.reasons(all).map(({ database, reason }) => [database, reason])).toEqual([
      ["b.db", "blocked"],
      ["b.db", "failing"],
      ["c.db", "failing"],
    ])
  })

  it("has no reason against a leader that is heard, nor in a takeover", () => {
    expect(Health.reasons([], led)).toEqual([])
    expect(Health.reasons([], { ...led, leader: null, leaderless_seconds: 8 })).toEqual([])
  })

  it.each<[LeadershipStatus, string, string]>([
    [{ ...led, leader: { ...led.leader!, heard_seconds: 4.1 } }, "unheard", "a:7 leads, and was not heard for 4.1 s"],
    [
      { ...led, leader: null, leaderless_seconds: 8.1 },
      "leaderless",
      "no leader for 8 s: no machine can, or the engine ended on purpose; the log says why",
    ],
    [
      { ...led, leader: null, leaderless_seconds: 100, problem: "no answer within 2 s" },
      "unreachable",
      "no answer within 2 s",
    ],
  ])("says what is wrong with who leads", (leadership, reason, detail) => {
    expect(Health.reasons([well], leadership)).toEqual([{ reason, database: led.where, detail }])
  })
})
