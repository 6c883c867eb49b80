import { describe, expect, it } from "vitest"
import { DatabaseSync } from "node:sqlite"
import { slice } from "../support/slice.ts"
import { kindOf, mayCommit, type StatementKind } from "../../src/sqlite/StatementKind.ts"
import { randomOf } from "../support/random.ts"

const opens: StatementKind = { _tag: "Opens", verb: "BEGIN" }
const pragma = (name: string, value?: string, schema = ""): StatementKind => ({ _tag: "Pragma", schema, name, value })

describe("a statement", () => {
  const known: ReadonlyArray<readonly [string, StatementKind]> = [
    ["", { _tag: "Empty" }],
    [" ;\n;\t", { _tag: "Empty" }],
    ["-- all of it", { _tag: "Empty" }],
    ["/* never closed BEGIN", { _tag: "Empty" }],
    ["\0BEGIN", { _tag: "Empty" }],
    ["select 1", { _tag: "Reads" }],
    ["VALUES (1)", { _tag: "Reads" }],
    ["EXPLAIN BEGIN", { _tag: "Reads" }],
    ["EXPLAIN QUERY PLAN SELECT 1", { _tag: "Reads" }],
    ["INSERT INTO t VALUES (1)", { _tag: "Writes" }],
    ["WITH a AS (SELECT 1) DELETE FROM t", { _tag: "Writes" }],
    ["CREATE TABLE t (a)", { _tag: "Writes" }],
    ["frobnicate", { _tag: "Writes" }],
    ["/* this is a slash and a star at the end: */ /*", { _tag: "Writes" }],
    ["beginning", { _tag: "Writes" }],
    ['"BEGIN"', { _tag: "Writes" }],
    ["BEGIN", opens],
    [";BEGIN", opens],
    ["\uFEFF;;/* ; */ -- ;\n;begin immediate", opens],
    ["/*/ not closed by its own slash */BEGIN", opens],
    ["/* /* not nested */BEGIN", opens],
    ["\fbegin\u00a0", { _tag: "Writes" }], // beyond ASCII everything belongs to a name
    ["COMMIT", { _tag: "Ends", verb: "COMMIT" }],
    ["end transaction", { _tag: "Ends", verb: "END" }],
    ["ROLLBACK", { _tag: "Ends", verb: "ROLLBACK" }],
    ["ROLLBACK TRANSACTION", { _tag: "Ends", verb: "ROLLBACK" }],
    ["ROLLBACK TO a", { _tag: "Nests", verb: "ROLLBACK TO" }],
    ["ROLLBACK/**/TRANSACTION 'x' TO SAVEPOINT a", { _tag: "Nests", verb: "ROLLBACK TO" }],
    ["SAVEPOINT a", { _tag: "Nests", verb: "SAVEPOINT" }],
    ["release a", { _tag: "Nests", verb: "RELEASE" }],
    ["ATTACH 'a.db' AS a", { _tag: "Attach" }],
    ["DETACH a", { _tag: "Attach" }],
    ["VACUUM INTO 'a.db'", { _tag: "Vacuum" }],
    ["PRAGMA synchronous", pragma("synchronous")],
    ["PRAGMA main.Synchronous = OFF", pragma("synchronous", "off", "main")],
    ["PRAGMA/**/\"main\" . [journal_mode]('WAL')", pragma("journal_mode", "wal", "main")],
    ["PRAGMA `a``b` = -1", pragma("a`b", "-1")],
    ["PRAGMA x = + 2", pragma("x", "2")],
    ["EXPLAIN PRAGMA synchronous = 0", pragma("synchronous", "0")],
    ["EXPLAIN QUERY/**/PLAN PRAGMA synchronous = 0", pragma("synchronous", "0")],
    ["PRAGMA", pragma("")],
    ["PRAGMA 'never closed", pragma("never closed")],
  ]
  it.each(known)("%j is known", (text, kind) => {
    expect(kindOf(text)).toEqual(kind)
  })

  it("is read in one pass, however many comments it begins with", () => {
    // A pattern that goes back takes minutes for thirty of them: the test's own timeout would end it.
    for (const comment of ["/*a*/", "/**/", "--\n", "/*", "/", "*/", ";", "\uFEFF"])
      kindOf(comment.repeat(200_000) + "BEGIN")
    expect(kindOf("/*a*/".repeat(200_000) + "BEGIN")).toEqual(opens)
  })

  it("may commit unless it is known not to", () => {
    const commits = (text: string) => mayCommit(kindOf(text))
    for (const text of ["INSERT", "x", "COMMIT", "END", "RELEASE a", "VACUUM", "ATTACH 'a' AS a", "PRAGMA optimize"]) {
      expect(commits(text), `${text}`).toBe(true)
    }
    expect(["PRAGMA user_version = 1", "PRAGMA incremental_vacuum", "PRAGMA x = 1"].map(commits)).toEqual([
      true,
      true,
      true,
    ])
    for (const text of ["SELECT 1", "BEGIN", "ROLLBACK", "SAVEPOINT a", "ROLLBACK TO a", "", "PRAGMA user_version"]) {
      expect(commits(text), `${text}`).toBe(false)
    }
    expect(["PRAGMA synchronous = 1", "PRAGMA wal_checkpoint(NOOP)", "PRAGMA table_info(t)"].map(commits)).toEqual([
      false,
      false,
      false,
    ])
  })
})

/** What SQLite shows of a connection that a statement may change. */
const settings = [
  "synchronous",
  "journal_mode",
  "locking_mode",
  "journal_size_limit",
  "wal_autocheckpoint",
  "foreign_keys",
]
const seen = (database: DatabaseSync) => {
  const ask = (text: string) => Object.values(database.prepare(text).get() ?? {})[0]
  return {
    isOpen: database.isTransaction,
    changes: ask("SELECT total_changes()"),
    stored: ["schema_version", "user_version", "application_id"].map((name) => ask(`PRAGMA ${name}`)),
    settings: settings.map((name) => ask(`PRAGMA ${name}`)),
    attached: database.prepare("PRAGMA database_list").all().length,
  }
}

const before = [
  "",
  " ",
  "\n",
  "\t",
  "\f",
  "\r",
  "\v",
  ";",
  "\uFEFF",
  "--",
  "-- a\n",
  "/* */",
  "/**/",
  "/*/",
  "/*",
  "*/",
  "/",
  "\0",
  "EXPLAIN ",
  "EXPLAIN QUERY PLAN ",
  "explain\n",
]
const verbs = [
  "BEGIN",
  "begin IMMEDIATE",
  "COMMIT",
  "END",
  "ROLLBACK",
  "ROLLBACK TO a",
  "ROLLBACK TRANSACTION TO a",
  "SAVEPOINT a",
  "RELEASE a",
  "Release savepoint a",
  "SELECT 1",
  "VALUES (1)",
  "INSERT INTO t VALUES (1)",
  "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
  "REPLACE INTO t VALUES (2)",
  "UPDATE t SET a = 3",
  "DELETE FROM t",
  "CREATE TABLE IF NOT EXISTS u (a)",
  "DROP TABLE IF EXISTS u",
  "ANALYZE",
  "REINDEX",
  "VACUUM",
  "ATTACH ':memory:' AS m",
  "DETACH m",
  "SELECT",
  "BEGI",
  "BEGINS",
  '"BEGIN"',
  "'COMMIT'",
  "[END]",
  "PRAGMA user_version = 7",
  "PRAGMA synchronous",
  "PRAGMA synchronous = OFF",
  "PRAGMA main.synchronous(1)",
  "PRAGMA \"synchronous\" = 'EXTRA'",
  "PRAGMA/**/[wal_autocheckpoint]/**/=/**/7",
  "pragma locking_mode=exclusive",
  "PRAGMA journal_size_limit = -1",
  "PRAGMA foreign_keys = 0",
  "PRAGMA `application_id` (9)",
  "PRAGMA optimize",
]
const between = ["", " ", "\t", "/**/", "\uFEFF", "-", "_", "\0", ";", "\u00a0"]
const after = ["", ";", " ; BEGIN", "-- x", "/*", "\0x", "TRANSACTION", " TRANSACTION"]

const pick = <A>(random: (below: number) => number, all: ReadonlyArray<A>) => all[random(all.length)]!

const textOf = (random: (below: number) => number) => {
  const start = Array.from({ length: random(5) }, () => pick(random, before)).join("")
  const verb = pick(random, verbs)
  const isName = verb.startsWith("ATTACH") // another one would make a file
  const cut = random(8) === 0 && !isName ? random(verb.length) : verb.length
  return start + verb.slice(0, cut) + pick(random, between) + verb.slice(cut) + pick(random, after)
}

describe("SQLite itself", () => {
  const seeds = process.env["STATEMENTS"] === undefined ? slice(4000) : Number(process.env["STATEMENTS"])

  it("agrees about what a text does, whatever stands before, in and behind its words", { timeout: 120_000 }, () => {
    const random = randomOf(Number(process.env["SEED"] ?? 20261125))
    const kinds = new Map<string, number>()
    const problems: Array<string> = []
    const open = () => {
      const fresh = new DatabaseSync(":memory:")
      fresh.exec("CREATE TABLE t (a UNIQUE)")
      return fresh
    }
    let database = open()
    for (let n = 0; n < seeds; n++) {
      const text = textOf(random)
      if (n % 50 === 0) {
        database.close()
        database = open()
      }
      if (database.isTransaction && random(4) === 0) database.exec("ROLLBACK")
      if (!database.isTransaction && random(3) === 0) database.exec("BEGIN; SAVEPOINT a")
      const was = seen(database)
      let ran = true
      try {
        const statement = database.prepare(text)
        if (statement.columns().length > 0) statement.all()
        else statement.run()
      } catch {
        ran = false // some take effect while they are compiled, or before they fail
      }
      const is = seen(database)
      const kind = kindOf(text)
      kinds.set(kind._tag, (kinds.get(kind._tag) ?? 0) + (ran ? 1 : 0))
      const isControl = ["Opens", "Ends", "Nests"].includes(kind._tag)
      const isKnownSetting = kind._tag === "Pragma" && kind.value !== undefined && settings.includes(kind.name)
      const stores = is.changes !== was.changes || JSON.stringify(is.stored) !== JSON.stringify(was.stored)
      const flips = (from: boolean) => was.isOpen === from && is.isOpen === !from
      const isRight =
        (is.isOpen === was.isOpen || isControl) &&
        (JSON.stringify(is.settings) === JSON.stringify(was.settings) || isKnownSetting) &&
        (is.attached === was.attached || kind._tag === "Attach") &&
        (!stores || isControl || mayCommit(kind)) &&
        (!ran || kind._tag !== "Opens" || flips(false)) &&
        (!ran || kind._tag !== "Ends" || flips(true)) &&
        (!ran || kind._tag !== "Empty" || JSON.stringify(is) === JSON.stringify(was))
      if (!isRight) problems.push(`${JSON.stringify(text)} is ${JSON.stringify(kind)}`)
    }
    expect(problems).toEqual([])
    database.close()
    for (const tag of ["Opens", "Ends", "Nests", "Pragma", "Reads", "Writes", "Attach", "Vacuum"]) {
      expect(kinds.get(tag) ?? 0, `${tag}`).toBeGreaterThan(0)
    }
  })
})
