/**
 * Which statements begin, end or nest a transaction, read from their first word as PostgreSQL reads them: behind white space,
 * semicolons and comments, of which those between slashes nest. In one pass, without going back.
 * https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-COMMENTS
 */

const control = /(?:begin|start\s+transaction|commit|end|rollback|abort|savepoint|release|prepare\s+transaction)\b/iy

const blanks = /(?:[\s;]+|--[^\r\n]*)*/y

const commentMarks = /\/\*|\*\//g

const matchAt = (pattern: RegExp, text: string, at: number) => {
  pattern.lastIndex = at
  return pattern.exec(text)
}

/** Where the comment that starts there ends; one that is never closed is refused by the server. */
const endOfComment = (text: string, start: number): number => {
  let depth = 0
  let end = start
  do {
    const found = matchAt(commentMarks, text, end)
    if (found === null) return text.length
    depth += found[0] === "/*" ? 1 : -1
    end = found.index + 2
  } while (depth > 0)
  return end
}

/** Whether the transaction that is open would be another one after it. */
export const isControl = (text: string): boolean => {
  let at = 0
  for (;;) {
    at += matchAt(blanks, text, at)?.[0].length ?? 0
    if (!text.startsWith("/*", at)) return matchAt(control, text, at) !== null
    at = endOfComment(text, at)
  }
}
