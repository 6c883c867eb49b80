/**
 * An engine in a process of its own, as the cases see it that end one: what it said, what it acknowledged, and how it
 * ended. One that does not do in time what is waited for is killed, and hung.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { Durability } from "../../src/sql/Durability.ts"
import { own } from "./Owned.ts"

const engine = fileURLToPath(new URL("./engine.ts", import.meta.url))

/** A process that does not say that it is ready, or does not die, within this hangs. */
export const hangs = 30_000

/** What the options of `engine.ts` are; it says what they mean. */
export interface EngineOptions {
  readonly durability: Durability
  readonly seed: number
  readonly writes?: number
  readonly pause?: number
  readonly frames?: number
  readonly backups?: boolean
  readonly noise?: boolean
}

/** What Node is started with. */
export const argumentsOf = (file: string, { backups, noise, ...options }: EngineOptions): ReadonlyArray<string> => [
  engine,
  file,
  ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]),
  ...(backups === true ? ["--backups"] : []),
  ...(noise === true ? ["--noise"] : []),
]

export interface End {
  readonly code: number | null
  readonly signal: string | null
  readonly hung: boolean
  /** It had ended before it was told to. */
  readonly early: boolean
  /** The last write that it acknowledged, 0 when there was none. */
  readonly last: number
}

/** `flags` are Node's own. */
export const startEngine = (file: string, options: EngineOptions, flags: ReadonlyArray<string> = []) => {
  const args = [...flags, ...argumentsOf(file, options)]
  const child = own(spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] }))
  // The pipe is read to its end: what was acknowledged before a kill is known.
  const ended = once(child, "close") as Promise<[number | null, string | null]>
  const said = { ready: Promise.withResolvers<void>(), closing: Promise.withResolvers<void>() }
  let last = 0
  let hung = false
  let text = ""
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk
    const lines = text.split("\n")
    text = lines.pop() ?? ""
    for (const line of lines) {
      if (line.startsWith("ack ")) last = Math.max(last, Number(line.slice("ack ".length)))
      else if (line === "ready" || line === "closing") said[line].resolve()
    }
  })
  const inTime = async (event: Promise<unknown>) => {
    const patience = setTimeout(() => {
      hung = true
      child.kill("SIGKILL")
    }, hangs)
    await Promise.race([event, ended])
    clearTimeout(patience)
  }
  return {
    pid: child.pid ?? 0,
    /** Waits until it has said the word, or has ended. */
    until: (word: "ready" | "closing") => inTime(said[word].promise),
    hasEnded: () => child.exitCode !== null || child.signalCode !== null,
    end: async (how: "SIGKILL" | "SIGTERM"): Promise<End> => {
      const early = !child.kill(how)
      await inTime(ended)
      const [code, signal] = await ended
      return { code, signal, hung, early, last }
    },
  }
}
