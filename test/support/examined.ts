/** What the tests of the doctor share: databases, and what it says about them. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { expect } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as path from "node:path"
import * as Doctor from "../../src/doctor/Doctor.ts"
import type { Report, Subject } from "../../src/doctor/Finding.ts"
import * as Readable from "../../src/doctor/ReadableCopy.ts"
import * as Facts from "../../src/facts/Facts.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"

export const examine = Doctor.examine

/** The facts as the doctor has them; no backups. */
export const gather = Effect.fnUntraced(function* (file: string) {
  const facts = yield* Facts.gather(file, { wal: "always" })
  return { ...facts, backups: [], readable: Readable.make(facts) }
}, Effect.provide(NodeServices.layer))

/** A database at rest in WAL mode, with an empty table `t` beside what the statements make. */
export const database = Effect.fnUntraced(function* (statements = "", journalMode = "WAL") {
  const file = yield* TemporaryDatabase.file
  const db = new DatabaseSync(file)
  db.exec(`PRAGMA journal_mode = ${journalMode}; CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB); ${statements}`)
  db.close()
  return file
})

/** Severity and subject of all findings but those every database in these tests has. */
export const found = ({ findings }: Report, ...expected: ReadonlyArray<Subject>) =>
  findings
    .filter(
      ({ severity, subject }) => severity !== "notice" || !["backup", "open-elsewhere", ...expected].includes(subject),
    )
    .map(({ severity, subject }) => `${severity} ${subject}`)

export const about = ({ findings }: Report, subject: Subject) => {
  const [finding, ...others] = findings.filter((one) => one.subject === subject)
  expect(others).toEqual([])
  return finding
}

/** What was seen of a subject that could be examined. */
export const seen = ({ examined }: Report, subject: Subject) => examined.find((one) => one.subject === subject)?.seen

export const bytesOf = (file: string) => {
  const folder = path.dirname(file)
  return Object.fromEntries(
    fs.readdirSync(folder).map((name) => [name, fs.readFileSync(path.join(folder, name), "latin1")]),
  )
}

/** Examines, and expects the folder to be the same afterwards, byte for byte. */
export const examineUntouched = Effect.fnUntraced(function* (file: string) {
  const before = bytesOf(file)
  const report = yield* examine(file)
  expect(bytesOf(file)).toEqual(before)
  return report
})

/** Flips a bit of a file in its place. */
export const flip = (file: string, at: number) => {
  const descriptor = fs.openSync(file, "r+")
  const byte = new Uint8Array(1)
  fs.readSync(descriptor, byte, 0, 1, at)
  fs.writeSync(descriptor, Uint8Array.of(byte[0]! ^ 1), 0, 1, at)
  fs.closeSync(descriptor)
}
