/**
 * SQLite's result codes, decoded once.
 *
 * The driver knows only some of them (disk full, I/O, corrupt and read-only all arrive as its `UnknownError`), so this
 * reads the native code from wherever in the chain of causes it hides.
 * Codes: https://www.sqlite.org/rescode.html
 */
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

/** The primary result codes that a caller can act on; everything else is `Unknown`. */
export const NativeReason = Schema.Literals([
  "Busy",
  "Locked",
  "ReadOnly",
  "Io",
  "Corrupt",
  "Full",
  "CannotOpen",
  "NotADatabase",
  "NoPermission",
  "NoMemory",
  "Constraint",
  "Unknown",
])
export type NativeReason = typeof NativeReason.Type

const byPrimaryCode: Readonly<Record<number, NativeReason>> = {
  3: "NoPermission",
  5: "Busy",
  6: "Locked",
  7: "NoMemory",
  8: "ReadOnly",
  10: "Io",
  11: "Corrupt",
  13: "Full",
  14: "CannotOpen",
  19: "Constraint",
  23: "NoPermission",
  26: "NotADatabase",
}

interface Native {
  readonly code: number
  readonly text: string
}

const property = (value: unknown, key: string): unknown => (Predicate.hasProperty(value, key) ? value[key] : undefined)

const find = (error: unknown, depth: number): Option.Option<Native> => {
  if (error === undefined || depth === 0) return Option.none()
  const code = property(error, "errcode")
  return Predicate.isNumber(code)
    ? Option.some({ code, text: error instanceof Error ? error.message : "" })
    : Option.orElse(find(property(error, "reason"), depth - 1), () => find(property(error, "cause"), depth - 1))
}

/** The native code in an error or in the errors it wraps: error -> SqlError -> its reason -> the error of node:sqlite. */
const native = (error: unknown) => find(error, 6)

/** The extended result code (https://www.sqlite.org/rescode.html#extrc), if SQLite was the origin. */
export const codeOf = (error: unknown): Option.Option<number> => Option.map(native(error), ({ code }) => code)

/** SQLite's own words, or those of the error itself. */
export const messageOf = (error: unknown): string =>
  Option.match(native(error), {
    onNone: () => (error instanceof Error ? error.message : String(error)),
    onSome: ({ text }) => text,
  })

/** Why SQLite failed, read from an error or from what it wraps; `Unknown` when it was not SQLite that failed. */
export const reasonOf = (error: unknown): NativeReason =>
  Option.match(codeOf(error), {
    onNone: () => "Unknown",
    onSome: (code) => byPrimaryCode[code & 0xff] ?? "Unknown",
  })
