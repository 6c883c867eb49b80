import { describe, expect, it } from "@effect/vitest"
import { UnsafeSqliteError, verdict } from "../../src/sqlite/SqliteVersion.ts"

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

  it("says which versions are safe", () => {
    const { message } = new UnsafeSqliteError({ version: "3.51.2" })
    for (const safe of ["3.51.3", "3.50.7", "3.44.6"]) expect(message).toContain(safe)
  })
})
