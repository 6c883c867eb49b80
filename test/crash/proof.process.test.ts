/** A short slice of each case of the proof; `npm run proof` is the whole of it. */
import { describe, expect, it } from "vitest"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { badBytes } from "./BadBytes.ts"
import { anyFile, canAll } from "./Commands.ts"
import type { LogLine } from "../support/Seawall.ts"
import { create, inspect, judge } from "./database.ts"
import { failingDisk, fullDisk, problemsOf } from "./FailingDisk.ts"
import { kill } from "./Kill.ts"
import { everyOrder, tryOrders } from "./Orders.ts"
import { fullDisks, passingFaults, servedAgain } from "./Served.ts"
import * as SmallDisk from "./SmallDisk.ts"
import { hasStrace, powerCut } from "./PowerCut.ts"
import { figuresOf, hasProc, mostWal, problemsOf as notFlat, type Sample, soak } from "./Soak.ts"
import { parse } from "./Trace.ts"

const seed = 20_261_123
const clean = { lost: 0, corrupt: 0, hung: 0, failures: [] }

describe("an engine that is killed", () => {
  it("loses nothing that it acknowledged", { timeout: 60_000 }, async () => {
    const verdict = await kill(6, seed)
    expect(verdict).toMatchObject({ ...clean, runs: 6, states: 6 })
    expect(verdict.checked).toBeGreaterThan(0)
  })
})

describe.skipIf(!hasStrace)("a power cut", () => {
  for (const durability of ["durable", "full", "normal"] as const) {
    it(`at ${durability} loses nothing that was promised`, { timeout: 60_000 }, () => {
      const verdict = powerCut({ durability, seed, writes: 400, states: 60 })
      expect(verdict).toMatchObject({ ...clean, runs: 1, states: 60 })
      expect(verdict.checked).toBeGreaterThan(0)
    })
  }
})

describe.skipIf(!hasStrace)("a disk that fails", () => {
  it("ends a session in order, with what failed said aloud", { timeout: 60_000 }, async () => {
    const verdict = await failingDisk([
      { call: "fdatasync", error: "EIO", nth: 5, times: "once" },
      { call: "pwrite64", error: "ENOSPC", nth: 34, times: "always" },
      { call: "ftruncate", error: "EIO", nth: 1, times: "once" },
    ])
    expect(verdict).toMatchObject({ ...clean, runs: 3, states: 3 })
  })
})

describe.skipIf(!hasStrace)("a disk that fails once", () => {
  it("costs the writes that were told so, and none after them", { timeout: 60_000 }, async () => {
    const verdict = await servedAgain(passingFaults.slice(0, 6))
    expect(verdict).toMatchObject({ ...clean, runs: 6, states: 6 })
    expect(verdict.checked).toBeGreaterThan(0)
  })
})

describe.skipIf(!SmallDisk.isPossible)("a full disk", () => {
  it("ends a session in order", { timeout: 60_000 }, async () => {
    expect(await fullDisk([96, 160])).toMatchObject({ ...clean, runs: 2, states: 2 })
  })

  it("costs the writes that were told so, and none after there is room again", { timeout: 60_000 }, async () => {
    expect(await servedAgain(fullDisks.slice(0, 1))).toMatchObject({ ...clean, runs: 1, states: 1 })
  })
})

describe("bytes that should not be there", () => {
  it("end a session with a message, and change nothing that was refused", { timeout: 60_000 }, async () => {
    expect(await badBytes(10, seed)).toMatchObject({ ...clean, runs: 10, states: 10 })
  })
})

describe.skipIf(!canAll)("any command on any file", () => {
  it("ends with a documented exit code, and changes nothing that it should not", { timeout: 120_000 }, async () => {
    expect(await anyFile(24, seed)).toMatchObject({ ...clean, runs: 24 })
  })
})

describe("every order of events", () => {
  it("leaves a guard that was closed by its rules", { timeout: 60_000 }, async () => {
    const verdict = await everyOrder(2)
    expect(verdict).toMatchObject({ ...clean, runs: 91 })
    expect(verdict.states).toBeGreaterThan(30)
  })

  it("starts no checkpoint after the stop, also of a caller that waited for its turn behind a slow one", async () => {
    const verdict = await tryOrders([
      ["next is slow", "burst of writes", "tick"],
      ["next is slow", "burst of writes", "reader comes or goes", "burst of writes"],
    ])
    expect(verdict).toMatchObject({ ...clean, runs: 2 })
  })
})

describe.skipIf(!hasProc)("an engine that lives long, and one that does not", () => {
  it("lose nothing that they acknowledged", { timeout: 60_000 }, async () => {
    const verdict = await soak({ minutes: 0.08, seed })
    expect(verdict).toMatchObject({ ...clean, states: verdict.restarts + 2 })
    expect(verdict.checked).toBeGreaterThan(0)
    expect(verdict.restarts).toBeGreaterThan(0)
    expect(verdict.samples.length).toBeGreaterThan(0)
    for (const { descriptors, rss, threads } of verdict.samples) {
      expect(Math.min(descriptors, threads)).toBeGreaterThan(3)
      expect(rss).toBeGreaterThan(10e6)
    }
  })
})

describe("what the proof looks at", () => {
  const inFolder = (use: (file: string) => void) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-proof-"))
    try {
      create(path.join(folder, "test.db"))
      use(path.join(folder, "test.db"))
    } finally {
      fs.rmSync(folder, { recursive: true })
    }
  }
  const change = (file: string, sql: string) => {
    const database = new DatabaseSync(file)
    database.exec(sql)
    database.close()
  }

  it("sees a write that is missing", () =>
    inFolder((file) => {
      expect(judge(file, 0, "")).toMatchObject({ ...clean, states: 1 })
      expect(judge(file, 3, "here")).toMatchObject({ lost: 3, corrupt: 0, failures: ["3 of 3 lost: here"] })
    }))

  it("sees a gap, half of a write, and a text that is not whole", () => {
    for (const sql of [
      "INSERT INTO t VALUES (2, ''); UPDATE total SET n = 1",
      "UPDATE total SET n = 1",
      "INSERT INTO t VALUES (1, 'torn'); UPDATE total SET n = 1",
    ]) {
      inFolder((file) => {
        change(file, sql)
        expect(judge(file, 0, "")).toMatchObject({ corrupt: 1 })
      })
    }
  })

  it("sees a session that ended as it must not", () =>
    inFolder((file) => {
      const seen = (code: number | null, ...log: ReadonlyArray<LogLine>) =>
        problemsOf(path.dirname(file), { code, signal: null, hung: false, stdout: "", stderr: "", log })
      const line = (level: string, message: string) => ({ level, message, annotations: {} })
      expect(seen(0)).toEqual([])
      expect(seen(1, line("ERROR", "start failed"))).toEqual([])
      expect(seen(1)).toEqual(["exit code 1 without an ERROR"])
      expect(seen(null)).toEqual(["exit code null"])
      expect(seen(1, line("FATAL", "run failed"))).toEqual(["a defect was not caught"])
      expect(seen(0, line("INFO", "engine running"))[0]).toContain("not attempted: stop ticking, halt.reason")
      expect(seen(0, line("INFO", "paper fill"))).toEqual(["lost: 1 of 1 fills"])
      const hung = { code: 0, signal: null, hung: true, stdout: "", stderr: "", log: [] }
      expect(problemsOf(path.dirname(file), hung)).toEqual(["it hung"])
    }))

  it("sees what is not flat, and lets be what is", () => {
    const mega = 1024 * 1024
    const flat = { rss: 100 * mega, descriptors: 20, threads: 10, wal: 2 * mega }
    /** 60 samples of which those of the last third, or of another, are not like the others. */
    const seen = (change: Partial<Sample>, third = 2) =>
      notFlat(Array.from({ length: 60 }, (_, n) => (Math.floor(n / 20) === third ? { ...flat, ...change } : flat)))
    expect(seen({ rss: 114 * mega, wal: 4 * mega })).toEqual([])
    expect(seen({ rss: 116 * mega })).toEqual([
      "not flat: median RSS in MB 104.9 in the second third, 121.6 in the last",
    ])
    expect(seen({ descriptors: 21 })).toEqual(["not flat: descriptors 20 in the second third, 21 in the last"])
    expect(seen({ threads: 11 })).toEqual(["not flat: threads 10 in the second third, 11 in the last"])
    expect(seen({ wal: 4 * mega + 1 })).toEqual([
      "not flat: longest log in MB 2.1 in the second third, 4.2 in the last",
    ])
    expect(seen({ rss: 500 * mega, descriptors: 99, threads: 99, wal: 9 * mega }, 0)).toEqual([])
    expect(seen({ wal: mostWal + 1 }, 0)).toHaveLength(1)
    const few = Array.from({ length: 29 }, (_, n): Sample => ({ ...flat, threads: n, wal: mostWal }))
    expect(notFlat(few)).toEqual([])
    expect(notFlat([...few, flat])).toEqual(["not flat: threads 19 in the second third, 28 in the last"])
    expect(figuresOf(few)).toContain("| threads, max | 9 | 18 | 28 | 28 |")
  })

  it("sees a damaged file", () =>
    inFolder((file) => {
      fs.writeFileSync(file, Buffer.alloc(fs.statSync(file).size, 7))
      expect(inspect(file).integrity).not.toBe("ok")
    }))

  it("reads calls of other threads that were cut in two, and calls that never returned", () => {
    const hex = (text: string) =>
      [...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")
    const { acks, calls } = parse(`10 pwrite64(20</tmp/test.db-wal>, "${hex("abc")}", 3, 24) = 3
11 fdatasync(21</tmp/test.db-wal> <unfinished ...>
10 write(1<pipe:[1]>, "${hex("ack 7\n")}", 6) = 6
11 <... fdatasync resumed>) = 0
10 fsync(20</tmp/test.db-wal>) = -1 EIO (Input/output error)
10 ftruncate(20</tmp/test.db-wal>, 0) = 0
10 pwrite64(19</tmp/test.db>, "${hex("xy")}", 2, 4096 <unfinished ...>
`)
    expect(acks).toEqual([{ at: 2, n: 7 }])
    expect(calls.map(({ end, file, kind, start }) => [kind, file, start, end])).toEqual([
      ["write", "wal", 0, 0],
      ["sync", "wal", 1, 3],
      ["truncate", "wal", 5, 5],
      ["write", "db", 6, 8],
    ])
  })
})

describe("npm run proof", () => {
  const program = fileURLToPath(new URL("./proof.ts", import.meta.url))
  const proof = (...args: ReadonlyArray<string>) =>
    spawnSync(process.execPath, [program, ...args], { encoding: "utf8" })

  it("says what it can do, and refuses what it cannot", () => {
    expect(proof("--help")).toMatchObject({ status: 0, stdout: expect.stringContaining("npm run proof") })
    expect(proof("flood")).toMatchObject({ status: 2, stderr: expect.stringContaining("no such case: flood") })
    expect(proof("kill", "--runs", "few")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("--runs must be"),
    })
    for (const minutes of ["0", "some", "-1", "Infinity"]) {
      expect(proof("soak", `--minutes=${minutes}`)).toMatchObject({
        status: 2,
        stderr: expect.stringContaining(`--minutes must be a number above 0, got ${minutes}`),
      })
    }
  })

  it.skipIf(!hasProc)("leaves no process and no file behind when it is interrupted", { timeout: 30_000 }, async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-proof-"))
    const env = { ...process.env, TMPDIR: folder }
    const running = spawn(process.execPath, [program, "soak"], { env, stdio: "ignore" })
    const ended = once(running, "close")
    try {
      const children = () => fs.readFileSync(`/proc/${running.pid}/task/${running.pid}/children`, "utf8").match(/\d+/g)
      const logs = () => fs.readdirSync(folder, { recursive: true }).filter((name) => String(name).endsWith("-wal"))
      while ((children() ?? []).length < 4 || logs().length < 2) await sleep(50) // two engines and their readers
      const started = children() ?? []
      running.kill("SIGINT")
      expect(await ended).toEqual([130, null])
      const isAlive = (pid: string) => {
        const status = spawnSync("ps", ["-o", "stat=", "-p", pid], { encoding: "utf8" }).stdout.trim()
        return status !== "" && !status.startsWith("Z") // its parent may not have waited for it
      }
      await expect.poll(() => started.filter(isAlive), { timeout: 5000 }).toEqual([])
      expect(fs.readdirSync(folder)).toEqual([])
    } finally {
      running.kill("SIGKILL")
      fs.rmSync(folder, { recursive: true })
    }
  })
})
