/** The one way to name a process, in logs, messages and on the page. */
import type { LockHolder } from "./LockTable.ts"
import type { Process } from "./Processes.ts"

interface Named {
  readonly pid: number
  readonly command: string
}

/** A name is for one row of a table. */
const longestName = 60

/** A command line for eyes: without the folders of its words, at most 60 characters. */
export const shortCommand = (command: string): string => {
  const line = command
    .split(" ")
    .map((word) => (word.startsWith("/") ? word.slice(word.lastIndexOf("/") + 1) : word))
    .join(" ")
    .trim()
  return line.length > longestName ? `${line.slice(0, longestName)}...` : line
}

/** What a process is called in logs, messages and on the page: `python3 writer.py (pid 123, read1)`. */
export const nameOf = ({ command, pid }: Named, ...more: ReadonlyArray<string>): string =>
  `${shortCommand(command)} (${[`pid ${pid}`, ...more].join(", ")})`

/** What a process has, where that is not simply the database. */
const has: Readonly<Record<Process["has"], ReadonlyArray<string>>> = {
  this: [],
  another: ["has another file of that name"],
  elsewhere: ["has it open by another name, with another WAL"],
  deleted: ["has a deleted file of that name"],
  unknown: ["has a lock that may be of another file"],
}

export const namesOf = (processes: ReadonlyArray<Named & { readonly has?: Process["has"] }>): string =>
  processes.map((it) => nameOf(it, ...has[it.has ?? "this"])).join(", ")

/** With the lock that each of them holds. */
export const holderNames = (holders: ReadonlyArray<LockHolder>): string =>
  holders.map((it) => nameOf(it, it.lock)).join(", ")
