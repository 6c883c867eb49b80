/** How a process is named in logs, messages and on the page: its command and its pid, and what else is said of it there. */

interface Named {
  readonly command: string
  readonly pid: number
}

export const processName = ({ command, pid }: Named, ...more: ReadonlyArray<string>) =>
  `${command} (${[`pid ${pid}`, ...more].join(", ")})`

export const processNames = (processes: ReadonlyArray<Named>) => processes.map((it) => processName(it)).join(", ")

/** With the lock that each of them holds. */
export const holderNames = (holders: ReadonlyArray<Named & { readonly lock: string }>) =>
  holders.map((it) => processName(it, it.lock)).join(", ")
