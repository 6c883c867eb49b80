/**
 * What a statement does, read from its first words as SQLite reads them: the one place that knows.
 *
 * It looks at no more than the beginning, in one pass and without going back. SQLite runs the first statement of a text, and
 * skips white space, comments (one that is never closed reaches to the end), byte order marks and semicolons before it; a
 * NUL ends the text. A beginning that is not known counts as a write.
 * https://www.sqlite.org/lang.html, https://www.sqlite.org/lang_comment.html
 */

export type StatementKind =
  | { readonly _tag: "Empty" | "Reads" | "Writes" | "Attach" | "Vacuum" }
  /** Begins a transaction. */
  | { readonly _tag: "Opens"; readonly verb: "BEGIN" }
  /** Ends the transaction that is open. */
  | { readonly _tag: "Ends"; readonly verb: "COMMIT" | "END" | "ROLLBACK" }
  /** Begins or ends a part of a transaction; outside of one a SAVEPOINT begins it, and the RELEASE of that commits. */
  | { readonly _tag: "Nests"; readonly verb: "SAVEPOINT" | "RELEASE" | "ROLLBACK TO" }
  | Pragma

/** https://www.sqlite.org/pragma.html */
export interface Pragma {
  readonly _tag: "Pragma"
  /** In lower case, as `name`; empty when none is named. */
  readonly schema: string
  readonly name: string
  /** What it sets, in lower case and without quotes; none when it only asks. */
  readonly value: string | undefined
}

const empty: StatementKind = { _tag: "Empty" }
const reads: StatementKind = { _tag: "Reads" }
const writes: StatementKind = { _tag: "Writes" }
const attach: StatementKind = { _tag: "Attach" }

const byFirstWord: ReadonlyMap<string, StatementKind> = new Map<string, StatementKind>([
  ["SELECT", reads],
  ["VALUES", reads],
  ["BEGIN", { _tag: "Opens", verb: "BEGIN" }],
  ["COMMIT", { _tag: "Ends", verb: "COMMIT" }],
  ["END", { _tag: "Ends", verb: "END" }],
  ["SAVEPOINT", { _tag: "Nests", verb: "SAVEPOINT" }],
  ["RELEASE", { _tag: "Nests", verb: "RELEASE" }],
  ["ATTACH", attach],
  ["DETACH", attach],
  ["VACUUM", { _tag: "Vacuum" }],
])
const rollback: StatementKind = { _tag: "Ends", verb: "ROLLBACK" }
const rollbackTo: StatementKind = { _tag: "Nests", verb: "ROLLBACK TO" }

const isSpace = (code: number) => code === 0x20 || (code >= 0x09 && code <= 0x0d) || code === 0xfeff

/** Letters, digits, `_`, `$`, and everything beyond ASCII, as in SQLite's own tokenizer. */
const isWord = (code: number) =>
  (code >= 0x61 && code <= 0x7a) ||
  (code >= 0x41 && code <= 0x5a) ||
  (code >= 0x30 && code <= 0x39) ||
  code === 0x5f ||
  code === 0x24 ||
  code >= 0x80

const startsComment = (text: string, at: number) =>
  (text.startsWith("/*", at) && at + 2 < text.length) || text.startsWith("--", at)

/** Where the next token starts: behind white space and comments. The end of the text when there is none. */
const skip = (text: string, from: number): number => {
  let at = from
  for (;;) {
    const code = text.charCodeAt(at)
    if (isSpace(code)) at += 1
    else if (startsComment(text, at)) {
      const end = text.startsWith("--", at) ? text.indexOf("\n", at) : text.indexOf("*/", at + 2)
      if (end === -1) return text.length
      at = text.startsWith("--", at) ? end + 1 : end + 2
    } else return code === 0 ? text.length : at // NaN, too, is the end
  }
}

/** One token, and where it ends: a word, a quoted name or text without its quotes, or one other character. */
const token = (text: string, from: number) => {
  const start = skip(text, from)
  const first = text[start] ?? ""
  const closing = first === "[" ? "]" : first
  if (first !== "" && `"'\`[`.includes(first)) {
    const isDoubled = (at: number) => first !== "[" && at !== -1 && text[at + 1] === closing
    let end = text.indexOf(closing, start + 1)
    while (isDoubled(end)) end = text.indexOf(closing, end + 2)
    const stop = end === -1 ? text.length : end
    return { word: text.slice(start + 1, stop).replaceAll(closing + closing, closing), isQuoted: true, end: stop + 1 }
  }
  let end = start
  while (isWord(text.charCodeAt(end))) end += 1
  if (end === start && first !== "") end += 1
  return { word: text.slice(start, end), isQuoted: false, end }
}

const pragma = (text: string, from: number): Pragma => {
  let schema = ""
  let name = token(text, from)
  let next = token(text, name.end)
  if (next.word === "." && !next.isQuoted) {
    schema = name.word
    name = token(text, next.end)
    next = token(text, name.end)
  }
  const sets = (next.word === "=" || next.word === "(") && !next.isQuoted
  let value = sets ? token(text, next.end) : undefined
  if (value?.isQuoted === false && (value.word === "+" || value.word === "-")) {
    const number = token(text, value.end)
    value = { ...number, word: value.word === "-" ? `-${number.word}` : number.word }
  }
  return {
    _tag: "Pragma",
    schema: schema.toLowerCase(),
    name: name.word.toLowerCase(),
    value: value?.word.toLowerCase(),
  }
}

/** EXPLAIN runs nothing, but a PRAGMA that takes effect while it is compiled does so behind it, too. */
const explained = (text: string, from: number): StatementKind => {
  const first = token(text, from)
  const word = first.word.toUpperCase()
  if (word === "PRAGMA") return pragma(text, first.end)
  if (word !== "QUERY") return reads
  const behind = token(text, token(text, first.end).end)
  return behind.word.toUpperCase() === "PRAGMA" ? pragma(text, behind.end) : reads
}

/** `ROLLBACK [TRANSACTION [name]] [TO [SAVEPOINT] name]` */
const rollsBack = (text: string, from: number): StatementKind => {
  let next = token(text, from)
  for (let words = 0; words < 2 && !next.isQuoted && next.word.toUpperCase() !== "TO"; words++) {
    if (words === 0 && next.word.toUpperCase() !== "TRANSACTION") return rollback
    next = token(text, next.end)
  }
  if (next.isQuoted) next = token(text, next.end)
  return next.word.toUpperCase() === "TO" ? rollbackTo : rollback
}

/** Many callers say the same. */
let last: { readonly text: string; readonly kind: StatementKind } = { text: "", kind: empty }

/** What the first statement of a text does. */
export const kindOf = (text: string): StatementKind => {
  if (text !== last.text) last = { text, kind: read(text) }
  return last.kind
}

const read = (text: string): StatementKind => {
  let start = skip(text, 0)
  while (text.charCodeAt(start) === 0x3b) start = skip(text, start + 1)
  if (start >= text.length) return empty
  let end = start
  while (isWord(text.charCodeAt(end))) end += 1
  const word = text.slice(start, end).toUpperCase()
  const known = byFirstWord.get(word)
  if (known !== undefined) return known
  switch (word) {
    case "PRAGMA":
      return pragma(text, end)
    case "ROLLBACK":
      return rollsBack(text, end)
    case "EXPLAIN":
      return explained(text, end)
    default:
      return writes
  }
}

/** PRAGMAs that store nothing in the database even when they are given a value. */
const storesNothing =
  /^(?:wal_checkpoint|wal_autocheckpoint|journal_size_limit|busy_timeout|synchronous|cache_size|foreign_keys|integrity_check|quick_check|(?:table|index|foreign_key)_\w+)$/

/** PRAGMAs that write although they are given none. */
const storesWithoutValue = /^(?:optimize|incremental_vacuum)$/

/** Whether something may be committed when it has run. Too many is harmless, too few is not. */
export const mayCommit = (kind: StatementKind): boolean => {
  switch (kind._tag) {
    case "Empty":
    case "Reads":
    case "Opens":
      return false
    case "Writes":
    case "Attach":
    case "Vacuum":
      return true
    case "Ends":
      return kind.verb !== "ROLLBACK"
    case "Nests":
      return kind.verb === "RELEASE"
    case "Pragma":
      return kind.value === undefined ? storesWithoutValue.test(kind.name) : !storesNothing.test(kind.name)
  }
}
