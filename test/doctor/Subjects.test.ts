/** The one list of subjects: what the README, the help and the report make of it. */
import { describe, expect, it } from "vitest"
import * as fs from "node:fs"
import { Subject } from "../../src/doctor/Finding.ts"
import { sentence, subjects } from "../../src/doctor/Subjects.ts"

const files = fs.readdirSync(new URL("../../src/doctor/subjects/", import.meta.url))

describe("the subjects of the doctor", () => {
  it("have a file each, a name of their own and a description of one line without a full stop", () => {
    expect(subjects).toHaveLength(files.length)
    expect(new Set(subjects.map(({ subject }) => subject)).size).toBe(subjects.length)
    for (const { description, subject } of subjects) {
      expect(description, `${subject}`).toMatch(/^[^.;\n|]+$/)
    }
  })

  it("are the literals of their type, in their order", () => {
    expect(Subject.literals).toEqual(subjects.map(({ subject }) => subject))
  })

  it("stand in docs/command.md as they are, all of them and no other, in their order", () => {
    const document = fs.readFileSync(new URL("../../docs/command.md", import.meta.url), "utf8")
    const [, table = ""] = /\| subject +\| what is examined +\|\n\|[-| ]+\|\n((?:\|.*\n)+)/.exec(document) ?? []
    const rows = table
      .trimEnd()
      .split("\n")
      .map((row) => row.split("|").map((cell) => cell.trim()))
      .map(([, subject, description]) => [subject, description])
    expect(rows).toEqual(subjects.map(({ description, subject }) => [`\`${subject}\``, description]))
  })

  it("are one sentence of the help", () => {
    expect(sentence).toBe(`Examined: ${subjects.map(({ description }) => description).join("; ")}.`)
  })

  it("are read with SQLite last, because closing a file that was read as bytes drops the locks of a connection", () => {
    const opening = subjects.flatMap(({ opens, subject }) => (opens === true ? [subject] : []))
    expect(opening).toEqual(["integrity", "open-session", "backup"])
    const reading = files.filter((name) => {
      const text = fs.readFileSync(new URL(`../../src/doctor/subjects/${name}`, import.meta.url), "utf8")
      return /copies\/Integrity\.ts|outside\/ReadOnly\.ts/.test(text)
    })
    expect(reading).toEqual(["Backup.ts", "Integrity.ts", "OpenSession.ts"])
  })
})
