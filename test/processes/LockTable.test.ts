/** Texts of `/proc/locks`: which locks are those of one file, and who holds them. */
import { describe, expect, it } from "@effect/vitest"
import { Option } from "effect"
import { connected, holdersIn, linesOf, locksOf } from "../../src/processes/LockTable.ts"

const table = `1: POSIX  ADVISORY  READ 100 fe:00:77 128 128
2: POSIX  ADVISORY  READ 200 fe:00:77 124 126
3: POSIX  ADVISORY  READ 200 fe:00:77 128 128
4: POSIX  ADVISORY  WRITE 300 fe:00:77 120 120
5: POSIX  ADVISORY  READ 300 fe:00:77 123 123
6: POSIX  ADVISORY  READ 400 fd:01:77 124 124
7: POSIX  ADVISORY  READ 500 fe:00:78 124 124
8: POSIX  ADVISORY  READ 600 fe:00:77 128 128
9: FLOCK  ADVISORY  WRITE 700 fe:00:77 0 EOF
10: POSIX  ADVISORY  READ 100 fe:00:77 125 125
10: POSIX  ADVISORY  READ 300 fe:00:77 123 123
11: -> POSIX  ADVISORY  WRITE 800 fe:00:77 124 124
12: POSIX  ADVISORY  WRITE 900 fe:00:77 0 EOF
13: POSIX  ADVISORY  READ 950 fe:00:177 128 128
`

/** `dev:ino` as `stat` tells it, of device 254:0. */
const file = `${254 * 256}:77`
/** On a file system whose device in `stat` is not the kernel's. */
const elsewhere = "41:77"

describe("the table of locks", () => {
  it("names the holder of each lock, with neighbouring locks as one line", () => {
    const holders = [
      { pid: 200, lock: "read1" },
      { pid: 200, lock: "read2" },
      { pid: 200, lock: "read3" },
      { pid: 300, lock: "write" },
      { pid: 300, lock: "read0" },
    ]
    for (const identity of [file, elsewhere]) expect(holdersIn(table, identity, 100)).toEqual(Option.some(holders))
    expect(locksOf(linesOf(table, file, 0).certain, 200)).toEqual(["read1", "read2", "read3"])
  })

  it("names the connected processes, also those whose descriptors cannot be seen", () => {
    expect(connected(linesOf(table, file, 0).certain)).toEqual([100, 200, 600])
    expect(connected(linesOf("", file, 0).certain)).toEqual([])
  })

  it("does not mix two files that have the same number on two devices", () => {
    const other = `${253 * 256 + 1}:77`
    expect(linesOf(table, other, 100).certain.map(({ pid }) => pid)).toEqual([400])
    expect(holdersIn(table, other, 100)).toEqual(Option.some([{ pid: 400, lock: "read1" }]))
    expect(linesOf(table, other, 100).uncertain).toEqual([])
    expect(linesOf(table, file, 400).certain.map(({ pid }) => pid)).not.toContain(400)
  })

  it("knows devices of more than eight bits", () => {
    const major = 259n
    const minor = 0x12345n
    const dev = ((major & 0xfffn) << 8n) | (minor & 0xffn) | ((minor & ~0xffn) << 12n)
    expect(linesOf("1: POSIX  ADVISORY  READ 7 103:12345:9 128 128", `${dev}:9`, 0).certain).toHaveLength(1)
  })

  it("tells no holder where neither the device nor a line of our own tells the file", () => {
    for (const [text, identity, self] of [
      [table, elsewhere, 999],
      [table, elsewhere, 200_000],
      ["", file, 100],
    ] as const) {
      expect(holdersIn(text, identity, self)).toEqual(Option.none())
    }
    expect(new Set(linesOf(table, elsewhere, 999).uncertain.map(({ file: name }) => name))).toEqual(
      new Set(["fe:00:77", "fd:01:77"]),
    )
    const twice = `${table}14: POSIX  ADVISORY  READ 100 fd:01:77 128 128\n`
    expect(holdersIn(twice, elsewhere, 100)).toEqual(Option.none()) // two files of that number are open here
  })
})
