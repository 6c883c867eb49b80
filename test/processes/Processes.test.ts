/** How processes are named, and what is said where they cannot be seen. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, FileSystem, Option } from "effect"
import { resolve } from "../../src/files/DatabaseFile.ts"
import { linesOf } from "../../src/processes/LockTable.ts"
import { holderNames, nameOf, namesOf, shortCommand } from "../../src/processes/ProcessName.ts"
import { lockHolders, settle, using } from "../../src/processes/Processes.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"

describe("a process", () => {
  const python = { pid: 123, command: "/usr/bin/python3 /opt/app/writer.py" }

  it("has one name: its command line without folders, its pid, and what else is said of it", () => {
    expect(nameOf(python, "read1")).toBe("python3 writer.py (pid 123, read1)")
    expect(namesOf([python, { pid: 1, command: "sh", has: "deleted" }])).toBe(
      "python3 writer.py (pid 123), sh (pid 1, has a deleted file of that name)",
    )
    expect(holderNames([{ ...python, lock: "write" }])).toBe("python3 writer.py (pid 123, write)")
  })

  it("has a short name, however long its command line is, and the short name is its own", () => {
    const long = `/usr/bin/python3 -c ${"x".repeat(170)}`
    expect(shortCommand(long)).toBe(`python3 -c ${"x".repeat(49)}...`)
    expect(shortCommand(shortCommand(long))).toBe(shortCommand(long))
  })
})

describe("where nothing is to be seen", () => {
  it.effect("no process is said to be unknown, never to be none", () =>
    Effect.gen(function* () {
      const file = resolve(yield* TemporaryDatabase.file)
      const nowhere = FileSystem.layerNoop({ exists: () => Effect.succeed(false) })
      expect(yield* Effect.provide(using(file), nowhere)).toEqual(Option.none())
      expect(yield* Effect.provide(lockHolders(file), nowhere)).toEqual(Option.none())
    }),
  )
})

describe("a lock whose device `stat` does not tell", () => {
  const table = `1: POSIX  ADVISORY  READ 200 00:21:77 128 128
2: POSIX  ADVISORY  READ 300 00:21:77 124 128
3: POSIX  ADVISORY  READ 400 00:35:77 128 128
`
  const lines = linesOf(table, "41:77", 999)
  const pids = (some: ReadonlyArray<{ readonly pid: number }>) => some.map(({ pid }) => pid)

  it("is of the file of a process that has the file open and holds such a lock", () => {
    const settled = settle(lines, (pid) => (pid === 200 ? Option.some(true) : Option.none()))
    expect([pids(settled.certain), pids(settled.unknown)]).toEqual([[200, 300], []])
  })

  it("is of another file where the descriptors of its holders are seen, and unknown where not", () => {
    const settled = settle(lines, (pid) => (pid === 300 ? Option.none() : Option.some(false)))
    expect([pids(settled.certain), pids(settled.unknown)]).toEqual([[], [300]])
  })

  it("tells nothing when its holder has two such files", () => {
    const two = linesOf(`${table}4: POSIX  ADVISORY  READ 200 00:35:77 128 128\n`, "41:77", 999)
    const settled = settle(two, (pid) => (pid === 200 ? Option.some(true) : Option.none()))
    expect([pids(settled.certain), pids(settled.unknown)]).toEqual([[], [300, 400]])
  })
})
