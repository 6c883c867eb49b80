/** Shows a table, and with `--markdown` puts it where it stands in a document: between its own two marks, or behind everything. */
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const docs = fileURLToPath(new URL("../../docs", import.meta.url))

/** The text with the part of this name replaced, or added at its end. */
export const withPart = (text: string, name: string, part: string): string => {
  const [first, last] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`]
  const whole = `${first}\n\n${part}\n\n${last}`
  const [from, to] = [text.indexOf(first), text.indexOf(last)]
  return from === -1 || to === -1
    ? `${text.trimEnd()}\n\n${whole}\n`
    : text.slice(0, from) + whole + text.slice(to + last.length)
}

/** Writes it into `docs/<document>`. */
export const put = (document: string, name: string, part: string): void => {
  const file = path.join(docs, document)
  fs.writeFileSync(file, withPart(fs.readFileSync(file, "utf8"), name, part))
}
