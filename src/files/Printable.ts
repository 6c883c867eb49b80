/**
 * Text that comes from outside, such as the name of a file or a process, as a terminal and a log may show it: a terminal obeys control
 * characters, a line break forges a line, and what turns the direction of text makes it read as another.
 */

/** Those of C0 and C1, separators of lines, and what sets the direction of text. https://www.unicode.org/reports/tr9/ */
const control = /[\p{Cc}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

export const isPrintable = (text: string): boolean => text.search(control) === -1

/** A blank in place of each. */
export const printable = (text: string): string => text.replace(control, " ")

/** As JSON writes it, also those that JSON leaves as they are. */
export const escaped = (text: string): string => text.replace(control, numbered)

const numbered = (it: string) => `\\u${it.charCodeAt(0).toString(16).padStart(4, "0")}`

/** In one line, for a command line or a message: blanks, too, are one. */
export const clean = (text: string): string => printable(text).replaceAll(/\s+/g, " ").trim()
