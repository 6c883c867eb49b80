/** Commands that somebody is told to paste, for a POSIX shell. */

/** As it is where that is safe. */
export const quoted = (word: string) =>
  /^[\w./][\w./+:@%-]*$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`

export const command = (name: string, ...files: ReadonlyArray<string>) => [name, ...files.map(quoted)].join(" ")
