/** How sizes, counts and processes are written in what an operator reads. */

import { processName } from "../sqlite/ProcessName.ts"

const units = ["bytes", "KiB", "MiB", "GiB", "TiB"]

export const size = (bytes: number): string => {
  const unit = bytes < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10))
  return unit === 0 ? `${bytes} bytes` : `${(bytes / 1024 ** unit).toFixed(1)} ${units[unit]}`
}

export const count = (n: number, one: string, more = `${one}s`) => `${n} ${n === 1 ? one : more}`

/** A command line is for one row of a table. */
const longestName = 60

interface Named {
  readonly pid: number
  readonly command: string
  readonly words: ReadonlyArray<string>
}

/** What a process is, and its pid. The kernel's own name of it is often that of a thread. */
export const ownerName = ({ command, pid, words }: Named) => {
  const line = words
    .map((word) => (word.startsWith("/") ? word.slice(word.lastIndexOf("/") + 1) : word))
    .join(" ")
    .replaceAll(/\s+/g, " ")
    .trim()
  const name = line === "" ? command : line.length > longestName ? `${line.slice(0, longestName)}...` : line
  return processName({ command: name, pid })
}
