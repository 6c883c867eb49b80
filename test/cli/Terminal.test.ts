/** Text in a small window. */
import { describe, expect, it } from "vitest"
import { cut, cutText, rowsOf } from "../../src/cli/Terminal.ts"

describe("a line", () => {
  it("that fits stays, and one that does not has a mark", () => {
    expect(cut("123456789", { columns: 10 })).toBe("123456789")
    expect(cut("1234567890", { columns: 10 })).toBe("12345678…")
    expect(cut("x".repeat(100), {})).toHaveLength(79)
  })

  it("takes more rows when the window became narrower", () => {
    expect(rowsOf("x".repeat(71), { columns: 72 })).toBe(1)
    expect(rowsOf("x".repeat(71), { columns: 40 })).toBe(2)
    expect(rowsOf("", { columns: 40 })).toBe(1)
  })
})

describe("a text", () => {
  it("is never higher than the window, and says how many lines are missing", () => {
    const text = Array.from({ length: 12 }, (_, n) => `line ${n}`).join("\n")
    expect(cutText(text, { rows: 20, columns: 40 })).toBe(text)
    expect(cutText(text, { rows: 5, columns: 40 }).split("\n")).toEqual([
      "line 0",
      "line 1",
      "line 2",
      "… 9 more lines",
    ])
    expect(cutText(text, { rows: 2, columns: 40 })).toBe("… 12 more lines")
  })

  it("is cut at the right edge, too", () => {
    expect(cutText("123456\nab", { rows: 5, columns: 5 })).toBe("123…\nab")
  })
})
