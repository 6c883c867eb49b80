import { describe, expect, it } from "vitest"
import * as Incidents from "../../src/dashboard/Incidents.ts"
import type { DatabaseStatus } from "../../src/dashboard/Snapshot.ts"
import { well } from "./well.ts"

const blocked = (pid: number): DatabaseStatus["blocked"] => ({
  outcome: "ReaderBlocked",
  runs: 4,
  since_ms: 500,
  seconds: 1,
  blockers: [{ pid, command: "reporter", lock: "read1", since_ms: 500, seconds: 1 }],
})

const checkpoint = (number: number, elapsed_ms: number): DatabaseStatus["last_checkpoint"] => ({
  number,
  at_ms: 5000,
  mode: "PASSIVE",
  why: "interval",
  outcome: "Complete",
  elapsed_ms,
})

describe("incidents", () => {
  it("last from when they begin until they are over, and stay", () => {
    const incidents = Incidents.make(200)
    incidents.take(1000, [
      { ...well, blocked: blocked(1) },
      { ...well, name: "b.db", failures: 1 },
    ])
    incidents.take(2000, [
      { ...well, blocked: blocked(1) },
      { ...well, name: "b.db", failures: 2 },
    ])
    expect(incidents.all()).toEqual([
      {
        kind: "failing",
        database: "b.db",
        detail: "2 checkpoints in a row; the log says why",
        since_ms: 1000,
        until_ms: null,
      },
      { kind: "blocked", database: "app.db", detail: "ReaderBlocked: reporter (pid 1)", since_ms: 500, until_ms: null },
    ])
    incidents.take(3000, [well, { ...well, name: "b.db" }])
    incidents.take(9000, [{ ...well, blocked: blocked(2) }])
    expect(incidents.all().map(({ kind, until_ms }) => [kind, until_ms])).toEqual([
      ["blocked", null],
      ["failing", 3000],
      ["blocked", 3000],
    ])
  })

  it("have slow checkpoints that follow each other once, with the slowest, and are at most a hundred", () => {
    const incidents = Incidents.make(200)
    const take = (number: number, elapsed: number, at_ms: number) =>
      incidents.take(at_ms, [{ ...well, last_checkpoint: { ...checkpoint(number, elapsed)!, at_ms } }])
    take(1, 300, 5000)
    take(1, 300, 5000)
    take(2, 100, 6000)
    take(3, 400, 7000)
    expect(incidents.all()).toEqual([
      { kind: "slow", database: "app.db", detail: "2 checkpoints, the slowest 400 ms", since_ms: 4700, until_ms: 7000 },
    ])
    for (let number = 4; number < 200; number++) take(number, 300, number * 100_000)
    expect(incidents.all()).toHaveLength(Incidents.mostIncidents)
    expect(incidents.all()[0]?.detail).toBe("a checkpoint took 300 ms")
  })
})
