import { describe, expect, it } from "@effect/vitest"
import { Option } from "effect"
import * as fs from "node:fs"
import { howToGet, riskOf, safeVersions, verdict, walResetBug } from "../../src/sqlite/SqliteVersion.ts"
import { UnsafeSqliteError } from "../../src/sqlite/UnsafeSqliteError.ts"

describe("the WAL-reset table", () => {
  it.each([
    ["3.6.23", "Unsafe"],
    ["3.7.0", "Unsafe"],
    ["3.43.2", "Unsafe"],
    ["3.44.5", "Unsafe"],
    ["3.44.6", "Safe"],
    ["3.44.7", "Safe"],
    ["3.45.0", "Unsafe"],
    ["3.49.9", "Unsafe"],
    ["3.50.6", "Unsafe"],
    ["3.50.7", "Safe"],
    ["3.51.0", "Unsafe"],
    ["3.51.2", "Unsafe"],
    ["3.51.3", "Safe"],
    ["3.51.10", "Safe"],
    ["3.52.0", "Withdrawn"],
    ["3.52.1", "Safe"],
    ["3.53.0", "Safe"],
    ["4.0.0", "Safe"],
    ["nonsense", "Unsafe"],
  ])("%s is %s", (version, expected) => {
    expect(verdict(version)).toBe(expected)
  })

  it.each([
    ["3.51.2", 2, "warning"],
    ["3.40.1", 3, "warning"],
    ["3.51.2", 1, "notice"],
    ["3.40.1", 0, "notice"],
    ["3.52.0", 2, "notice"],
    ["3.51.3", 2, undefined],
  ])("of %s with %i processes that may write is a %s", (version, writers, expected) => {
    expect(Option.getOrUndefined(riskOf(version, writers))?.severity).toBe(expected)
  })

  it("says what happens, how likely it is and what to do, with the same words everywhere", () => {
    const { message, remedy } = Option.getOrThrow(riskOf("3.40.1", 2))
    const words = "two connections that write and checkpoint in the same instant can, rarely, corrupt the database"
    const { message: refused } = new UnsafeSqliteError({ version: "3.40.1" })
    const document = fs.readFileSync(new URL("../../docs/guarantees.md", import.meta.url), "utf8")
    for (const text of [message, refused, document.replaceAll(/\s+/g, " ")]) expect(text).toContain(words)
    for (const part of [safeVersions, walResetBug, ...Object.values(howToGet)]) {
      for (const text of [remedy, refused, document]) expect(text).toContain(part)
    }
  })

  it("says which versions are safe", () => {
    const { message } = new UnsafeSqliteError({ version: "3.51.2" })
    for (const safe of ["3.51.3", "3.50.7", "3.44.6"]) expect(message).toContain(safe)
  })
})
