/**
 * Which Node the command runs on. An older one lacks `node:sqlite`, or has a SQLite that can corrupt a database
 * (`SqliteVersion`), and would end in a stack trace at the first import. So this file imports nothing that needs either.
 */
import { command } from "../sqlite/ShellCommand.ts"

const numbers = (version: string) => version.split(".").map((part) => Number.parseInt(part, 10))

const compare = (one: string, other: string) => {
  const others = numbers(other)
  return numbers(one).reduce((found, n, at) => (found === 0 ? n - (others[at] ?? 0) : found), 0)
}

/** Whether a version is in a range such as `>=22.22.3 <23 || >=25.9.0`: the two comparisons that `engines` uses. */
export const accepts = (range: string, version: string): boolean =>
  range
    .split("||")
    .some((part) =>
      [...part.matchAll(/(>=|<)\s*([\d.]+)/g)].every(([, sign, bound = ""]) =>
        sign === "<" ? compare(version, bound) < 0 : compare(version, bound) >= 0,
      ),
    )

const inWords = (range: string) =>
  range
    .split("||")
    .map((part) =>
      part
        .trim()
        .replace(/^>=(\S+) <(\d+)$/, "$1 or later below $2")
        .replace(/^>=(\S+)$/, "$1 or later"),
    )
    .join(", ")

/** What a person on another Node is told, or nothing on one that will do. */
export const refusal = (range: string, version: string, args: ReadonlyArray<string>): string | undefined =>
  accepts(range, version)
    ? undefined
    : `seawall needs Node ${inWords(range)}; this is Node ${version}. ` +
      `This brings its own: ${command("npx -p node@24 -p seawall seawall", ...args)}`

/**
 * Node 22 warns that SQLite is experimental, which no user of the command can act upon. Other warnings stay. Node warns
 * when `node:sqlite` is loaded, and a static import is loaded before anything runs, so the command is imported after this.
 */
export const silenceSqliteWarning = (): void => {
  const emitWarning = process.emitWarning.bind(process) as (...args: ReadonlyArray<unknown>) => void
  process.emitWarning = (...args: ReadonlyArray<unknown>) => {
    if (!String(args[0]).startsWith("SQLite is an experimental feature")) emitWarning(...args)
  }
}
