/** One word for one thing: what `src`, the names of tests and the documents do not say. */
import { describe, expect, it } from "vitest"
import * as fs from "node:fs"
import * as path from "node:path"

const root = path.join(import.meta.dirname, "../..")

const filesIn = (folder: string, pattern: RegExp): ReadonlyArray<string> =>
  fs
    .readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => pattern.test(name) && !name.includes("node_modules"))
    .map((name) => path.join(folder, name))

/** What is not said, and what is said instead. */
const everywhere: ReadonlyArray<readonly [RegExp, string]> = [
  [/\b(?:no|some|any|every)body\b/i, "the actor: the caller, the connection, the process, the guard"],
  [/\bwhoever\b/i, "the actor, or `a caller that`"],
  [/\bwhomever\b/i, "the actor"],
  [/\banew\b/i, "again, restarted, rebuilt"],
  [/\bmend(?:s|ed|ing)?\b/i, "fix"],
  [/\bin reach\b/i, "in the context, available"],
  [/\blets? go\b/i, "closes, releases"],
  [/\bfor ever\b/i, "forever"],
  [/\bso (?:many|much|long|often) (?:\w+ ){0,3}at most\b/i, "at most N, maximum"],
  [/\bthe how-manieth\b/i, "the number"],
]

/** The log is log lines; the write-ahead log is the WAL. */
const aboutFiles: ReadonlyArray<readonly [RegExp, string]> = [
  [/\b(?:the|a|its|each|no|another) log\b(?! lines?\b)/i, "the WAL, or log lines"],
]

/** No comment begins with its object. */
const inComments: ReadonlyArray<readonly [RegExp, string]> = [
  [/^\s*(?:\/\*\*|\/\/|\*) (?:Of|So many|Who|Whom|What is|What was|What are) (?!`)/, "the subject first"],
]

type Words = ReadonlyArray<readonly [RegExp, string]>

const found = (name: string, lines: ReadonlyArray<string>, words: Words) =>
  lines.flatMap((line, n) =>
    words.filter(([word]) => word.test(line)).map(([, instead]) => `${name}:${n + 1} ${line.trim()} -> ${instead}`),
  )

const linesOf = (name: string) => fs.readFileSync(path.join(root, name), "utf8").split("\n")

describe("the language", () => {
  it("of src is plain English", () => {
    const files = filesIn("src", /\.(?:ts|js|html|css)$/)
    expect(files.length).toBeGreaterThan(200)
    expect(files.flatMap((name) => found(name, linesOf(name), [...everywhere, ...inComments]))).toEqual([])
  })

  it("of the floors of files calls the WAL the WAL", () => {
    const files = ["files", "sql", "sqlite", "wal", "facts", "doctor", "status"].flatMap((floor) =>
      filesIn(`src/${floor}`, /\.ts$/),
    )
    const lines = files.flatMap((name) => found(name, linesOf(name), aboutFiles))
    expect(lines.filter((line) => !/line|log of the system|only the log can tell|in the log/.test(line))).toEqual([])
  })

  it("of the names of tests is the same", () => {
    const titles = filesIn("test", /\.ts$/).flatMap((name) => {
      if (name.endsWith("language.test.ts")) return []
      const named = linesOf(name).map((line) => (/\b(?:it|describe)\b.*["`]/.test(line) ? line : ""))
      return found(name, named, everywhere)
    })
    expect(titles).toEqual([])
  })

  it("of the documents is the same", () => {
    const documents = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", ...filesIn("docs", /\.md$/)]
    expect(documents.flatMap((name) => found(name, linesOf(name), everywhere))).toEqual([])
  })

  it("of the examples is the same", () => {
    expect(filesIn("examples", /\.ts$/).flatMap((name) => found(name, linesOf(name), everywhere))).toEqual([])
  })

  it.each([
    ["nobody", "// nobody has it"],
    ["a comment that begins with its object", "/** Of the file. */"],
  ])("is looked at: %s is found", (_, line) => {
    expect(found("x", [line], [...everywhere, ...inComments])).toHaveLength(1)
  })
})
