import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as fs from "node:fs"
import { Database } from "../../src/sqlite/Database.ts"
import * as FileSync from "../../src/sqlite/FileSync.ts"
import { detect } from "../../src/sqlite/NetworkFileSystem.ts"
import * as Sidecars from "../../src/sqlite/Sidecars.ts"
import { lockHolders } from "../../src/sqlite/LockHolders.ts"
import { connectedIn, holdersIn } from "../../src/sqlite/LockTable.ts"
import { foreignReader } from "../support/ForeignReader.ts"
import { LogCapture } from "../../src/testing/LogCapture.ts"
import { temporaryFile } from "../../src/testing/TemporaryDatabase.ts"

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
`

describe("the table of locks", () => {
  it("names who holds which lock, with neighbouring locks as one line", () => {
    expect(holdersIn(table, "77", 100)).toEqual([
      { pid: 200, lock: "read1" },
      { pid: 200, lock: "read2" },
      { pid: 200, lock: "read3" },
      { pid: 300, lock: "write" },
      { pid: 300, lock: "read0" },
    ])
  })

  it("names who is connected, also those whose descriptors cannot be seen", () => {
    expect(connectedIn(table, "77")).toEqual([100, 200, 600])
    expect(connectedIn("", "77")).toEqual([])
  })

  it("says nothing when our own line is not in it, for then nothing can be told apart", () => {
    expect(holdersIn(table, "77", 999)).toEqual([])
    expect(holdersIn("", "77", 100)).toEqual([])
  })
})

const ownLocks = Effect.sync(() => {
  const lines = fs.readFileSync("/proc/locks", "utf8").split("\n")
  const own = lines.filter((line) => line.includes(` ${process.pid} `)).map((line) => line.replace(/^\d+: /, ""))
  return [...new Set(own)].toSorted()
})

/** The table is no snapshot, so a line may be missing from one look at it; a lock that was dropped is missing from all. */
const stillThere = (locks: ReadonlyArray<string>) =>
  ownLocks.pipe(
    Effect.repeat({ until: (now) => now.join() === locks.join(), times: 20 }),
    Effect.map((now) => expect(now).toEqual(locks)),
  )

const onRealDisk = Layer.unwrap(Effect.map(temporaryFile, (file) => Database.layer({ file, durability: "normal" })))

describe.runIf(process.platform === "linux")("a foreign reader", () => {
  it.live("is named by pid, command and lock, and the look leaves our own locks as they were", () =>
    Effect.gen(function* () {
      const database = yield* Database
      const { file, sql } = database
      yield* sql`CREATE TABLE t (a)`
      const before = yield* ownLocks
      expect(before.length).toBeGreaterThan(0)
      expect(yield* lockHolders(file)).toEqual([])
      const pid = yield* foreignReader(file)
      expect(yield* lockHolders(file)).toEqual([{ pid, command: "python3", lock: "read1" }])
      yield* stillThere(before)
      // Everything else that looks at the files, or holds a descriptor, beside an open connection.
      yield* FileSync.sync(file)
      yield* FileSync.sync(file)
      yield* Sidecars.present(file)
      expect(yield* Sidecars.openedBy(file)).toEqual([{ pid, command: "python3" }])
      yield* detect(file.slice(0, file.lastIndexOf("/")))
      yield* database.lockHolders
      yield* sql`INSERT INTO t VALUES (1)`
      yield* database.durable
      yield* database.cutGently
      yield* sql`PRAGMA wal_checkpoint(NOOP)`
      yield* stillThere(before)
    }).pipe(Effect.provide([onRealDisk, NodeFileSystem.layer]), Effect.scoped, Effect.provide(LogCapture.layer)),
  )
})
