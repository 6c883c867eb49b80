/** The lease in a file beside the database. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Option } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Lease from "../../src/lease/Lease.ts"
import * as Shutdown from "../../src/shutdown/Shutdown.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { errorOf, leaseContract } from "./leaseContract.ts"

leaseContract(
  "in a file",
  Effect.map(TemporaryDatabase.file, (file) => () => Lease.layerFile({ file })),
)

const isRoot = process.getuid?.() === 0

const taking = <A, E>(file: string, self: Effect.Effect<A, E, Lease.Lease>) =>
  Effect.exit(Effect.provide(self, Lease.layerFile({ file }), { local: true }))

const took = (file: string) => Effect.map(taking(file, Lease.Lease), Exit.isSuccess)

/** A connection to the file of a lease, as another process has it. */
const connection = (file: string) =>
  Effect.acquireRelease(
    Effect.sync(() => new DatabaseSync(`${file}-lease`, { timeout: 0 })),
    (db) => Effect.sync(() => db.isOpen && db.close()),
  )

const view = (pid: number, command: string, host: string) =>
  `DROP VIEW IF EXISTS lease; CREATE VIEW lease (pid, command, since, host) AS SELECT ${pid}, ${command}, 'then', '${host}';`

/** As a process leaves it that was killed: it says who had it, and has no lock. */
const crashed = (file: string, more = "") => {
  const db = new DatabaseSync(`${file}-lease`)
  db.exec(`PRAGMA application_id = 0x7365614c; ${view(7, "'node old.js'", "there")} ${more}`)
  db.close()
}

describe("the file of a lease", () => {
  it.effect("is there while an engine runs, and nothing is left of it afterwards", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      const names = () => fs.readdirSync(path.dirname(file))
      yield* taking(
        file,
        Effect.sync(() => expect(names()).toEqual(["test.db-lease"])),
      )
      expect(names()).toEqual([])
    }).pipe(Effect.scoped),
  )

  it.effect("stands beside the database itself, whatever name leads there", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      fs.mkdirSync(`${folder}/real`)
      fs.writeFileSync(`${folder}/real/test.db`, "")
      fs.symlinkSync("real/test.db", `${folder}/link.db`)
      fs.symlinkSync("real", `${folder}/other`)
      fs.symlinkSync("real/missing.db", `${folder}/dangling.db`)
      for (const [names, at] of [
        [["link.db", "other/test.db", "real/../real/test.db"], "real/test.db"],
        [["dangling.db", "other/missing.db"], "real/missing.db"],
      ] as const) {
        const exit = yield* taking(
          `${folder}/${at}`,
          Effect.gen(function* () {
            for (const name of names) {
              const file = `${folder}/${name}`
              expect(errorOf(yield* taking(file, Effect.void)), `${name}`).toMatchObject({ file, reason: "Held" })
              expect((yield* Lease.holderOf(file))._tag, `${name}`).toBe("Held")
            }
          }),
        )
        expect(Exit.isSuccess(exit)).toBe(true)
      }
      expect(fs.readdirSync(`${folder}/real`)).toEqual(["test.db"])
    }).pipe(Effect.scoped),
  )

  it.effect("does not stand in the way of another database in the same folder", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const exit = yield* taking(`${folder}/a.db`, took(`${folder}/b.db`))
      expect(exit).toEqual(Exit.succeed(true))
    }).pipe(Effect.scoped),
  )

  it.effect("that a killed process left, also in the middle of its start, is taken over", () =>
    Effect.gen(function* () {
      const leftovers: ReadonlyArray<readonly [string, (file: string) => void]> = [
        ["with who had it", (file) => crashed(file)],
        ["without", (file) => crashed(file, "DROP VIEW lease")],
        ["with something else", (file) => crashed(file, "DROP VIEW lease; CREATE VIEW lease AS SELECT 1")],
        ["empty", (file) => fs.writeFileSync(`${file}-lease`, "")],
      ]
      for (const [name, leave] of leftovers) {
        const file = yield* TemporaryDatabase.file
        leave(file)
        expect(yield* Lease.holderOf(file), `${name}`).toEqual(Lease.Occupancy.Free({ wasLeft: true }))
        const exit = yield* taking(
          file,
          Effect.gen(function* () {
            const { holder } = yield* Lease.Lease
            expect(yield* Lease.holderOf(file), `${name}`).toEqual(
              Lease.Occupancy.Held({ holder: Option.some(holder) }),
            )
          }),
        )
        expect(Exit.isSuccess(exit), `${name}`).toBe(true)
        expect(fs.readdirSync(path.dirname(file)), `${name}`).toEqual([])
      }
    }).pipe(Effect.scoped),
  )

  it.effect("that was removed under its lock says nothing: the file that has the name now does", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      crashed(file)
      const old = yield* connection(file)
      old.exec("BEGIN IMMEDIATE")
      fs.unlinkSync(`${file}-lease`)
      expect(yield* took(file)).toBe(true)
    }).pipe(Effect.scoped),
  )

  it.effect("that was removed by hand, and is another engine's by now, is left to that one", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* taking(
        file,
        Effect.sync(() => {
          fs.unlinkSync(`${file}-lease`)
          crashed(file)
        }),
      )
      expect(fs.readdirSync(path.dirname(file))).toEqual(["test.db-lease"])
    }).pipe(Effect.scoped),
  )

  it.effect("has the mode of the database, and its owner", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      fs.writeFileSync(file, "")
      fs.chmodSync(file, 0o660)
      if (isRoot) fs.chownSync(file, 1234, 1235)
      const like = ({ gid, mode, uid }: fs.Stats) => ({ gid, mode, uid })
      const exit = yield* taking(
        file,
        Effect.sync(() => like(fs.statSync(`${file}-lease`))),
      )
      expect(exit).toEqual(Exit.succeed(like(fs.statSync(file))))
    }).pipe(Effect.scoped),
  )

  it.effect("is kept until the process ends when something of the engine goes on", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      yield* taking(
        file,
        Effect.flatMap(Shutdown.Shutdown, ({ leaveBehind }) => leaveBehind("checkpoint thread")),
      )
      expect((yield* Lease.holderOf(file))._tag).toBe("Held")
      expect(yield* took(file)).toBe(false)
    }).pipe(Effect.scoped, Effect.provide([Shutdown.layer(), LogCapture.layer])),
  )
})

describe("a lease that another process has", () => {
  it.effect("is named with its host, where that is another one, and without control characters", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      crashed(file, view(7, "'node' || char(27, 10) || 'x'", "there"))
      const other = yield* connection(file)
      other.exec("BEGIN IMMEDIATE")
      expect(String(errorOf(yield* taking(file, Effect.void)))).toBe(
        `LeaseError: ${file} belongs to an engine that runs: pid 7 (node x) on there, since then; end that one first`,
      )
      other.exec(`${view(7, "'node x'", os.hostname())} COMMIT; BEGIN IMMEDIATE`)
      expect(String(errorOf(yield* taking(file, Effect.void)))).toContain("pid 7 (node x), since then;")
    }).pipe(Effect.scoped),
  )

  it.live("is refused without a name while the other start has not written it", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      fs.writeFileSync(`${file}-lease`, "")
      const other = yield* connection(file)
      other.exec("BEGIN IMMEDIATE")
      const error = errorOf(yield* taking(file, Effect.void))
      expect(error).toMatchObject({ reason: "Held" })
      expect(error).not.toHaveProperty("holder")
      expect(String(error)).toBe(`LeaseError: ${file} belongs to an engine that starts; end that one first`)
      expect(yield* Lease.holderOf(file)).toEqual(Lease.Occupancy.Held({ holder: Option.none() }))
    }).pipe(Effect.scoped),
  )

  it.live("is named as soon as the other start has written it", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      fs.writeFileSync(`${file}-lease`, "")
      const other = yield* connection(file)
      other.exec(`BEGIN IMMEDIATE; ${view(8, "'node'", "there")}`)
      yield* Effect.forkScoped(
        Effect.delay(
          Effect.sync(() => other.exec("COMMIT; BEGIN IMMEDIATE")),
          "60 millis",
        ),
      )
      expect(yield* Lease.holderOf(file)).toMatchObject({ _tag: "Held", holder: { value: { pid: 8 } } })
    }).pipe(Effect.scoped),
  )
})

describe("a lease that cannot be had", () => {
  /** Nothing that was there is changed, and nothing is added. */
  const expectUnavailable = Effect.fnUntraced(function* (file: string, text: string, folder = path.dirname(file)) {
    const before = fs.readdirSync(folder)
    const error = errorOf(yield* taking(file, Effect.void))
    expect(error).toBeInstanceOf(Lease.LeaseError)
    expect(error, `${text}`).toMatchObject({ file, reason: "Unavailable" })
    expect(String(error)).toContain(text)
    expect(fs.readdirSync(folder)).toEqual(before)
  })

  it.effect("because another file has its name, which is left as it is", () =>
    Effect.gen(function* () {
      const others: ReadonlyArray<readonly [string, (lease: string) => void, text: string]> = [
        ["a folder", (lease) => fs.mkdirSync(lease), "not a regular file"],
        ["a link", (lease) => fs.symlinkSync(lease.replace("-lease", ""), lease), "not a regular file"],
        ["a text", (lease) => fs.writeFileSync(lease, "no database".repeat(100)), "not a lease"],
        ["a database", (lease) => new DatabaseSync(lease).exec("CREATE TABLE t (a)"), "a database of another program"],
      ]
      for (const [name, make, text] of others) {
        const file = yield* TemporaryDatabase.file
        fs.writeFileSync(file, "")
        make(`${file}-lease`)
        const bytes = name === "a folder" ? undefined : fs.readFileSync(`${file}-lease`)
        yield* expectUnavailable(file, `${text}; move it away`)
        const after = name === "a folder" ? undefined : fs.readFileSync(`${file}-lease`)
        expect(after, `${name}`).toEqual(bytes)
      }
    }).pipe(Effect.scoped),
  )

  it.effect("because the path is not that of a file, or too long", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      fs.writeFileSync(`${folder}/text`, "")
      yield* expectUnavailable("", "expected the path of a file", folder)
      yield* expectUnavailable(":memory:", "expected the path of a file", folder)
      yield* expectUnavailable("file:test.db", "expected the path of a file", folder)
      yield* expectUnavailable(`${folder}/text/test.db`, "the path is not a regular file", folder)
      yield* expectUnavailable(`${folder}/${"x".repeat(242)}`, "its name has 242 bytes, at most 241 are possible")
      expect(yield* took(`${folder}/${"x".repeat(241)}`)).toBe(true)
    }).pipe(Effect.scoped),
  )

  it.effect("is unknown from outside, with why", () =>
    Effect.gen(function* () {
      const file = yield* TemporaryDatabase.file
      expect(yield* Lease.holderOf(file)).toEqual(Lease.Occupancy.Free({ wasLeft: false }))
      expect(fs.readdirSync(path.dirname(file))).toEqual([])
      fs.mkdirSync(`${file}-lease`)
      expect(yield* Lease.holderOf(file)).toMatchObject({
        _tag: "Unknown",
        why: expect.stringContaining("not a regular file"),
      })
    }).pipe(Effect.scoped),
  )
})
