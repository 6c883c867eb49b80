/**
 * The system calls of a process on its database and log, and the words it said, in the order in which they happened: read
 * from what `strace -f -y -xx` wrote.
 */

/** A call on one of the two files. `start` and `end` are the places of its entry and its return in the trace. */
export type Call = { readonly start: number; readonly end: number; readonly file: "db" | "wal" } & (
  | { readonly kind: "write"; readonly offset: number; readonly bytes: Buffer }
  | { readonly kind: "truncate"; readonly length: number }
  | { readonly kind: "sync" }
)

/** A write that was acknowledged, at that place of the trace. */
export interface Ack {
  readonly at: number
  readonly n: number
}

export interface Trace {
  readonly calls: ReadonlyArray<Call>
  readonly acks: ReadonlyArray<Ack>
  /** How many places there are. */
  readonly length: number
}

const bytesOf = (hex: string) => Buffer.from(hex.replaceAll("\\x", ""), "hex")

/** Some versions of `strace` write names as they are, some as bytes. */
const fileOf = (name: string) => {
  const readable = name.startsWith("\\x") ? bytesOf(name).toString() : name
  return readable.endsWith("test.db") ? "db" : readable.endsWith("test.db-wal") ? "wal" : undefined
}

/** The part of a call before its result: name, file and arguments. */
const started = /^(\d+) +(\w+)\((\d+)<([^>]*)>(?:, (.*?))?(?:\) += (-?\d+).*| <unfinished \.\.\.>)$/
const unlinked = /^(\d+) +unlink\("((?:\\x[\da-f]{2})*)"\) += 0/
const resumed = /^(\d+) +<\.\.\. (\w+) resumed>.*\) += (-?\d+)/

interface Pending {
  readonly start: number
  readonly name: string
  readonly path: string
  readonly args: string
}

export const parse = (text: string): Trace => {
  const calls: Array<Call> = []
  const acks: Array<Ack> = []
  const pending = new Map<string, Pending>()
  const lines = text.split("\n")
  const finish = ({ args, name, path, start }: Pending, end: number, result: number) => {
    if (name === "write") {
      const word = /^"((?:\\x[\da-f]{2})*)"/.exec(args)
      const said = word === null ? "" : bytesOf(word[1] ?? "").toString()
      // Said when the call began: no caller can have heard it before.
      if (said.startsWith("ack ")) acks.push({ at: start, n: Number(said.slice(4)) })
      return
    }
    const file = fileOf(path)
    if (file === undefined || result < 0) return
    switch (name) {
      case "pwrite64": {
        const [, hex = "", offset = ""] = /^"((?:\\x[\da-f]{2})*)", \d+, (\d+)$/.exec(args) ?? []
        const bytes = bytesOf(hex)
        if (bytes.length !== result) throw new Error(`a write of ${result} bytes has ${bytes.length} in the trace`)
        calls.push({ kind: "write", file, start, end, offset: Number(offset), bytes })
        return
      }
      case "ftruncate":
        calls.push({ kind: "truncate", file, start, end, length: Number(args) })
        return
      case "fsync":
      case "fdatasync":
        calls.push({ kind: "sync", file, start, end })
    }
  }
  lines.forEach((line, at) => {
    const start = started.exec(line)
    if (start !== null) {
      const [, thread = "", name = "", , path = "", args = "", result] = start
      const call = { start: at, name, path, args }
      if (result === undefined) pending.set(thread, call)
      else finish(call, at, Number(result))
      return
    }
    const gone = unlinked.exec(line)
    const file = gone === null ? undefined : fileOf(gone[2] ?? "")
    // A WAL that is gone and one that is empty are the same to SQLite.
    if (file !== undefined) calls.push({ kind: "truncate", file, start: at, end: at, length: 0 })
    const end = resumed.exec(line)
    if (end === null) return
    const [, thread = "", , result] = end
    const call = pending.get(thread)
    pending.delete(thread)
    if (call !== undefined) finish(call, at, Number(result))
  })
  // A call that never returned may have done its work, or a part of it.
  for (const call of pending.values()) {
    const [, hex = "", offset = ""] = /^"((?:\\x[\da-f]{2})*)", \d+, (\d+)$/.exec(call.args) ?? []
    const file = fileOf(call.path)
    if (call.name === "pwrite64" && file !== undefined && hex !== "") {
      const bytes = bytesOf(hex)
      calls.push({ kind: "write", file, start: call.start, end: lines.length, offset: Number(offset), bytes })
    }
  }
  return { calls: calls.toSorted((a, b) => a.start - b.start), acks, length: lines.length }
}
