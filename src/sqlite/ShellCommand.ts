/** Commands that a message tells an operator to paste, for a POSIX shell. */
import { escaped, isPrintable } from "../files/Printable.ts"

/** As it is where that is safe. What a terminal would not show is written by its number, as bash, zsh and ksh read it. */
export const quoted = (word: string) => {
  if (/^[\w./][\w./+:@%-]*$/.test(word)) return word
  return isPrintable(word) ? `'${word.replaceAll("'", `'\\''`)}'` : `$'${escaped(word.replaceAll(/[\\']/g, "\\$&"))}'`
}

export const command = (name: string, ...files: ReadonlyArray<string>) => [name, ...files.map(quoted)].join(" ")
